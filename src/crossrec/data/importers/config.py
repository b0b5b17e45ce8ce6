"""Settings of an import: columns, which rows and items stay, and the split."""

from __future__ import annotations

import math
from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import field_validator

from crossrec.config import Config, NumberOrZero, Seed
from crossrec.data.config import TimeFormat

Kind = Literal["auto", "tables", "recbole", "mmrec", "json", "amazon"]


class ImportConfig(Config):
    """How source files become a data folder. The rules apply in the order of these fields."""

    kind: Kind = "auto"
    """Kind of the source: plain tables, RecBole atomic files, an MMRec folder, train/val/test.json of user → items, or
    the raw Amazon files of 2014; auto detects it from the files."""

    user_column: str | None = None
    """Column of user ids; default: the column with a well-known name such as user_id."""

    item_column: str | None = None
    """Column of item ids; default: the column with a well-known name such as item_id."""

    time_column: str | None = None
    """Column of times; default: timestamp, time, datetime or date; an empty name leaves times out."""

    time_format: TimeFormat | None = None
    """Form of dates by the directives of strptime, such as %d/%m/%Y; default: numbers or ISO dates."""

    rating_column: str | None = None
    """Column of ratings; default: rating, overall, score or stars; an empty name leaves ratings out."""

    split_column: str | None = None
    """Column of labels train, valid and test (or 0, 1, 2); default: x_label or split."""

    items: Path | None = None
    """Table of items (plain tables only); default: items.* beside the interactions."""

    bad_rows: Literal["error", "drop"] = "error"
    """Whether a row with an empty id, an unreadable rating, time or split, or a wrong number of fields is an error, or
    dropped and counted."""

    since: str | None = None
    """Earliest time to keep: a number in the unit of the column, or an ISO date (in UTC without a time zone)."""

    until: str | None = None
    """First time to drop, in the form of since."""

    duplicates: Literal["first", "last"] = "first"
    """Which row of a repeated (user, item) pair to keep: by time if there are times, else by the order of the rows."""

    min_rating: float | None = None
    """Lowest rating to keep; applied after duplicates."""

    min_user_interactions: NumberOrZero = 0
    """Fewest interactions of a user; users and items with fewer are dropped until all have enough (k-core)."""

    min_item_interactions: NumberOrZero = 0
    """Fewest interactions of an item; users and items with fewer are dropped until all have enough (k-core)."""

    split: Literal["auto", "given", "random", "time", "leave_one_out", "none"] = "auto"
    """How to split rows into train, valid and test; auto takes the given split if there is one, else random."""

    split_seed: Seed = 0
    """Seed of a random split."""

    unused_items: Literal["drop", "keep"] = "drop"
    """Whether to keep items of the item table or the features that have no interaction left."""

    @field_validator("since", "until")
    @classmethod
    def _is_time(cls, value: str | None) -> str | None:
        if value is not None:
            parse_bound(value)
        return value


def parse_bound(text: str) -> int | float | datetime:
    """Parse a bound of the time window: a finite number or an ISO date. Raises ValueError for anything else."""
    for kind in (int, float, datetime.fromisoformat):
        try:
            bound = kind(text)
        except ValueError:
            continue
        if isinstance(bound, datetime) or math.isfinite(bound):
            return bound
    raise ValueError("neither a number nor an ISO date such as 2014-05-31")
