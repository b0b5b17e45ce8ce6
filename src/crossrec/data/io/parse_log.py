"""Read interaction logs: cells become ids, times, ratings and split labels; an unusable cell is named with its line."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np

from crossrec.data.config import DataConfig
from crossrec.data.findings import Findings
from crossrec.data.io.blank import strip_invisible
from crossrec.data.io.codes import code_counts, index_ids
from crossrec.data.io.id_column import COLUMN_NAMES, find_column, find_roles, normalize_name
from crossrec.data.io.ids import check_ids, parse_ids, plain_ids
from crossrec.data.io.numbers import NumberReader
from crossrec.data.io.tables import Block, Table
from crossrec.data.io.times import TimeEncoder
from crossrec.errors import DataError, setting
from crossrec.lazy import polars as pl

TRAIN, VALID, TEST = 0, 1, 2
LABELS = {
    **dict.fromkeys(("0", "train", "training"), TRAIN),
    **dict.fromkeys(("1", "valid", "validation", "val", "dev"), VALID),
    **dict.fromkeys(("2", "test", "testing"), TEST),
}
"""Label of a split, in lower case → split."""

EMPTY = "is empty; fill the cell in or delete the row"
NO_WEIGHT = "is no weight above zero; delete the row, or take it back with crossrec data import (--weight-column)"
NO_ROWS = "a header but no rows; add interactions"
NO_SPLIT = "is no split; use 0, 1, 2 or train, valid, test"
NO_ROW_INDEX = "is not a row index 0, 1, 2, …; renumber the ids, or save the table as .csv, where ids may be anything"


@dataclass(repr=False)
class InteractionLog:
    """N interactions in file order, as numbers.

    ``user_N``, ``item_N``: int32 or int64 positions in ``user_ids`` and ``item_ids``, which are distinct and sorted.
    ``time_N``: int64 or float64, sorting like the times, which ``times`` decodes. ``rating_N``, ``weight_N``: float64.
    ``event_N``: int32, position in ``event_names``. ``split_N``: int8, 0 train, 1 valid, 2 test. Each is None if not
    read. ``row_N``: row in the table, for error messages (None for logs read block by block). ``columns``: role →
    column of the file.
    """

    user_ids: pl.Series
    item_ids: pl.Series
    user_N: np.ndarray
    item_N: np.ndarray
    time_N: np.ndarray | None = None
    rating_N: np.ndarray | None = None
    split_N: np.ndarray | None = None
    times: TimeEncoder = field(default_factory=TimeEncoder)
    row_N: np.ndarray | None = None
    columns: dict[str, str] = field(default_factory=dict)
    weight_N: np.ndarray | None = None
    event_N: np.ndarray | None = None
    event_names: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.user_N)

    def sizes(self) -> tuple[int, int, int]:
        """Return the numbers of interactions, of users and of items that occur in them."""
        users, items = (int((code_counts(code_N) > 0).sum()) for code_N in (self.user_N, self.item_N))
        return len(self), users, items

    def filter(self, keep_N: np.ndarray) -> None:
        """Keep only the rows where ``keep_N``, bool (N,), is true; one column at a time, to hold one copy in memory."""
        for name in ("user_N", "item_N", "time_N", "rating_N", "split_N", "row_N", "weight_N", "event_N"):
            column = getattr(self, name)
            if column is not None:
                setattr(self, name, column[keep_N])


@dataclass(frozen=True)
class LogRows:
    """Rows of a log: one column for each role in ``block.frame``, and what error messages about them need.

    ``columns``: role → column of the file. ``typed``: whether the file stores types. ``row_N``: position of each row in
    the block as it was read.
    """

    path: Path
    columns: dict[str, str]
    typed: bool
    block: Block
    row_N: np.ndarray = field(repr=False)

    @classmethod
    def of(cls, path: Path, columns: dict[str, str], typed: bool, block: Block) -> LogRows:
        """The rows of ``block`` without blank lines."""
        rows = cls(path, columns, typed, block, np.arange(block.frame.height))
        if block.frame["user"].null_count() and (blank := block.blank_rows()):
            return rows.filter(np.isin(rows.row_N, blank, invert=True))
        return rows

    def __len__(self) -> int:
        return len(self.row_N)

    def cells(self, role: str) -> pl.Series:
        """The cells of a role as they stand in the file."""
        return self.block.frame[role]

    def filter(self, keep_N: np.ndarray) -> LogRows:
        """The rows where ``keep_N`` is true."""
        return replace(self, block=replace(self.block, frame=self.block.frame.filter(keep_N)), row_N=self.row_N[keep_N])

    def parse(self, role: str, times: TimeEncoder, numbers: NumberReader) -> tuple[pl.Series, pl.Series, str]:
        """Return (values, which cells are unusable, the reason): ids as they are, events as text, others as numbers.

        Raises DataError if the type of the column cannot play the role at all.
        """
        cells = self.cells(role)
        if role in ("user", "item"):
            ids = parse_ids(cells, partial(self._id_error, role))
            return ids, ids.is_null(), EMPTY
        if role == "time":
            values, reason = self._parse_times(cells, times), times.unusable
        elif role in ("rating", "weight"):
            values, reason = numbers.parse(cells)
        elif role == "event":
            text = strip_invisible(cells.cast(pl.String))
            values, reason = text.set(text == "", None), EMPTY
        else:
            values, reason = parse_labels(cells), NO_SPLIT
        bad = values.is_null()
        if bad.any() and cells[int(bad.arg_max() or 0)] is None:
            reason = EMPTY
        return values, bad, reason

    def _parse_times(self, cells: pl.Series, times: TimeEncoder) -> pl.Series:
        """Parse times, null where a cell is unusable. Raises DataError for the first time in another form."""
        is_time = cells.dtype.is_numeric() or cells.dtype.is_temporal() or cells.dtype in (pl.String, pl.Null)
        if not is_time or cells.dtype == pl.Time:
            raise self._type_error("time", "times are numbers or dates")
        try:
            values, other_form, reason = times.encode(cells)
        except DataError as error:
            raise DataError(f"{self.path}: {error}") from None
        if other_form is not None:
            self._check("time", other_form, reason)
        times.note_units(values, lambda row: f"{self.path}, {self.block.location(int(self.row_N[row]))}")
        return values

    def values(self, role: str, times: TimeEncoder, numbers: NumberReader) -> pl.Series:
        """The parsed values of a role. Raises DataError naming the first unusable cell and counting the others."""
        values, bad, reason = self.parse(role, times, numbers)
        self._check(role, bad, reason)
        return values

    def check_weights(self, role: str, number_N: np.ndarray) -> None:
        """Raise DataError naming the first weight that is not above zero."""
        if role == "weight":
            self._check(role, pl.Series(number_N <= 0), NO_WEIGHT)

    def check_ids(self, role: str, ids: pl.Series, code_N: np.ndarray, findings: Findings) -> None:
        """Check the distinct ids of a role, whose positions ``code_N`` are those of the rows; see ``ids.check_ids``."""

        def locate(code: int) -> str:
            row = int(self.row_N[int(np.argmax(code_N == code))])
            return f"{self.path}, {self.block.location(row)}"

        check_ids(ids, self.columns[role], self.path, locate, findings.tell, code_counts(code_N))

    def row_indices(self, role: str) -> pl.Series:
        """Ids that are row numbers, as Int64. Raises DataError for any other id."""
        text = self.values(role, TimeEncoder(), NumberReader())
        number = text.cast(pl.Int64, strict=False)
        self._check(role, ~text.str.contains(r"^[0-9]+$") | number.is_null(), NO_ROW_INDEX)
        return number

    def _check(self, role: str, bad: pl.Series, reason: str) -> None:
        """Raise DataError naming the first row where ``bad`` is true and counting such rows."""
        if bad.any():
            raise self.error(role, bad, _counted(reason, bad))

    def error(self, role: str, bad: pl.Series, reason: str) -> DataError:
        """The error for the first row where ``bad`` is true."""
        first = int(bad.arg_max() or 0)
        cell = self.cells(role)[first]
        value = "" if cell is None or reason.startswith(EMPTY) else f" '{cell}'"
        location = self.block.location(int(self.row_N[first]))
        return DataError(f"{self.path}, {location}: {self.columns[role]}{value} {reason}")

    def _id_error(self, role: str, reason: str, bad: pl.Series | None) -> DataError:
        return self._type_error(role, reason) if bad is None else self.error(role, bad, _counted(reason, bad))

    def _type_error(self, role: str, hint: str) -> DataError:
        return DataError(f"{self.path}: column '{self.columns[role]}' holds {self.cells(role).dtype}; {hint}")


def _counted(reason: str, bad: pl.Series) -> str:
    """``reason`` with the number of rows where ``bad`` is true, if there are several."""
    total = int(bad.sum())
    return f"{reason} ({total} such rows)" if total > 1 else reason


def read_log(table: Table, config: DataConfig, findings: Findings, *, row_indices: bool) -> InteractionLog | None:
    """Read the columns of ``table`` that ``config`` needs; ``row_indices`` requires ids to be non-negative integers.

    Problems go to ``findings``; returns None if they leave no usable log. Raises DataError if the table cannot be read.
    """
    roles = _roles(table, config, findings)
    if "user" not in roles or "item" not in roles:
        return None
    block = table.read_block(list(dict.fromkeys(roles.values())), ids=[roles["user"], roles["item"]])
    rows = LogRows.of(table.path, roles, table.typed, by_role(block, roles))
    if not len(rows):
        raise DataError(f"{table.path}: {NO_ROWS}")
    times, numbers = TimeEncoder(config.time_format), NumberReader()
    values: dict[str, np.ndarray] = {}
    ids: dict[str, pl.Series] = {}
    for role in roles:
        with findings.attempt():
            if role in ("user", "item"):
                cells = rows.row_indices(role) if row_indices else rows.values(role, times, numbers)
                ids[role], values[role] = index_ids(plain_ids(cells, typed=table.typed))
            else:
                values[role] = rows.values(role, times, numbers).to_numpy()
                rows.check_weights(role, values[role])
                times.seen.check()
                if doubt := times.seen.doubt():
                    findings.warn(f"{table.path}: {doubt}")
    if len(values) < len(roles):
        return None
    for role in ids:
        with findings.attempt():
            rows.check_ids(role, ids[role], values[role], findings)
    return InteractionLog(
        ids["user"],
        ids["item"],
        values["user"],
        values["item"],
        time_N=values.get("time"),
        split_N=values.get("split"),
        weight_N=values.get("weight"),
        times=times,
        row_N=rows.row_N,
        columns=roles,
    )


def _roles(table: Table, config: DataConfig, findings: Findings) -> dict[str, str]:
    """The columns of users, items and, where the settings need them, of split labels, times and weights."""
    labelled, timed = config.split in ("auto", "given"), config.split in ("time", "leave_one_out", "date")
    weighted = bool(config.weighted)
    names = {"user": config.user_column, "item": config.item_column}
    if config.weight_column and not weighted:
        findings.error(
            f"{setting('weight_column')}: says nothing without {setting('weighted')}; add it, or leave it out"
        )
    if weighted:
        names["weight"] = config.weight_column
        if not any(normalize_name(column) in COLUMN_NAMES["weight"] for column in table.columns):
            with findings.attempt():
                names["weight"] = config.weight_column or find_column(table, "rating", None, required=False)
    if labelled or config.split_column:
        names["split"] = config.split_column
    if timed or config.time_column:
        names["time"] = config.time_column
    required = {
        "user",
        "item",
        {"given": "split", "time": "time", "date": "time"}.get(config.split, "user"),
        *["weight"] * weighted,
    }
    roles = find_roles(table, names, required, findings.attempt)
    unused = {"split": not labelled, "time": not timed}
    return {role: column for role, column in roles.items() if not unused.get(role)}


def by_role(block: Block, roles: dict[str, str]) -> Block:
    """The block with one column for each role, named like the role."""
    return replace(block, frame=pl.DataFrame([block.frame[column].alias(role) for role, column in roles.items()]))


def parse_labels(cells: pl.Series) -> pl.Series:
    """Parse split labels as Int8 TRAIN, VALID or TEST; null for a label that is none of LABELS."""
    text = cells.cast(pl.String, strict=False).str.strip_chars().str.to_lowercase()
    return text.replace_strict(list(LABELS), list(LABELS.values()), default=None, return_dtype=pl.Int8)
