"""Reading the parts of a log into arrays of numbers, a block at a time, with every unusable cell told or counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from crossrec.data.importers.card import Ledger
from crossrec.data.importers.codes import Ids, Times
from crossrec.data.importers.config import ImportConfig
from crossrec.data.importers.raw import Part, Raw
from crossrec.data.interactions import EMPTY, LABELS, NO_SPLIT, NO_TIME, WHOLE, empty_cells, split_labels
from crossrec.data.tables import Block
from crossrec.errors import ConfigError, DataError

if TYPE_CHECKING:
    import polars as pl

SPAN = 2**22

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

    def sizes(self, keep_N: np.ndarray | None = None) -> tuple[int, int, int]:
        """How many interactions, users and items there are, in the rows where ``keep_N``, bool (N,), is true."""
        rows = len(self) if keep_N is None else int(keep_N.sum())
        return rows, int((counts(self.user_N, keep_N) > 0).sum()), int((counts(self.item_N, keep_N) > 0).sum())

    def take(self, keep_N: np.ndarray) -> None:
        """Leave only the rows where ``keep_N``, bool (N,), is true; a column at a time, so that one copy is enough."""
        for name in ("user_N", "item_N", "time_N", "rating_N", "split_N"):
            column = getattr(self, name)
            if column is not None:
                setattr(self, name, column[keep_N])


def read_log(raw: Raw, config: ImportConfig, ledger: Ledger, on_progress: Progress) -> Log:
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
    def __init__(self, raw: Raw, config: ImportConfig) -> None:
        self.raw, self.config = raw, config
        self.user, self.item, self.times = Ids(), Ids(), Times()
        self.chunks: dict[str, list[np.ndarray]] = {}
        self.rows = self.used = 0
        self.bad: Counter[str] = Counter()
        self.span = (np.inf, -np.inf)
        self.window: list[float | None] | None = None

    def add(self, part: Part, block: Block) -> None:
        """Check, number and keep the rows of a block."""
        import polars as pl

        cells = _Cells(part, block)
        if cells.frame["user"].null_count() and (blank := block.blank()):
            cells.without(blank)
        frame = cells.frame
        self.rows += frame.height
        numbers: dict[str, pl.Series] = {}
        fine = pl.repeat(True, frame.height, dtype=pl.Boolean, eager=True)
        for role in part.columns:
            if role in ("user", "item"):
                bad, why = cells.empty(role), EMPTY
            elif role == "time":
                numbers[role] = self.times.encode(frame[role])
                bad, why = numbers[role].is_null(), f"{NO_TIME}, or leave times out with an empty time_column"
            elif role == "rating":
                numbers[role] = _as_number(frame[role])
                bad, why = (
                    numbers[role].is_null(),
                    "is no number; mend it, or leave ratings out with an empty rating_column",
                )
            else:
                numbers[role] = split_labels(frame[role])
                bad, why = numbers[role].is_null(), NO_SPLIT
            if bad.any() and self.config.bad_rows == "error":
                raise cells.refusal(role, bad, f"{why} (or drop such rows: bad_rows drop)")
            fresh = bad & fine
            if fresh.any():
                name = part.columns[role]
                self.bad[f"{name} is empty" if why == EMPTY else f"{name} cannot be read"] += int(fresh.sum())
                fine &= ~bad
        if not fine.all():
            frame = cells.frame = frame.filter(fine)
            cells.row_N = cells.row_N[fine.to_numpy()]
            numbers = {role: column.filter(fine) for role, column in numbers.items()}
        self.used += frame.height
        self._check_rows(cells)
        keep = self._within(numbers.get("time"))
        self._keep("user", cells.encode("user", self.user), keep)
        self._keep("item", cells.encode("item", self.item), keep)
        for role, dtype in (("rating", np.float64), ("split", np.int8)):
            if role in numbers:
                self._keep(role, numbers[role].to_numpy().astype(dtype), keep)
        if "time" in numbers:
            self._keep("time", numbers["time"].to_numpy(), keep)
        if part.split is not None:
            self._keep("split", np.full(frame.height, LABELS[part.split], dtype=np.int8), keep)

    def finish(self, ledger: Ledger) -> Log:
        """Everything that was kept, with ids in sorted order."""
        where = self.raw.parts[0].path
        if not self.rows:
            raise DataError(f"{where}: a header but no rows; add interactions")
        columns = {role: self._joined(role) for role in list(self.chunks)}
        typed = self.raw.parts[0].typed
        ids = {}
        for role, numbered in (("user", self.user), ("item", self.item)):
            ids[role], place = numbered.distinct(typed=typed)
            if len(columns[role]):
                columns[role] = place[columns[role]]
        self.user = self.item = Ids()
        users, items = len(ids["user"]), len(ids["item"])
        ledger.add("read", "", self.rows, users, items)
        told = ", ".join(f"{count:,} × {reason}" for reason, count in self.bad.items())
        log = Log(
            ids["user"],
            ids["item"],
            columns["user"],
            columns["item"],
            columns.get("time"),
            columns.get("rating"),
            columns.get("split"),
            self.times,
        )
        if self.rows > self.used:
            if not self.used:
                raise DataError(f"{where}: bad_rows drop leaves none of {self.rows:,} rows ({told}); mend the file")
            ledger.add("unusable rows", told, self.used, users, items)
        if self.config.since is not None or self.config.until is not None:
            bounds = [
                f"{name} {value}"
                for name, value in (("since", self.config.since), ("until", self.config.until))
                if value is not None
            ]
            if not len(log):
                first, last = (self.times.decode(np.array([time]))[0] for time in self.span)
                raise DataError(
                    f"{' '.join(bounds)} leaves none of {self.used:,} rows; times run from {first} to {last}"
                )
            ledger.add("time window", ", ".join(bounds), *log.sizes())
        return log

    def _keep(self, role: str, column: np.ndarray, keep: np.ndarray | None) -> None:
        self.chunks.setdefault(role, []).append(column if keep is None else column[keep])

    def _joined(self, role: str) -> np.ndarray:
        """All chunks of a column as one array; the chunks go."""
        return np.concatenate(self.chunks.pop(role))

    def _within(self, time: pl.Series | None) -> np.ndarray | None:
        """Which rows the time window keeps; None for all."""
        config = self.config
        if time is None or not len(time) or (config.since is None and config.until is None):
            return None
        time_N = time.to_numpy()
        self.span = (min(self.span[0], time_N.min()), max(self.span[1], time_N.max()))
        if self.window is None:
            self.window = [
                None if text is None else self.times.bound(text, name, float(time_N.max()))
                for name, text in (("since", config.since), ("until", config.until))
            ]
            if None not in self.window and self.window[0] >= self.window[1]:  # type: ignore[operator]
                raise ConfigError(f"since {config.since} is not before until {config.until}; exchange them")
        since, until = self.window
        keep = np.ones(len(time_N), dtype=bool)
        if since is not None:
            keep &= time_N >= since
        if until is not None:
            keep &= time_N < until
        return keep

    def _check_rows(self, cells: _Cells) -> None:
        """Raise DataError on an item that must be a row of the features and is none."""
        import polars as pl

        if self.raw.rows is None:
            return
        path, count = self.raw.rows
        ids = cells.frame["item"]
        number = ids.cast(pl.Int64, strict=False)
        if ids.dtype == pl.String:
            number = pl.select(pl.when(ids.str.contains(WHOLE)).then(number)).to_series()
        if number.null_count():
            raise cells.refusal(
                "item",
                number.is_null(),
                f"is no row number of {path.name}; add items.csv listing the item ids in row order",
            )
        cells.check(
            "item",
            (number < 0) | (number >= count),
            f"has no row in {path.name}, which has {count} (0 to {count - 1}); add the row, or items.csv listing the "
            "item ids in row order",
        )


@dataclass
class _Cells:
    """The rows of a block, with what a message about one of them needs. ``row_N``: their rows in the block."""

    part: Part
    block: Block

    def __post_init__(self) -> None:
        self.frame = self.block.frame
        self.row_N = np.arange(self.frame.height)

    def without(self, rows: list[int]) -> None:
        """Leave rows out."""
        self.row_N = np.delete(self.row_N, rows)
        self.frame = self.frame[self.row_N]

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

    def check(self, role: str, bad: pl.Series, why: str) -> None:
        """Raise DataError if ``bad`` holds anywhere."""
        if bad.any():
            raise self.refusal(role, bad, why)

    def refusal(self, role: str, bad: pl.Series, why: str) -> DataError:
        """What is wrong with the first row where ``bad`` holds."""
        first = int(bad.fill_null(True).arg_max() or 0)
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
