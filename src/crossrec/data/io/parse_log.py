"""From the rows of a table to ids, splits and times that can be computed with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from crossrec.data.config import DataConfig
from crossrec.data.findings import Findings
from crossrec.data.io.tables import Table, find_column
from crossrec.errors import DataError

if TYPE_CHECKING:
    import polars as pl

TRAIN, VALID, TEST = 0, 1, 2
LABELS = {
    "0": TRAIN,
    "1": VALID,
    "2": TEST,
    "train": TRAIN,
    "training": TRAIN,
    "valid": VALID,
    "validation": VALID,
    "val": VALID,
    "dev": VALID,
    "test": TEST,
    "testing": TEST,
}
WHOLE = r"^(0|-?[1-9][0-9]*)$"
"""Text that stands for a whole number."""

EMPTY = "is empty; fill the cell in or delete the row"
NO_SPLIT = "is no split; use 0, 1, 2 or train, valid, test"
NO_TIME = "is no time; use numbers or ISO dates such as 2024-05-31T12:00:00"


@dataclass(frozen=True)
class Log:
    """The interactions of a table, N of them, in file order.

    ``user_ids``, ``item_ids``: the distinct ids, sorted; ``user_N``, ``item_N``: int64 positions in them.
    ``split_N``: 0 train, 1 valid, 2 test, or None where the split is still to be made. ``time_N``: int64, equal times
    equal, later times larger; None if not read. ``row_N``: row in the table, for messages.
    """

    user_ids: pl.Series
    user_N: np.ndarray
    item_ids: pl.Series
    item_N: np.ndarray
    split_N: np.ndarray | None
    time_N: np.ndarray | None
    row_N: np.ndarray
    columns: dict[str, str]


def read_log(table: Table, config: DataConfig, findings: Findings, *, row_indices: bool) -> Log | None:
    """Read what ``config`` needs of ``table``; ``row_indices`` requires ids to be non-negative integers.

    Problems go to ``findings``; None if there is one that leaves nothing to compute with. Raises DataError if the
    table cannot be read at all.
    """
    roles = _roles(table, config, findings)
    if "user" not in roles or "item" not in roles:
        return None
    frame = table.read(list(dict.fromkeys(roles.values())))
    row_N = np.arange(frame.height)
    if frame.height and frame[roles["user"]].null_count() and (blank := table.blank()):
        row_N = np.delete(row_N, blank)
        frame = frame[row_N]
    if not frame.height:
        raise DataError(f"{table.path}: a header but no rows; add interactions")
    parsed: dict[str, np.ndarray] = {}
    distinct: dict[str, pl.Series] = {}
    for role, column in roles.items():
        with findings.attempt():
            cells = _Column(table, frame[column], row_N)
            if role == "split":
                parsed[role] = cells.labels()
            elif role == "time":
                parsed[role] = cells.times()
            else:
                distinct[role], parsed[role] = index_ids(cells.row_indices() if row_indices else cells.ids())
    if len(parsed) < len(roles):
        return None
    return Log(
        distinct["user"],
        parsed["user"],
        distinct["item"],
        parsed["item"],
        parsed.get("split"),
        parsed.get("time"),
        row_N,
        roles,
    )


def _roles(table: Table, config: DataConfig, findings: Findings) -> dict[str, str]:
    """Which column plays user, item and, as far as the split needs them, split and time."""
    wanted = {"user": config.user_column, "item": config.item_column}
    roles: dict[str, str] = {}
    given, timed = config.split in ("auto", "given"), config.split in ("time", "leave_one_out")
    if given or config.split_column:
        wanted["split"] = config.split_column
    if timed or config.time_column:
        wanted["time"] = config.time_column
    needed = {
        "user",
        "item",
        *(["split"] if config.split == "given" else []),
        *(["time"] if config.split == "time" else []),
    }
    for role, name in wanted.items():
        with findings.attempt():
            column = find_column(table, role, name, required=role in needed)
            if column is not None:
                roles[role] = column
    if not given:
        roles.pop("split", None)
    if not timed:
        roles.pop("time", None)
    return roles


def index_ids(ids: pl.Series) -> tuple[pl.Series, np.ndarray]:
    """(distinct ids in sorted order, int64 position of every id among them): the same whatever the row order."""
    import polars as pl

    distinct = ids.unique().sort()
    position = pl.Series(np.arange(len(distinct), dtype=np.int64))
    return distinct, ids.replace_strict(distinct, position, return_dtype=pl.Int64).to_numpy()


def positions(ids: pl.Series, among: pl.Series) -> np.ndarray:
    """int64 position of every id ``among`` distinct others, -1 where it is not there; as text where kinds differ."""
    import polars as pl

    if ids.dtype != among.dtype:
        ids, among = ids.cast(pl.String), among.cast(pl.String)
    position = pl.Series(np.arange(len(among), dtype=np.int64))
    return ids.replace_strict(among, position, default=-1, return_dtype=pl.Int64).to_numpy()


def plain_ids(ids: pl.Series, *, typed: bool) -> pl.Series:
    """Categories as text; whole numbers as Int64, those written as text too unless the file is ``typed``."""
    import polars as pl

    if isinstance(ids.dtype, pl.Categorical | pl.Enum):
        ids = ids.cast(pl.String)
    if ids.dtype == pl.String:
        whole = not typed and bool(ids.str.contains(WHOLE).all())
    else:
        whole = ids.dtype.is_integer() or (ids.dtype.is_float() and bool((ids % 1 == 0).all()))
    number = ids.cast(pl.Int64, strict=False) if whole else ids
    return ids if number.null_count() else number


def empty_cells(cells: pl.Series) -> pl.Series:
    """Which ids are missing: null, NaN, or nothing but blanks."""
    import polars as pl

    empty = cells.is_null()
    if cells.dtype == pl.String:
        return empty | (cells.str.strip_chars() == "").fill_null(True)
    return (empty | cells.is_nan()).fill_null(True) if cells.dtype.is_float() else empty


def split_labels(cells: pl.Series) -> pl.Series:
    """TRAIN, VALID or TEST as Int64; null for a label that is none of LABELS."""
    import polars as pl

    text = cells.cast(pl.String, strict=False).str.strip_chars().str.to_lowercase()
    return text.replace_strict(list(LABELS), list(LABELS.values()), default=None, return_dtype=pl.Int64)


def parse_times(text: pl.Series) -> pl.Series:
    """Text as whole numbers, else as decimals, else as ISO dates; null where the best reading of the column fails."""
    import polars as pl

    readings = []
    for kind in (pl.Int64, pl.Float64, pl.Datetime):
        try:
            reading = text.str.to_datetime(strict=False) if kind is pl.Datetime else text.cast(kind, strict=False)
        except pl.exceptions.PolarsError:  # no cell looks like a date
            continue
        if not reading.null_count():
            return reading
        readings.append(reading)
    return min(readings, key=lambda reading: reading.null_count())


@dataclass(frozen=True)
class _Column:
    """The cells of one column, with what a message about one of them needs."""

    table: Table
    cells: pl.Series
    row_N: np.ndarray

    def ids(self) -> pl.Series:
        """Ids of any kind but lists and structs. Raises DataError on those and on an empty cell."""
        if self.cells.dtype.is_nested():
            raise DataError(
                f"{self.table.path}: column '{self.cells.name}' holds {self.cells.dtype}; ids are numbers or text"
            )
        self._refuse(empty_cells(self.cells), EMPTY, show=False)
        return plain_ids(self.cells, typed=self.table.typed)

    def row_indices(self) -> pl.Series:
        """Int64 ids that are row numbers. Raises DataError on anything else, and on one absurdly large."""
        import polars as pl

        self.ids()
        whole = self.cells.str.contains(r"^[0-9]+$")
        number = self.cells.cast(pl.Int64, strict=False)
        self._refuse(
            ~whole | number.is_null(),
            "is not a row index 0, 1, 2, …; renumber the ids, or save the table as .csv, where ids may be anything",
        )
        self._refuse(
            number > max(1_000_000, 100 * len(number)),
            f"is a row index far beyond the {len(number)} rows; renumber, or save as .csv, where ids may be anything",
        )
        return number

    def labels(self) -> np.ndarray:
        """int64 split of every row. Raises DataError on a label that is none of LABELS."""
        split = split_labels(self.cells)
        self._refuse(split.is_null(), NO_SPLIT)
        return split.to_numpy()

    def times(self) -> np.ndarray:
        """int64 rank of every time. Raises DataError on a cell that is neither a number nor an ISO date."""
        import polars as pl

        time = self.cells
        if time.dtype == pl.String:
            time = parse_times(time.str.strip_chars())
        elif not (time.dtype.is_numeric() or time.dtype.is_temporal()):
            raise DataError(f"{self.table.path}: column '{time.name}' holds {time.dtype}; times are numbers or dates")
        if time.dtype.is_float():
            time = time.fill_nan(None)
        self._refuse(time.is_null(), NO_TIME)
        return time.rank("dense").cast(pl.Int64).to_numpy()

    def _refuse(self, bad: pl.Series, why: str, *, show: bool = True) -> None:
        """Raise DataError on the first row where ``bad`` holds, and say how many there are."""
        count = int(bad.fill_null(True).sum())
        if count:
            first = int(bad.fill_null(True).arg_max() or 0)
            value = f" '{self.cells[first]}'" if show else ""
            more = f" ({count} such rows)" if count > 1 else ""
            place = self.table.place(int(self.row_N[first]))
            raise DataError(f"{self.table.path}, {place}: {self.cells.name}{value} {why}{more}")
