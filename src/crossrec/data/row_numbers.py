"""Assign every user and item to its row in features, model and results."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from crossrec.data.findings import Findings
from crossrec.data.io.codes import positions
from crossrec.data.io.features import check_row_counts, no_feature_row
from crossrec.data.io.id_column import read_listing
from crossrec.data.io.parse_log import InteractionLog
from crossrec.data.io.tables import Table, open_table
from crossrec.data.sources import Source
from crossrec.errors import DataError
from crossrec.lazy import polars as pl

MAX_EMPTY_ROWS, MAX_ROWS_PER_ID = 100_000, 100
"""A table may have so many rows, or so many for each id that occurs, before gaps between row numbers are an error."""


def assign_rows(
    source: Source,
    log: InteractionLog,
    table: Table,
    item_column: str | None,
    row_counts: dict[Path, int],
    findings: Findings,
) -> None:
    """Renumber the users and items of ``log`` as rows; its ids become those of all rows.

    Rows follow the sorted ids, with these exceptions. In the MMRec layout the ids are the rows. An items file lists the
    item ids in row order. Without one, integer item ids are the rows if there are features. ``row_counts``: feature
    file → its number of rows. Raises DataError if features and items do not fit together.
    """
    check_row_counts(row_counts)
    path, count = next(iter(row_counts.items()), (None, 0))
    if source.row_indices:
        for role in ("user", "item") if path is None else ("user",):
            _check_gaps(log, role, table)
        user_row_D = log.user_ids.to_numpy()
        log.user_ids, log.user_N = pl.Series(np.arange(user_row_D[-1] + 1)), user_row_D[log.user_N]
    if source.items is not None:
        preferred = item_column or log.columns["item"]
        ids = read_listing(open_table(source.items), preferred=preferred, tell=findings.tell).ids
        check_row_counts(row_counts, source.items.name, len(ids))
        row_D = positions(log.item_ids, ids)
        _check_ids(
            log, "item", row_D < 0, table, f"is not in {source.items.name}; add it there, or delete its rows here"
        )
    elif path is None and not source.row_indices:
        return
    elif log.item_ids.dtype != pl.Int64:
        raise no_row_index(f"{path}", log.item_ids, table, "add items.csv beside it,")
    else:
        row_D = log.item_ids.to_numpy()
        if path is not None:
            reason = no_feature_row(path, count, "add the row or renumber" if source.row_indices else None)
            _check_ids(log, "item", (row_D < 0) | (row_D >= count), table, reason)
        ids = pl.Series(np.arange(count if path is not None else int(row_D[-1]) + 1))
    log.item_ids, log.item_N = ids, row_D[log.item_N]


def no_row_index(where: str, ids: pl.Series, table: Table, hint: str) -> DataError:
    """The error for item ids that are no row numbers while no file lists them in row order."""
    return DataError(
        f"{where}: nothing says which row is which item, as '{ids[0]}' in {table.path.name} is no row index; {hint} "
        "listing the item ids in row order"
    )


def too_sparse(highest: int, count: int) -> bool:
    """Whether ``count`` row numbers up to ``highest`` would make a table that is nearly empty and large."""
    return highest >= max(MAX_EMPTY_ROWS, MAX_ROWS_PER_ID * count)


def _check_gaps(log: InteractionLog, role: str, table: Table) -> None:
    """Raise DataError naming the first row with a row number far above the number of users or items."""
    row_D = (log.user_ids if role == "user" else log.item_ids).to_numpy()
    if too_sparse(int(row_D[-1]), len(row_D)):
        bad_D = row_D >= max(MAX_EMPTY_ROWS, MAX_ROWS_PER_ID * len(row_D))
        reason = (
            f"is a row index far beyond the {len(row_D):,} {role}s that occur: {int(row_D[-1]) + 1:,} rows, nearly all "
            f"of them empty; number the ids anew with 'crossrec data import {table.path} --out NEW', or save the table "
            "as .csv, where ids may be anything"
        )
        _check_ids(log, role, bad_D, table, reason)


def _check_ids(log: InteractionLog, role: str, bad_D: np.ndarray, table: Table, reason: str) -> None:
    """Raise DataError naming the first row whose id is bad, and how many ids are. ``bad_D``: for each distinct id."""
    if bad_D.any():
        assert log.row_N is not None
        ids, code_N = (log.user_ids, log.user_N) if role == "user" else (log.item_ids, log.item_N)
        first = int(np.argmax(bad_D[code_N]))
        count = int(bad_D.sum())
        more = f" ({count} such {role}s)" if count > 1 else ""
        location = table.location(int(log.row_N[first]))
        raise DataError(f"{table.path}, {location}: {log.columns[role]} '{ids[int(code_N[first])]}' {reason}{more}")
