"""Choose columns by their names, read the ids that a table of items or users lists, and save id maps."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path

import numpy as np

from crossrec.config import did_you_mean
from crossrec.data.io.atomic import new_file
from crossrec.data.io.header import SEPARATORS, header_problem, numbers_in_header
from crossrec.data.io.ids import check_ids, log, parse_ids, plain_ids
from crossrec.data.io.tables import Table, plain_column
from crossrec.errors import DataError, setting
from crossrec.lazy import polars as pl

COLUMN_NAMES = {
    "user": ("userid", "user", "uid", "customerid", "reviewerid"),
    "item": ("itemid", "item", "iid", "productid", "asin"),
    "split": ("xlabel", "split", "subset"),
    "time": ("timestamp", "time", "datetime", "date", "unixreviewtime"),
    "rating": ("rating", "overall", "score", "stars"),
    "weight": ("weight",),
    "event": (),
}
"""Role of a column → its well-known names, as :func:`normalize_name` writes them."""


def normalize_name(column: str) -> str:
    """The letters and digits of a column name, in lower case: ``User_ID`` → ``userid``."""
    return "".join(filter(str.isalnum, column.lower()))


def find_column(table: Table, role: str, name: str | None, *, required: bool) -> str | None:
    """Return the column with ``role``: ``name`` if given, else the only column with a well-known name.

    Raises DataError naming the nearest column if it is missing, or the candidates if there are several.
    """
    if name is not None:
        if name in table.columns:
            return name
        raise _no_column(table, f"no column '{name}'{did_you_mean(name, table.columns)}")
    candidates = [column for column in table.columns if normalize_name(column) in COLUMN_NAMES[role]]
    if len(candidates) == 1:
        return candidates[0]
    if candidates:
        raise DataError(
            f"{table.path}: columns {', '.join(candidates)} could each be the {role}; choose with "
            f"{setting(f'{role}_column')}"
        )
    if not required:
        return None
    hint = did_you_mean(f"{role}_id", table.columns)
    raise _no_column(table, f"no {role} column{hint} ({setting(f'{role}_column')} names it)")


def _no_column(table: Table, message: str) -> DataError:
    """The error for a missing column: what is wrong with the whole header, else ``message``."""
    if problem := header_problem(table.path, table.columns, table.form.separator):
        return DataError(f"{table.path}, line 1: {problem}")
    names = set(map(normalize_name, table.columns))
    is_perhaps_row = table.kind in SEPARATORS and names.isdisjoint(chain.from_iterable(COLUMN_NAMES.values()))
    hint = "; if its first line is a row, add a header above it" if is_perhaps_row else ""
    return DataError(f"{table.path}: {message}{hint}")


def find_roles(
    table: Table,
    names: Mapping[str, str | None],
    required: Collection[str],
    attempt: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> dict[str, str]:
    """Map each role in ``names`` to its column in ``table``; a role that is not ``required`` may have none.

    ``names``: role → column name, or None to search well-known names. ``attempt`` wraps each search, so that it can
    collect errors. Raises DataError as :func:`find_column` does.
    """
    roles: dict[str, str | None] = {}
    for role, name in names.items():
        with attempt():
            roles[role] = find_column(table, role, name, required=role in required)
    columns = {role: column for role, column in roles.items() if column is not None}
    with attempt():
        for role, column in columns.items():
            if (first := next(other for other, taken in columns.items() if taken == column)) != role:
                raise DataError(f"{table.path}: column '{column}' is named as the {first} and the {role}; name two")
    return columns


def find_id_column(table: Table, role: str = "item", preferred: str | None = None) -> str:
    """Return the id column of a table that lists items (or users): the one rule for every such file.

    In this order: the column ``preferred`` (what other files call it); the only column, unless it holds ids of the
    other role by its name; the column with a well-known name; ``id``. Raises DataError if there is none, or if several
    have well-known names.
    """
    if preferred in table.columns:
        return preferred
    other_names = COLUMN_NAMES["item" if role == "user" else "user"]
    if len(table.columns) == 1 and normalize_name(table.columns[0]) not in other_names:
        if problem := numbers_in_header(table.path, table.columns):
            raise DataError(f"{table.path}, line 1: {problem}")
        return table.columns[0]
    column = find_column(table, role, None, required="id" not in table.columns)
    return "id" if column is None else column


@dataclass(frozen=True)
class IdListing:
    """The ids of a table of items or users, in its order.

    ``column``: the id column. ``frame``: further columns that were read. ``row_N``: row of the table for each id.
    """

    table: Table
    column: str
    ids: pl.Series = field(repr=False)
    frame: pl.DataFrame = field(repr=False)
    row_N: np.ndarray = field(repr=False)

    def location(self, index: int) -> str:
        """File and line (or row) of an id, for error messages."""
        return f"{self.table.path}, {self.table.location(int(self.row_N[index]))}"

    def error(self, reason: str, bad: pl.Series | None) -> DataError:
        """The error for the first id where ``bad`` is true, or for the type of the column."""
        if bad is None:
            return DataError(f"{self.table.path}: column '{self.column}' holds {self.ids.dtype}; {reason}")
        first = int(bad.arg_max() or 0)
        cell = self.ids[first]
        value = "" if cell is None or not str(cell).strip() or reason.startswith("repeats") else f" '{cell}'"
        return DataError(f"{self.location(first)}: {self.column}{value} {reason}")


def read_listing(
    table: Table,
    role: str = "item",
    *,
    preferred: str | None = None,
    columns: Sequence[str] = (),
    tell: Callable[[str], None] = log.warning,
) -> IdListing:
    """Read the ids that ``table`` lists and the cells of ``columns``; blank lines of a text file are skipped.

    The id column follows :func:`find_id_column`. ``tell`` is called with what is odd about the ids. Raises DataError
    for an id that is empty, repeated, or none (``parse_ids``, ``check_ids``), or if no id is listed.
    """
    listing = read_ids(table, role, preferred=preferred, columns=columns)
    repeated = ~listing.ids.is_first_distinct()
    if repeated.any():
        raise listing.error("repeats an id; list each once", repeated)
    if not len(listing.ids):
        raise DataError(f"{table.path}: a header but no rows; list the {role} ids in row order")
    check_ids(listing.ids, listing.column, table.path, listing.location, tell)
    return listing


def read_ids(
    table: Table, role: str = "item", *, preferred: str | None = None, columns: Sequence[str] = ()
) -> IdListing:
    """Read a column of ids, which may repeat; otherwise as :func:`read_listing`."""
    column = find_id_column(table, role, preferred)
    frame = table.read(list(dict.fromkeys([column, *columns])), ids=[column])
    row_N = np.delete(np.arange(frame.height), table.blank_rows() if frame[column].null_count() else [])
    frame = frame[row_N]
    others = pl.DataFrame([frame[name] for name in columns])
    listing = IdListing(table, column, plain_column(frame, column), others, row_N)
    ids = parse_ids(listing.ids, listing.error)
    if ids.null_count():
        raise listing.error("is empty; fill it in", ids.is_null())
    return replace(listing, ids=plain_ids(ids, typed=table.typed))


def save_id_map(ids: pl.Series, path: Path | str) -> None:
    """Write ids in row order as Parquet with columns ``index`` and ``id``, atomically.

    Raises RunError if the file cannot be written.
    """
    with new_file(path) as file:
        pl.DataFrame({"index": np.arange(len(ids), dtype=np.int64), "id": ids}).write_parquet(file)
