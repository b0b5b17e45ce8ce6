"""Rows of a CSR table in numpy, and the types of arrays."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


def csr_rows(indptr: Ints, values: Ints, rows: Ints) -> tuple[Ints, Ints]:
    """Entries of some rows of a CSR table: (position in ``rows``, value), sorted by position."""
    start_C, count_C = indptr[rows], indptr[rows + 1] - indptr[rows]
    position_N = np.repeat(np.arange(len(rows)), count_C)
    offset_C = np.cumsum(count_C) - count_C
    return position_N, values[np.repeat(start_C - offset_C, count_C) + np.arange(len(position_N))]
