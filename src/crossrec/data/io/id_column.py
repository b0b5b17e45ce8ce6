"""Which item is which row: of the features, of the model, of every result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from crossrec.data.io.parse_log import Log, plain_ids, positions
from crossrec.data.io.tables import Table, find_column, open_table
from crossrec.data.sources import Source
from crossrec.errors import DataError

if TYPE_CHECKING:
    import polars as pl


def user_rows(source: Source, log: Log) -> tuple[pl.Series, np.ndarray]:
    """(id of every user row, row of every distinct user of the log): the ids are the rows in the MMRec layout."""
    import polars as pl

    if not source.row_indices:
        return log.user_ids, np.arange(len(log.user_ids))
    rows = log.user_ids.to_numpy()
    return pl.Series(np.arange(rows[-1] + 1)), rows


def item_rows(
    source: Source, log: Log, table: Table, item_column: str | None, rows: dict[Path, int]
) -> tuple[pl.Series, np.ndarray]:
    """(id of every item row, row of every distinct item of the log); ``rows``: how many rows each feature file has.

    An items file lists the ids in row order. Without one, integer ids are the rows if there are features or the layout
    is MMRec's; else the distinct ids in sorted order are. Raises DataError if features and items do not fit together.
    """
    import polars as pl

    if len(set(rows.values())) > 1:
        counts = ", ".join(f"{path.name} {count}" for path, count in rows.items())
        raise DataError(
            f"{source.table.parent}: feature files have different numbers of rows ({counts}); one row an item"
        )
    path, count = next(iter(rows.items()), (None, 0))
    if source.items is not None:
        ids, _ = listed_items(source.items, item_column or log.columns["item"])
        if path is not None and count != len(ids):
            raise DataError(f"{path}: {count} rows, but {source.items.name} lists {len(ids)} items; one row an item")
        where = positions(log.item_ids, ids)
        _refuse(where < 0, log, table, f"is not in {source.items.name}; add it there, or delete its rows here")
        return ids, where
    if path is None and not source.row_indices:
        return log.item_ids, np.arange(len(log.item_ids))
    if log.item_ids.dtype != pl.Int64:
        raise DataError(
            f"{path}: nothing says which row is which item, as '{log.item_ids[0]}' in {table.path.name} is no row "
            f"index; add items.csv beside it, listing the item ids in row order"
        )
    where = log.item_ids.to_numpy()
    count = count if path is not None else int(where[-1]) + 1
    _refuse(
        (where < 0) | (where >= count),
        log,
        table,
        f"has no row in {path.name if path else 'the features'}, which has {count} (0 to {count - 1}); "
        + (
            "add the row or renumber"
            if source.row_indices
            else "add the row, or items.csv listing the ids in row order"
        ),
    )
    return pl.Series(np.arange(count)), where


@dataclass(frozen=True)
class Listing:
    """The items of a table: ``ids`` in its order, each once, and the cells of further columns beside them.

    ``row_N``: row of the table that each stands in, for messages.
    """

    table: Table
    ids: pl.Series
    frame: pl.DataFrame
    row_N: np.ndarray

    def place(self, index: int) -> str:
        """File and line (or row) of an item, for messages."""
        return f"{self.table.path}, {self.table.place(int(self.row_N[index]))}"


def read_listing(table: Table, column: str, further: Sequence[str] = ()) -> Listing:
    """The ids in ``column`` and the cells of ``further`` columns; blank lines of a text file are no items.

    Raises DataError on an empty or repeated id, or where there is none.
    """
    frame = table.read(list(dict.fromkeys([column, *further])))
    rows = np.delete(np.arange(frame.height), table.blank() if frame[column].null_count() else [])
    frame = frame[rows]
    ids = frame[column]
    for bad, why in (
        (ids.is_null(), "is empty; fill it in"),
        (~ids.is_first_distinct(), "repeats an id; list each once"),
    ):
        if bad.any():
            first = int(bad.arg_max() or 0)
            raise DataError(f"{table.path}, {table.place(int(rows[first]))}: {column} {why}")
    if not len(ids):
        raise DataError(f"{table.path}: a header but no rows; list the item ids in row order")
    return Listing(table, plain_ids(ids, typed=table.typed), frame, rows)


def listed_items(path: Path, name: str, role: str = "item", *, extra: bool = False) -> tuple[pl.Series, pl.DataFrame]:
    """(the ids that a file of items, or of another ``role``, lists, in order; its other columns where ``extra``).

    ``name``: what the id column of the interactions is called. Raises DataError if the file has no column of ids,
    or an empty or repeated id.
    """
    table = open_table(path)
    column = name if name in table.columns else None
    if column is None:
        column = table.columns[0] if len(table.columns) == 1 else find_column(table, role, None, required=True)
    assert column is not None
    listing = read_listing(table, column, table.columns if extra else ())
    return listing.ids, listing.frame.drop(column)


def _refuse(bad_distinct: np.ndarray, log: Log, table: Table, why: str) -> None:
    """Raise DataError naming the first row whose item is bad, and how many items are."""
    if bad_distinct.any():
        first = int(np.argmax(bad_distinct[log.item_N]))
        item = log.item_ids[int(log.item_N[first])]
        count = int(bad_distinct.sum())
        more = f" ({count} such items)" if count > 1 else ""
        place = table.place(int(log.row_N[first]))
        raise DataError(f"{table.path}, {place}: {log.columns['item']} '{item}' {why}{more}")
