"""Which rows stay: one of each repeated pair, those rated well enough, and the k-core."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from crossrec.data.importers.read_parts import Log, counts, spans
from crossrec.data.splits import by_user


def repeated(log: Log, keep: str) -> np.ndarray:
    """Which rows repeat a (user, item) pair, bool (N,): all but the ``first`` or the ``last`` of each pair.

    First and last by time, of equal times by the order of the rows; by that alone where there are no times.
    """
    drop_N = np.zeros(len(log), dtype=bool)
    for rows in by_user(log.user_N):
        row_B = rows[np.lexsort((log.item_N[rows], log.user_N[rows]))]
        again_B = _like_next(log, row_B)
        if not again_B.any():
            continue
        row_B = row_B[again_B | np.roll(again_B, 1)]
        if log.time_N is not None:
            row_B = row_B[np.lexsort((log.time_N[row_B], log.item_N[row_B], log.user_N[row_B]))]
        again_B = _like_next(log, row_B)
        drop_N[row_B[np.roll(again_B, 1) if keep == "first" else again_B]] = True
    return drop_N


def _like_next(log: Log, row_B: np.ndarray) -> np.ndarray:
    """Whether a row's pair is that of the row after it, bool (B,); the last row has none after it."""
    user_B, item_B = log.user_N[row_B], log.item_N[row_B]
    return np.append((user_B[1:] == user_B[:-1]) & (item_B[1:] == item_B[:-1]), False)


def rated_below(log: Log, least: float) -> np.ndarray:
    """Which rows are rated below ``least``, bool (N,)."""
    assert log.rating_N is not None
    below: np.ndarray = log.rating_N < least
    return below


def k_core(
    user_N: np.ndarray,
    item_N: np.ndarray,
    least: tuple[int, int],
    keep_N: np.ndarray,
    on_round: Callable[[int], None] = lambda _: None,
) -> int:
    """Drop rows until every user has ``least[0]`` of those that are left and every item ``least[1]``, or none.

    ``keep_N``: bool (N,), the rows there are; changed in place. The largest such set of rows is found, which does not
    depend on the order of anything. Memory: 8 bytes a user and an item, and nothing a row. Returns the number of
    rounds. Source: Seidman 1983, on the graph of users and items.
    """
    count_U, count_I = counts(user_N, keep_N), counts(item_N, keep_N)
    rounds = 0
    while True:
        weak_U = (count_U > 0) & (count_U < least[0])
        weak_I = (count_I > 0) & (count_I < least[1])
        if not (weak_U.any() or weak_I.any()):
            return rounds
        rounds += 1
        on_round(rounds)
        for part in spans(len(user_N)):
            user_S, item_S, keep_S = user_N[part], item_N[part], keep_N[part]
            gone_S = keep_S & (weak_U[user_S] | weak_I[item_S])
            np.subtract.at(count_U, user_S[gone_S], 1)
            np.subtract.at(count_I, item_S[gone_S], 1)
            keep_S &= ~gone_S
