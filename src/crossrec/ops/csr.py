"""Rows of a CSR table in numpy, the gaps between its columns, and the types of arrays."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


def sorted_unique(number_N: Ints) -> Ints:
    """The distinct numbers, sorted. Sorts in place, so that no copy is in memory where all are distinct."""
    number_N.sort()
    is_new_N = np.ones(len(number_N), dtype=bool)
    np.not_equal(number_N[1:], number_N[:-1], out=is_new_N[1:])
    return number_N if is_new_N.all() else number_N[is_new_N]


def csr_rows(indptr: Ints, values: Ints, rows: Ints) -> tuple[Ints, Ints]:
    """Entries of some rows of a CSR table: (position in ``rows``, value), sorted by position."""
    start_C, count_C = indptr[rows], indptr[rows + 1] - indptr[rows]
    position_N = np.repeat(np.arange(len(rows)), count_C)
    offset_C = np.cumsum(count_C) - count_C
    return position_N, values[np.repeat(start_C - offset_C, count_C) + np.arange(len(position_N))]


def absent_columns(key_K: Ints, num_columns: int, row_N: Ints, rank_N: Ints) -> Ints:
    """The column with index ``rank_N`` (from 0) among the columns that a row has no entry in, (N,).

    ``key_K``: the entries, sorted, as row · num_columns + column. Before the j-th entry of a row (from 0) there are
    column - j absent columns. The result is the rank plus the number of the row's entries with at most that many absent
    columns before them.
    """
    row_K, column_K = np.divmod(key_K, num_columns)
    start_N = np.searchsorted(row_K, row_N)
    absent_before_K = column_K - (np.arange(len(key_K)) - np.searchsorted(row_K, row_K))
    width = num_columns + 1
    present_N = np.searchsorted(row_K * width + absent_before_K, row_N * width + rank_N, side="right")
    return np.asarray(rank_N + present_N - start_N)
