"""Making a split where the data bring none: at random, by time, or leaving one out, always per user."""

from __future__ import annotations

from typing import Literal

import numpy as np

from crossrec.data.interactions import TEST, TRAIN, VALID


def make_split(
    user_N: np.ndarray,
    item_N: np.ndarray,
    time_N: np.ndarray | None,
    scheme: Literal["random", "time", "leave_one_out"],
    generator: np.random.Generator,
) -> np.ndarray:
    """Split of every interaction, int64 (N,): 0 train, 1 valid, 2 test.

    A user with n interactions gives k each to validation and test, k = max(1, n // 10) for ``random`` and ``time``
    (80-10-10), k = 1 for ``leave_one_out``; a user with fewer than three gives none and is trained on only.
    ``random`` draws; ``time`` and ``leave_one_out`` take the latest for test and the next latest for validation (equal
    times: the higher item row counts as later); ``leave_one_out`` without times draws. The outcome depends on the
    set of interactions and the generator, not on the order of the rows.
    """
    canonical = np.argsort(user_N * (item_N.max(initial=0) + 1) + item_N, kind="stable")
    if time_N is not None and scheme != "random":
        rank = time_N[canonical]
    else:
        rank = generator.integers(2**31, size=len(user_N))
    order = canonical[np.argsort(user_N[canonical] * (rank.max(initial=0) + 1) + rank, kind="stable")]
    count_U = np.bincount(user_N)
    count_N = count_U[user_N[order]]
    later_N = np.cumsum(count_U)[user_N[order]] - 1 - np.arange(len(order))  # interactions of the user that come after
    held = np.ones_like(count_N) if scheme == "leave_one_out" else np.maximum(1, count_N // 10)
    held[count_N < 3] = 0
    split = np.full(len(user_N), TRAIN)
    split[order] = np.where(later_N < held, TEST, np.where(later_N < 2 * held, VALID, TRAIN))
    return split
