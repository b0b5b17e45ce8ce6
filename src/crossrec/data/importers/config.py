"""What a user may say about an import: where columns are, which rows and items stay, how they are split."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from crossrec.config import Config

Kind = Literal["auto", "tables", "recbole", "mmrec", "json", "amazon"]


class ImportConfig(Config):
    """How a dump becomes a data folder. The rules are applied in the order in which they stand here."""

    kind: Kind = "auto"
    """What the source is: plain tables, RecBole atomic files, an MMRec folder, train/val/test.json of user → items, or
    the raw Amazon files of 2014; found by looking at the files if auto."""

    user_column: str | None = None
    """Column of user ids; well-known names such as user_id are found without it."""

    item_column: str | None = None
    """Column of item ids; well-known names such as item_id are found without it."""

    time_column: str | None = None
    """Column of times; timestamp, time, datetime and date are found without it; an empty name leaves times out."""

    rating_column: str | None = None
    """Column of ratings; rating, overall, score and stars are found without it; an empty name leaves ratings out."""

    split_column: str | None = None
    """Column that says train, valid or test (or 0, 1, 2); x_label and split are found without it."""

    items: Path | None = None
    """Table of items (plain tables only); items.* beside the interactions is found without it."""

    bad_rows: Literal["error", "drop"] = "error"
    """A row with an empty id, or an unreadable rating, time or split, is an error, or is dropped and counted."""

    since: str | None = None
    """Earliest time that stays: a number in the unit of the column, or an ISO date."""

    until: str | None = None
    """First time that does not stay any more, as for since."""

    duplicates: Literal["first", "last"] = "first"
    """Which row of a repeated (user, item) pair stays: by time where there are times, else by the order of the rows."""

    min_rating: float | None = None
    """Rows rated lower are dropped (after duplicates)."""

    min_user_interactions: int = Field(default=0, ge=0)
    """Users with fewer interactions are dropped, and items likewise, again and again until all have enough (k-core)."""

    min_item_interactions: int = Field(default=0, ge=0)
    """Items with fewer interactions are dropped, and users likewise, again and again until all have enough (k-core)."""

    split: Literal["auto", "given", "random", "time", "leave_one_out", "none"] = "auto"
    """How rows are split into train, valid and test; auto takes the given split if there is one, else random."""

    split_seed: int = Field(default=0, ge=0)
    """Seed of a random split."""

    unused_items: Literal["drop", "keep"] = "drop"
    """Whether items of the item table or the features that no interaction is left of stay as items."""

    @field_validator("since", "until")
    @classmethod
    def _is_time(cls, value: str | None) -> str | None:
        if value is not None:
            as_bound(value)
        return value


def as_bound(text: str) -> int | float | datetime:
    """A bound of the time window: a number, or an ISO date (a ValueError tells of anything else)."""
    for kind in (int, float, datetime.fromisoformat):
        try:
            return kind(text)
        except ValueError:
            continue
    raise ValueError("neither a number nor an ISO date such as 2014-05-31")
