"""Settings of an import: columns, which rows and items stay, and the split."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from crossrec.config import Config, Number, NumberOrZero, Seed
from crossrec.data.config import Split, TimeFormat
from crossrec.data.io.numbers import Decimal
from crossrec.data.io.text_format import check_character, check_quote
from crossrec.data.io.time_bounds import Bound, SplitBound

Separator = Annotated[str, AfterValidator(check_character)]
Quote = Annotated[str, AfterValidator(check_quote)]
Days = Annotated[float, Field(gt=0, le=1e6)]


def parse_event_weights(value: Any) -> Any:
    """Turn ('purchase=3', …) into {'purchase': 3.0, …}. Raises ValueError for what is no finite weight."""
    if not isinstance(value, str | list | tuple):
        return value
    weights: dict[str, float] = {}
    for text in [value] if isinstance(value, str) else map(str, value):
        event, _, number = text.rpartition("=")
        try:
            weights[event.strip()] = float(number)
        except ValueError:
            event = ""
        if not event.strip() or not math.isfinite(weights[event.strip()]):
            raise ValueError(f"'{text}' gives no event its weight; write purchase=3")
    return weights


EventWeights = Annotated[tuple[str, ...] | dict[str, float], BeforeValidator(parse_event_weights)]
"""Type of an event → its weight; on a command line, purchase=3."""

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
    """Form of dates by the directives of strptime, such as %d/%m/%Y; default: numbers, ISO dates, or the form that days
    above 12 show."""

    separator: Separator | None = None
    """Character between the cells of .csv and .tsv files, or tab; default: the one that the header shows."""

    quote: Quote | None = None
    """Character around cells of .csv and .tsv files, or none; default: double quotes, or what the first lines show."""

    decimal: Decimal | None = None
    """Decimal sign of ratings, weights and prices; default: a point, or what the numbers show."""

    rating_column: str | None = None
    """Column of ratings; default: rating, overall, score or stars; an empty name leaves ratings out."""

    split_column: str | None = None
    """Column of labels train, valid and test (or 0, 1, 2); default: x_label or split."""

    event_column: str | None = None
    """Column of the types of events, such as view, cart and purchase; default: none."""

    weight_column: str | None = None
    """Column of weights of rows, such as quantities; weights below zero take back what other rows of a pair give."""

    items: Path | None = None
    """Table of items (plain tables only); default: items.* beside the interactions."""

    item_id_column: str | None = None
    """Column of item ids in the table of items; default: the name in the interactions, or a well-known one."""

    title_column: str | None = None
    """Column of titles in the table of items; default: title, name or the like."""

    text_column: str | None = None
    """Column of texts in the table of items; default: text, description or the like."""

    brand_column: str | None = None
    """Column of brands in the table of items; default: brand or manufacturer."""

    category_column: str | None = None
    """Column of categories in the table of items; default: category, genre or the like."""

    price_column: str | None = None
    """Column of prices in the table of items; default: price."""

    picture_column: str | None = None
    """Column of pictures in the table of items; default: picture, image or the like."""

    bad_rows: Literal["error", "drop"] = "error"
    """Whether a row with an empty id, an unreadable rating, time or split, or a wrong number of fields is an error, or
    dropped and counted."""

    since: Bound | None = None
    """Earliest time to keep: a number in the unit of the column, or an ISO date (in UTC without a time zone)."""

    until: Bound | None = None
    """First time to drop, in the form of since."""

    events: tuple[str, ...] | None = None
    """Types of events that count, of event_column; default: those of event_weights, else all."""

    event_weights: EventWeights | None = None
    """Weight of a row by the type of its event, such as purchase=3 cart=1; events without one weigh 1."""

    min_rating: float | None = None
    """Lowest rating to keep; applied before duplicates."""

    max_user_interactions: Number | None = None
    """Most rows of a user, counted before duplicates: users with more are robots, or dealers."""

    busy_users: Literal["drop", "cap"] = "drop"
    """Whether a user with more than max_user_interactions rows is dropped, or keeps the latest rows."""

    half_life: Days | None = None
    """Days after which a row has half its weight, counted back from the latest row."""

    duplicates: Literal["first", "last", "highest", "sum"] | None = None
    """Which row of a repeated (user, item) pair to keep: the first or last by time, else by the order of the rows; that
    of the highest weight, else rating; or the last with the sum of the weights. Default: sum if rows have weights, else
    first."""

    min_user_interactions: NumberOrZero = 0
    """Fewest interactions of a user; users and items with fewer are dropped until all have enough (k-core)."""

    min_item_interactions: NumberOrZero = 0
    """Fewest interactions of an item; users and items with fewer are dropped until all have enough (k-core)."""

    split: Split | Literal["none"] = "auto"
    """How to split rows into train, valid and test; auto takes the given split if there is one, else random."""

    split_seed: Seed = 0
    """Seed of a random split."""

    valid_from: SplitBound | None = None
    """First time of validation with split date: a number in the unit of the column, an ISO date (in UTC without a time
    zone), or a share of the interactions; default: 80%."""

    test_from: SplitBound | None = None
    """First time of the test with split date, in the form of valid_from; default: 90%."""

    unused_items: Literal["drop", "keep"] = "drop"
    """Whether to keep items of the item table or the features that have no interaction left."""

    @property
    def weight_of_event(self) -> dict[str, float]:
        """Type of an event → its weight, for the types that have one."""
        return self.event_weights if isinstance(self.event_weights, dict) else {}

    @property
    def has_weights(self) -> bool:
        """Whether rows have weights."""
        return self.duplicates == "sum" or any(
            value is not None for value in (self.event_weights, self.weight_column, self.half_life)
        )

    @property
    def duplicates_rule(self) -> str:
        """What happens to repeated pairs, with the default resolved."""
        return self.duplicates or ("sum" if self.has_weights else "first")
