"""Reading the parts of a log into arrays of numbers, a block at a time, with every unusable cell told or counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from crossrec.data.importers.card import Ledger
from crossrec.data.importers.codes import Ids, Times
from crossrec.data.importers.config import ImportConfig
from crossrec.data.importers.import_source import ImportSource, Part
from crossrec.data.io.parse_log import EMPTY, LABELS, NO_SPLIT, NO_TIME, WHOLE, empty_cells, split_labels
from crossrec.data.io.tables import Block
from crossrec.errors import ConfigError, DataError

if TYPE_CHECKING:
    import polars as pl

SPAN = 2**22  # rows that are looked at at a time
NO_NUMBER = "is no number; mend it"

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is (0: not known)."""


@dataclass
class Log:
    """The interactions, N of them, in the order of the files, as numbers.

    ``user_N``, ``item_N``: int32 places among ``user_ids`` and ``item_ids``, which are sorted. ``time_N``: int64 or
    float64; ``rating_N``: float64; ``split_N``: int8; each None where the source has none. ``times`` tells what the
    times were.
    """

    user_ids: pl.Series
    item_ids: pl.Series
    user_N: np.ndarray
    item_N: np.ndarray
    time_N: np.ndarray | None
    rating_N: np.ndarray | None
    split_N: np.ndarray | None
    times: Times

    def __len__(self) -> int:
        return len(self.user_N)

    def sizes(self) -> tuple[int, int, int]:
        """How many interactions, users and items there are."""
        return len(self), int((counts(self.user_N) > 0).sum()), int((counts(self.item_N) > 0).sum())

    def take(self, keep_N: np.ndarray) -> None:
        """Leave only the rows where ``keep_N``, bool (N,), is true; a column at a time, so that one copy is enough."""
        for name in ("user_N", "item_N", "time_N", "rating_N", "split_N"):
            column = getattr(self, name)
            if column is not None:
                setattr(self, name, column[keep_N])


def read_log(raw: ImportSource, config: ImportConfig, ledger: Ledger, on_progress: Progress) -> Log:
    """Read everything, leave out what lies outside the time window, and tell the ledger.

    Raises DataError naming file, line and column of a cell that cannot be used (with ``bad_rows="drop"`` such rows are
    counted instead), or if nothing is left; ConfigError if the time window does not suit the times.
    """
    reader = _Reader(raw, config)
    total, before = sum(part.path.stat().st_size for part in raw.parts), 0
    for part in raw.parts:
        for block in part.blocks():
            reader.add(part, block)
            on_progress("reading", before + block.done, total)
        before += part.path.stat().st_size
    return reader.finish(ledger)


def counts(code_N: np.ndarray, keep_N: np.ndarray | None = None) -> np.ndarray:
    """How many of the rows (that are kept) have each code, int64 (largest code + 1,)."""
    count = np.zeros(int(code_N.max(initial=-1)) + 1, dtype=np.int64)
    for part in spans(len(code_N)):
        np.add.at(count, code_N[part] if keep_N is None else code_N[part][keep_N[part]], 1)
    return count


def spans(total: int) -> Iterator[slice]:
    """Rows in parts that are looked at one at a time."""
    return (slice(start, start + SPAN) for start in range(0, total, SPAN))


class _Reader:
    """``rows``: that were there; ``used``: that could be read; ``bad``: why the others could not."""

    def __init__(self, raw: ImportSource, config: ImportConfig) -> None:
        self.raw, self.config = raw, config
        self.ids = {"user": Ids(), "item": Ids()}
        self.times = Times()
        self.window = _Window(config, self.times)
        self.chunks: dict[str, list[np.ndarray]] = {}
        self.rows = self.used = 0
        self.bad: Counter[str] = Counter()

    def add(self, part: Part, block: Block) -> None:
        """Check, number and keep the rows of a block."""
        cells = _Cells(part, block)
        if cells.frame["user"].null_count() and (blank := block.blank()):
            cells.keep(np.isin(cells.row_N, blank, invert=True))
        self.rows += len(cells.row_N)
        numbers: dict[str, pl.Series] = {}
        fine_N = np.ones(len(cells.row_N), dtype=bool)
        for role in part.columns:
            numbers[role], bad, why = self._numbers(role, cells)
            if bad.any() and self.config.bad_rows == "error":
                raise cells.refusal(role, bad, f"{why} (or drop such rows: bad_rows drop)")
            bad_N = bad.to_numpy()
            if count := int((bad_N & fine_N).sum()):
                self.bad[f"{part.columns[role]} {'is empty' if why == EMPTY else 'cannot be read'}"] += count
                fine_N &= ~bad_N
        if not fine_N.all():
            cells.keep(fine_N)
            numbers = {role: column.filter(fine_N) for role, column in numbers.items()}
        self.used += len(cells.row_N)
        if self.raw.rows is not None:
            cells.check_rows(*self.raw.rows)
        columns = {role: cells.encode(role, ids) for role, ids in self.ids.items()}
        for role, dtype in (("time", None), ("rating", np.float64), ("split", np.int8)):
            if role in numbers:
                columns[role] = numbers[role].to_numpy().astype(dtype, copy=False)
        if part.split is not None:
            columns["split"] = np.full(len(cells.row_N), LABELS[part.split], dtype=np.int8)
        keep_N = self.window.keeps(columns.get("time"))
        for role, column in columns.items():
            self.chunks.setdefault(role, []).append(column if keep_N is None else column[keep_N])

    def _numbers(self, role: str, cells: _Cells) -> tuple[pl.Series, pl.Series, str]:
        """(the cells of a column as numbers, or the ids as they are; which cannot be used; why)."""
        column = cells.frame[role]
        if role == "time":
            times = self.times.encode(column)
            return times, times.is_null(), f"{NO_TIME}, or leave times out with an empty time_column"
        if role == "rating":
            ratings = _as_number(column)
            return ratings, ratings.is_null(), f"{NO_NUMBER}, or leave ratings out with an empty rating_column"
        if role == "split":
            labels = split_labels(column)
            return labels, labels.is_null(), NO_SPLIT
        return column, cells.empty(role), EMPTY

    def finish(self, ledger: Ledger) -> Log:
        """Everything that was kept, with ids in sorted order."""
        where = self.raw.parts[0].path
        if not self.rows:
            raise DataError(f"{where}: a header but no rows; add interactions")
        told = ", ".join(f"{count:,} × {reason}" for reason, count in self.bad.items())
        if not self.used:
            raise DataError(f"{where}: bad_rows drop leaves none of {self.rows:,} rows ({told}); mend the file")
        columns = {role: np.concatenate(self.chunks.pop(role)) for role in list(self.chunks)}
        distinct: dict[str, pl.Series] = {}
        for role in list(self.ids):
            distinct[role], place = self.ids.pop(role).distinct(typed=self.raw.parts[0].typed)
            columns[role] = place[columns[role]]
        users, items = (len(ids) for ids in distinct.values())
        ledger.add("read", "", self.rows, users, items)
        if self.rows > self.used:
            ledger.add("unusable rows", told, self.used, users, items)
        if self.window.rule and not len(columns["user"]):
            raise DataError(f"{self.window.rule} leaves none of {self.used:,} rows; {self.window.seen()}")
        log = Log(
            distinct["user"],
            distinct["item"],
            columns["user"],
            columns["item"],
            columns.get("time"),
            columns.get("rating"),
            columns.get("split"),
            self.times,
        )
        if self.window.rule:
            ledger.add("time window", self.window.rule, *log.sizes())
        return log


class _Window:
    """The time window. ``rule``: how it was set, empty where there is none."""

    def __init__(self, config: ImportConfig, times: Times) -> None:
        self.times = times
        self.set = [("since", config.since), ("until", config.until)]
        self.rule = ", ".join(f"{name} {text}" for name, text in self.set if text is not None)
        self.bounds: list[float] | None = None
        self.span = (np.inf, -np.inf)

    def keeps(self, time_N: np.ndarray | None) -> np.ndarray | None:
        """Which rows lie within, bool (N,): since ≤ time < until; None for all."""
        if not self.rule or time_N is None or not len(time_N):
            return None
        first, last = time_N.min(), time_N.max()
        self.span = (min(self.span[0], first), max(self.span[1], last))
        if self.bounds is None:
            self.bounds = [
                otherwise if text is None else self.times.bound(text, name, float(last))
                for (name, text), otherwise in zip(self.set, (-np.inf, np.inf), strict=True)
            ]
            if self.bounds[0] >= self.bounds[1]:
                raise ConfigError(f"{self.rule}: since is not before until; exchange them")
        keep_N: np.ndarray = (time_N >= self.bounds[0]) & (time_N < self.bounds[1])
        return keep_N

    def seen(self) -> str:
        """From when to when times run."""
        first, last = (self.times.decode(np.array([time]))[0] for time in self.span)
        return f"times run from {first} to {last}"


@dataclass
class _Cells:
    """The rows of a block, with what a message about one of them needs. ``row_N``: their rows in the block."""

    part: Part
    block: Block

    def __post_init__(self) -> None:
        self.frame = self.block.frame
        self.row_N = np.arange(self.frame.height)

    def keep(self, keep_N: np.ndarray) -> None:
        """Leave only the rows where ``keep_N`` is true."""
        self.frame, self.row_N = self.frame.filter(keep_N), self.row_N[keep_N]

    def empty(self, role: str) -> pl.Series:
        """Which ids are missing. Raises DataError for a column whose cells cannot be ids."""
        import polars as pl

        dtype = self.frame[role].dtype
        if dtype.is_nested() or dtype in (pl.Binary, pl.Object):
            raise DataError(
                f"{self.part.path}: column '{self.part.columns[role]}' holds {dtype}; ids are numbers or text"
            )
        return empty_cells(self.frame[role])

    def encode(self, role: str, ids: Ids) -> np.ndarray:
        """Numbers of the ids of a column."""
        try:
            return ids.encode(self.frame[role])
        except DataError as error:
            raise DataError(f"{self.part.path}: {error}") from None

    def check_rows(self, path: Path, count: int) -> None:
        """Raise DataError on an item that is none of the ``count`` row numbers of the features in ``path``."""
        import polars as pl

        ids = self.frame["item"]
        number = ids.cast(pl.Int64, strict=False)
        if ids.dtype == pl.String:
            number = pl.select(pl.when(ids.str.contains(WHOLE)).then(number)).to_series()
        bad = (number.is_null() | (number < 0) | (number >= count)).fill_null(True)
        if bad.any():
            raise self.refusal(
                "item",
                bad,
                f"has no row in {path.name}, which has {count} (0 to {count - 1}); add the row, or items.csv listing "
                "the item ids in row order",
            )

    def refusal(self, role: str, bad: pl.Series, why: str) -> DataError:
        """What is wrong with the first row where ``bad`` holds."""
        first = int(bad.arg_max() or 0)
        cell = self.frame[role][first]
        value = "" if cell is None or why.startswith(EMPTY) else f" '{cell}'"
        place = self.block.place(int(self.row_N[first]))
        return DataError(f"{self.part.path}, {place}: {self.part.columns[role]}{value} {why}")


def _as_number(cells: pl.Series) -> pl.Series:
    """Float64; null where there is no finite number."""
    import polars as pl

    if cells.dtype == pl.String:
        cells = cells.str.strip_chars()
    elif not cells.dtype.is_numeric():
        return pl.repeat(None, len(cells), dtype=pl.Float64, eager=True)
    number = cells.cast(pl.Float64, strict=False)
    return pl.select(pl.when(number.is_finite()).then(number)).to_series()
