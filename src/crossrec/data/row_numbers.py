"""Assign every user and item to its row in features, model and results."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from crossrec.data.io.codes import positions
from crossrec.data.io.features import check_row_counts, no_feature_row
from crossrec.data.io.id_column import read_listing
from crossrec.data.io.parse_log import InteractionLog
from crossrec.data.io.tables import Table, open_table
from crossrec.data.sources import Source
from crossrec.errors import DataError
from crossrec.lazy import polars as pl


def assign_rows(
    source: Source, log: InteractionLog, table: Table, item_column: str | None, row_counts: dict[Path, int]
) -> None:
    """Renumber the users and items of ``log`` as rows; its ids become those of all rows.

    Rows follow the sorted ids, with these exceptions. In the MMRec layout the ids are the rows. An items file lists the
    item ids in row order. Without one, integer item ids are the rows if there are features. ``row_counts``: feature
    file → its number of rows. Raises DataError if features and items do not fit together.
    """
    if source.row_indices:
        user_row_D = log.user_ids.to_numpy()
        log.user_ids, log.user_N = pl.Series(np.arange(user_row_D[-1] + 1)), user_row_D[log.user_N]
    check_row_counts(row_counts)
    path, count = next(iter(row_counts.items()), (None, 0))
    if source.items is not None:
        ids = read_listing(open_table(source.items), preferred=item_column or log.columns["item"]).ids
        check_row_counts(row_counts, source.items.name, len(ids))
        row_D = positions(log.item_ids, ids)
        _check_items(row_D < 0, log, table, f"is not in {source.items.name}; add it there, or delete its rows here")
    elif path is None and not source.row_indices:
        return
    elif log.item_ids.dtype != pl.Int64:
        raise no_row_index(f"{path}", log.item_ids, table, "add items.csv beside it,")
    else:
        row_D = log.item_ids.to_numpy()
        if path is not None:
            reason = no_feature_row(path, count, "add the row or renumber" if source.row_indices else None)
            _check_items((row_D < 0) | (row_D >= count), log, table, reason)
        ids = pl.Series(np.arange(count if path is not None else int(row_D[-1]) + 1))
    log.item_ids, log.item_N = ids, row_D[log.item_N]


def no_row_index(where: str, ids: pl.Series, table: Table, hint: str) -> DataError:
    """The error for item ids that are no row numbers while no file lists them in row order."""
    return DataError(
        f"{where}: nothing says which row is which item, as '{ids[0]}' in {table.path.name} is no row index; {hint} "
        "listing the item ids in row order"
    )


def _check_items(bad_D: np.ndarray, log: InteractionLog, table: Table, reason: str) -> None:
    """Raise DataError naming the first row whose item is bad, and how many items are. ``bad_D``: for each distinct
    item."""
    if bad_D.any():
        assert log.row_N is not None
        first = int(np.argmax(bad_D[log.item_N]))
        item = log.item_ids[int(log.item_N[first])]
        count = int(bad_D.sum())
        more = f" ({count} such items)" if count > 1 else ""
        location = table.location(int(log.row_N[first]))
        raise DataError(f"{table.path}, {location}: {log.columns['item']} '{item}' {reason}{more}")
