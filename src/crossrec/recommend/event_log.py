"""Logs for recommending: the histories of people, and what is popular now."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import Field

from crossrec.config import Config
from crossrec.data.config import TimeFormat
from crossrec.data.importers.config import ImportConfig, Quote, Separator
from crossrec.data.importers.events import read_events
from crossrec.data.importers.rules import ages
from crossrec.data.io.codes import index_ids, positions
from crossrec.data.io.ids import plain_ids
from crossrec.data.io.parse_log import InteractionLog
from crossrec.errors import ConfigError, DataError, RunError, setting
from crossrec.lazy import polars as pl
from crossrec.ops.csr import Bools, Ints
from crossrec.recommend.id_map import IdMap
from crossrec.runs.embeddings import TrainedEmbeddings

if TYPE_CHECKING:
    from crossrec.recommend.recommender import Recommender

Days = Annotated[int, Field(ge=1, le=36_500)]


class LogConfig(Config):
    """How to read a log: its columns, and which events count. Whatever is not given is recognised as by an import."""

    user_column: str | None = None
    """Column of user ids in the log; default: the column with a well-known name such as user_id."""

    item_column: str | None = None
    """Column of item ids in the log; default: the column with a well-known name such as item_id."""

    time_column: str | None = None
    """Column of times in the log; default: timestamp, time, datetime or date."""

    time_format: TimeFormat | None = None
    """Form of dates in the log by the directives of strptime, such as %d/%m/%Y."""

    separator: Separator | None = None
    """Character between the cells of the log; default: the one that the header shows."""

    quote: Quote | None = None
    """Character around cells of the log, or none; default: double quotes, or what its first lines show."""

    event_column: str | None = None
    """Column of the types of events in the log."""

    events: tuple[str, ...] | None = None
    """Types of events that count; default: all."""

    bad_rows: Literal["error", "drop"] = "error"
    """Whether a row of the log with an empty id, or of a wrong form, is an error, or dropped and counted."""

    def read(self, source: Path | str | pl.DataFrame) -> InteractionLog:
        """Read a log, or take a frame with columns user and item. Raises DataError, ConfigError as an import does."""
        if isinstance(source, pl.DataFrame):
            names = self.user_column or "user", self.item_column or "item"
            if missing := [name for name in names if name not in source.columns]:
                raise DataError(f"histories: no column '{missing[0]}'; give columns user and item, or name them")
            (users, user_N), (items, item_N) = (index_ids(plain_ids(source[name], typed=True)) for name in names)
            return InteractionLog(users, items, user_N, item_N)
        return read_events(source, ImportConfig(rating_column="", **self.model_dump()))


@dataclass(frozen=True)
class Histories:
    """Distinct items of people, in two parallel arrays sorted by person.

    ``user_ids``: distinct ids of H people; ``user_N``, ``item_N``: positions in ``user_ids`` and rows of the run's
    items. ``unknown_rows``, ``unknown_items``, ``unknown_example``: rows of the log and number of distinct ids that are
    no items of the run, and one of them.
    """

    user_ids: pl.Series = field(repr=False)
    user_N: Ints = field(repr=False)
    item_N: Ints = field(repr=False)
    unknown_rows: int = 0
    unknown_items: int = 0
    unknown_example: Any = None

    @classmethod
    def of(cls, log: InteractionLog, items: IdMap, users: pl.Series | None = None) -> Histories:
        """The histories of everybody in a log, or of ``users`` (distinct ids), some of whom may have none."""
        row_I = item_rows(log, items)
        user_N, item_N = log.user_N.astype(np.int64), row_I[log.item_N]
        user_ids = log.user_ids
        if users is not None:
            user_N, user_ids = positions(user_ids, users)[user_N], users
        is_item_N, counts_N = item_N >= 0, user_N >= 0
        unknown_N = ~is_item_N & counts_N
        key_N = np.unique(user_N[is_item_N & counts_N] * len(items) + item_N[is_item_N & counts_N])
        unknown_X = np.unique(log.item_N[unknown_N])
        example = log.item_ids[int(unknown_X[0])] if len(unknown_X) else None
        return cls(user_ids, *np.divmod(key_N, max(len(items), 1)), int(unknown_N.sum()), len(unknown_X), example)

    @classmethod
    def none(cls, users: pl.Series) -> Histories:
        """People without a history."""
        return cls(users, np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))


@dataclass(frozen=True)
class Popularity:
    """Items by the number of people who had them, the most popular first.

    ``item_P``: rows of the items that anybody had; ``count_P``: their numbers. Equal numbers are ordered by the number
    of people in the run, then by row. ``days``: of the latest days of a log; None for all interactions of the run.
    """

    item_P: Ints = field(repr=False)
    count_P: Ints = field(repr=False)
    days: int | None = None

    @classmethod
    def of_run(cls, vectors: TrainedEmbeddings) -> Popularity:
        """By all interactions of the run."""
        count_I = people_of_run(vectors)
        return cls._sorted(count_I, count_I, None)

    @classmethod
    def recent(cls, log: InteractionLog, items: IdMap, vectors: TrainedEmbeddings, days: int) -> Popularity:
        """By the rows of a log that are at most ``days`` days older than its latest row.

        Items that only the run knows come last. Raises ConfigError where the log has no times, or none in a known unit,
        and where no item of the run is in it.
        """
        option = setting("popular_days", days)
        if not 1 <= days <= 36_500:
            raise ConfigError(f"{option}: give 1 to 36500 days")
        if log.time_N is None:
            raise ConfigError(
                f"{option}: the log has no times; name their column with {setting('time_column')}, or "
                "leave the days out"
            )
        item_N = item_rows(log, items)[log.item_N]
        counts_N = (ages(log, option) <= days) & (item_N >= 0)
        if not counts_N.any():
            raise ConfigError(f"{option}: none of the items in the log's last {days} days is an item of the run")
        key_N = np.unique(log.user_N[counts_N].astype(np.int64) * len(items) + item_N[counts_N])
        return cls._sorted(np.bincount(key_N % len(items), minlength=len(items)), people_of_run(vectors), days)

    @classmethod
    def _sorted(cls, count_I: Ints, people_I: Ints, days: int | None) -> Popularity:
        order_I = np.lexsort((np.arange(len(count_I)), -people_I, -count_I))
        item_P = order_I[(count_I + people_I)[order_I] > 0]
        return cls(item_P, count_I[item_P], days)

    def top(self, k: int, allowed: Bools | None = None, hidden: Ints | None = None) -> tuple[Ints, Ints]:
        """Rows and numbers of people of the ``k`` most popular items that are allowed and not hidden, (≤ k,)."""
        keep_P = np.ones(len(self.item_P), dtype=bool) if allowed is None else allowed[self.item_P]
        if hidden is not None:
            keep_P &= ~np.isin(self.item_P, hidden)
        position_K = np.flatnonzero(keep_P)[:k]
        return self.item_P[position_K], self.count_P[position_K]


def item_rows(log: InteractionLog, items: IdMap) -> Ints:
    """The run's row of each item of a log, -1 for an unknown one."""
    row_I = positions(log.item_ids, items.ids).copy()
    if items.absent is not None:
        row_I[(row_I >= 0) & items.absent[row_I]] = -1
    return row_I


def people_of_run(vectors: TrainedEmbeddings) -> Ints:
    """The number of the run's users who have each item, in any split."""
    return np.bincount(vectors.seen_item.numpy(), minlength=vectors.num_items)


def log_of_run(run: Path | None) -> InteractionLog:
    """The log that a run was trained on, with its times. Raises RunError where the run does not say which it is."""
    if run is None:
        raise RunError("this recommender was not opened from a folder: name the log to count in")
    from crossrec.runs.config import load_config  # loads the trainer, which a run without a log spares

    data = load_config(run / "config.json").data
    columns = {name: getattr(data, name) for name in ("user_column", "item_column", "time_column", "time_format")}
    return LogConfig(**columns).read(data.data)


def popularity_of(
    recommender: Recommender,
    days: int | None = None,
    log: Path | str | pl.DataFrame | InteractionLog | None = None,
    columns: LogConfig = LogConfig(),  # noqa: B008
) -> Popularity:
    """The popularity of the items of a run: by all its interactions, or by the latest ``days`` of a log.

    ``log``: a log that is read already, or where it is; by default the data set of the run. Raises ConfigError and
    DataError as ``Popularity.recent`` and ``LogConfig.read`` do, RunError where the run has no log to read.
    """
    if days is None:
        if log is not None and not isinstance(log, InteractionLog):
            raise ConfigError("a log of what is popular needs a number of days to count")
        return Popularity.of_run(recommender.vectors)
    if not isinstance(log, InteractionLog):
        log = log_of_run(recommender.run) if log is None else columns.read(log)
    return Popularity.recent(log, recommender.items, recommender.vectors, days)
