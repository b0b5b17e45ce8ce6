"""Split the interactions of each user into train, valid and test: at random, by time, or leaving one out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np

from crossrec.data.io.parse_log import TEST, TRAIN, VALID

BLOCK = 2**20
"""Interactions sorted at a time."""


def by_user(user_N: np.ndarray, size: int = BLOCK) -> Iterator[np.ndarray]:
    """Yield the rows of the interactions grouped by user, in blocks of at most ``size`` rows or of one user.

    Users ascend; the rows of a user keep their order; a block has all rows of its users. Memory: some 10 bytes per
    interaction; time is linear.
    """
    from scipy.sparse import coo_array

    total = len(user_N)
    if not total:
        return
    # a matrix with one cell for every (user, row): its conversion to CSR is a counting sort
    kind = np.int32 if total < 2**31 else np.int64
    cells = coo_array((np.zeros(total, dtype=bool), (user_N.astype(kind, copy=False), np.arange(total, dtype=kind))))
    cells.has_canonical_format = True
    grouped = cells.tocsr()
    row_N, start_U = grouped.indices, grouped.indptr
    begin = 0
    while begin < total:
        end = int(start_U[np.searchsorted(start_U, begin + size, side="right") - 1])
        if end <= begin:
            end = int(start_U[np.searchsorted(start_U, begin, side="right")])
        yield row_N[begin:end]
        begin = end


def make_split(
    user_N: np.ndarray,
    item_N: np.ndarray,
    time_N: np.ndarray | None,
    scheme: Literal["random", "time", "leave_one_out"],
    generator: np.random.Generator,
) -> np.ndarray:
    """Return the split of every interaction, int8 (N,): 0 train, 1 valid, 2 test.

    A user with n interactions gives k each to validation and test, k = max(1, n // 10) for ``random`` and ``time``
    (80-10-10), k = 1 for ``leave_one_out``; all interactions of a user with fewer than three are for training.
    ``random`` draws them; ``time`` and ``leave_one_out`` take the latest for test and the next latest for validation
    (of equal times the higher item row counts as later); ``leave_one_out`` without times draws. The result depends on
    the set of interactions and the generator, not on the order of the rows.
    """
    split_N = np.full(len(user_N), TRAIN, dtype=np.int8)
    time_N = None if scheme == "random" else time_N
    for rows in by_user(user_N):
        row_B = rows[np.lexsort((item_N[rows], user_N[rows]))]
        rank_B = generator.integers(2**31, size=len(row_B)) if time_N is None else time_N[row_B]
        row_B = row_B[np.lexsort((rank_B, user_N[row_B]))]
        _, count_U = np.unique(user_N[row_B], return_counts=True)
        later_B = np.repeat(np.cumsum(count_U), count_U) - 1 - np.arange(len(row_B))  # later rows of the same user
        held_U = np.ones_like(count_U) if scheme == "leave_one_out" else np.maximum(1, count_U // 10)
        held_B = np.repeat(np.where(count_U < 3, 0, held_U), count_U)
        split_N[row_B] = np.where(later_B < held_B, TEST, np.where(later_B < 2 * held_B, VALID, TRAIN))
    return split_N
