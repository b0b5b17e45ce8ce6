"""Decide which rows of a log stay: one row of each repeated pair, rows with high enough ratings, the k-core."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from crossrec.data.io.codes import code_counts, row_spans
from crossrec.data.io.parse_log import InteractionLog
from crossrec.data.splits import by_user


def repeated(log: InteractionLog, keep: str) -> np.ndarray:
    """Which rows repeat a (user, item) pair, bool (N,): all but the ``first`` or the ``last`` of each pair.

    First and last refer to time, then to the order of the rows; to the order of the rows alone without times.
    """
    drop_N = np.zeros(len(log), dtype=bool)
    for rows in by_user(log.user_N):
        row_B = rows[np.lexsort((log.item_N[rows], log.user_N[rows]))]
        same_as_next_B = _same_pair_as_next(log, row_B)
        if not same_as_next_B.any():
            continue
        row_B = row_B[same_as_next_B | np.roll(same_as_next_B, 1)]
        if log.time_N is not None:
            row_B = row_B[np.lexsort((log.time_N[row_B], log.item_N[row_B], log.user_N[row_B]))]
        same_as_next_B = _same_pair_as_next(log, row_B)
        drop_N[row_B[np.roll(same_as_next_B, 1) if keep == "first" else same_as_next_B]] = True
    return drop_N


def _same_pair_as_next(log: InteractionLog, row_B: np.ndarray) -> np.ndarray:
    """Whether a row has the same pair as the next row, bool (B,); false for the last row."""
    user_B, item_B = log.user_N[row_B], log.item_N[row_B]
    return np.append((user_B[1:] == user_B[:-1]) & (item_B[1:] == item_B[:-1]), False)


def rated_below(log: InteractionLog, min_rating: float) -> np.ndarray:
    """Which rows have a rating below ``min_rating``, bool (N,)."""
    assert log.rating_N is not None
    below_N: np.ndarray = log.rating_N < min_rating
    return below_N


def k_core(
    user_N: np.ndarray,
    item_N: np.ndarray,
    min_counts: tuple[int, int],
    keep_N: np.ndarray,
    on_round: Callable[[int], None] = lambda _: None,
) -> int:
    """Drop rows until every remaining user has ``min_counts[0]`` rows and every remaining item ``min_counts[1]``.

    ``keep_N``: bool (N,), the rows to start from; changed in place. The result is the largest such set of rows, which
    does not depend on any order, and may be empty. Memory: 8 bytes per user and item, none per row. Returns the number
    of rounds. Source: Seidman 1983, on the bipartite graph of users and items.
    """
    count_U, count_I = code_counts(user_N, keep_N), code_counts(item_N, keep_N)
    rounds = 0
    while True:
        weak_U = (count_U > 0) & (count_U < min_counts[0])
        weak_I = (count_I > 0) & (count_I < min_counts[1])
        if not (weak_U.any() or weak_I.any()):
            return rounds
        rounds += 1
        on_round(rounds)
        for span in row_spans(len(user_N)):
            user_S, item_S, keep_S = user_N[span], item_N[span], keep_N[span]
            drop_S = keep_S & (weak_U[user_S] | weak_I[item_S])
            np.subtract.at(count_U, user_S[drop_S], 1)
            np.subtract.at(count_I, item_S[drop_S], 1)
            keep_S &= ~drop_S
