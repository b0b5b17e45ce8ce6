"""Decide which rows of a log stay (time window, no busy users, one of each pair, k-core); weights fall with age."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from crossrec.data.importers.config import ImportConfig
from crossrec.data.io.codes import code_counts, row_spans
from crossrec.data.io.parse_log import InteractionLog
from crossrec.data.io.time_bounds import SECONDS_A_DAY, encode_bound, ticks_per_second
from crossrec.data.io.times import TimeEncoder
from crossrec.data.splits import by_user
from crossrec.errors import ConfigError, setting

ROUNDING = 1e-12
"""Share of the sizes of a pair's weights below which their sum is nothing but rounding: 0.1 + 0.2 - 0.3."""


class TimeWindow:
    """The times that ``config`` keeps: since ≤ time < until. ``rule``: the settings as text, empty without a window."""

    def __init__(self, config: ImportConfig, times: TimeEncoder) -> None:
        self.times = times
        self.settings = [("since", config.since), ("until", config.until)]
        self.rule = ", ".join(f"{name} {text}" for name, text in self.settings if text is not None)
        self.bounds: list[float] | None = None
        self.range = (np.inf, -np.inf)

    def mask(self, time_N: np.ndarray | None) -> np.ndarray | None:
        """Which rows lie inside, bool (N,); None for all. Raises ConfigError if the bounds do not suit the times."""
        if not self.rule or time_N is None or not len(time_N):
            return None
        first, last = time_N.min(), time_N.max()
        self.range = (min(self.range[0], first), max(self.range[1], last))
        if self.bounds is None:
            self.bounds = [
                default if text is None else encode_bound(self.times, text, setting(name), float(last))
                for (name, text), default in zip(self.settings, (-np.inf, np.inf), strict=True)
            ]
            if self.bounds[0] >= self.bounds[1]:
                raise ConfigError(f"{self.rule}: {setting('since')} is not before {setting('until')}; exchange them")
        return np.asarray((time_N >= self.bounds[0]) & (time_N < self.bounds[1]))

    def range_text(self) -> str:
        """The earliest and latest time read, as text."""
        return self.times.range_text(*self.range)


def decay(log: InteractionLog, half_life: float) -> np.ndarray:
    """2^(-age / half_life) of every row, float64 (N,); its age in days is counted back from the latest row.

    Raises ConfigError if the times are in no unit.
    """
    return np.asarray(np.exp2(-ages(log, setting("half_life", f"{half_life:g}")) / half_life))


def ages(log: InteractionLog, setting: str) -> np.ndarray:
    """Days between every row and the latest one, float64 (N,).

    Raises ConfigError, naming the setting that needs them, if the times are in no unit.
    """
    assert log.time_N is not None
    latest = log.time_N.max()
    ticks = ticks_per_second(log.times, float(latest))
    if ticks is None:
        example = log.times.decode(np.array([latest]))[0]
        raise ConfigError(
            f"{setting}: the times are in no known unit, such as {example}; give dates or seconds since "
            "1970, or say the form with --time-format"
        )
    return np.asarray((latest - log.time_N) / (ticks * SECONDS_A_DAY))


def busy_rows(log: InteractionLog, busy_U: np.ndarray, keep_latest: int) -> np.ndarray:
    """Rows of the users ``busy_U``, bool (U,), but the latest ``keep_latest`` of each; bool (N,).

    The latest by time, then by the order of the rows.
    """
    busy_N: np.ndarray = busy_U[log.user_N]
    if keep_latest:
        row_B = np.flatnonzero(busy_N)
        order = () if log.time_N is None else (log.time_N[row_B],)
        row_B = row_B[np.lexsort((*order, log.user_N[row_B]))]
        _, count_U = np.unique(log.user_N[row_B], return_counts=True)
        later_B = np.repeat(np.cumsum(count_U), count_U) - 1 - np.arange(len(row_B))
        busy_N[row_B[later_B < keep_latest]] = False
    return busy_N


def merge_repeated(log: InteractionLog, how: str) -> np.ndarray:
    """Which row of each (user, item) pair to keep, bool (N,), one a pair.

    ``first`` and ``last`` refer to time, then to the order of the rows; to the order of the rows alone without times.
    ``highest``: the last of those with the highest weight, or rating if there are no weights. ``sum``: the last one
    with a weight above zero, if there is one; it gets the sum of the pair's weights, in ``log.weight_N``; 0 where
    the sum is below zero, or nothing but rounding.
    """
    drop_N = np.zeros(len(log), dtype=bool)
    rank_N = None
    if how == "highest":
        rank_N = log.rating_N if log.weight_N is None else log.weight_N
    elif how == "sum":
        assert log.weight_N is not None
        rank_N = log.weight_N > 0
    keys = [key_N for key_N in (log.time_N, rank_N) if key_N is not None]
    for rows in by_user(log.user_N):
        row_B = rows[np.lexsort((log.item_N[rows], log.user_N[rows]))]
        same_as_next_B = _same_pair_as_next(log, row_B)
        if not same_as_next_B.any():
            continue
        row_B = row_B[same_as_next_B | np.roll(same_as_next_B, 1)]
        row_B = row_B[np.lexsort((*(key_N[row_B] for key_N in keys), log.item_N[row_B], log.user_N[row_B]))]
        same_as_next_B = _same_pair_as_next(log, row_B)
        drop_N[row_B[np.roll(same_as_next_B, 1) if how == "first" else same_as_next_B]] = True
        if how == "sum":
            assert log.weight_N is not None
            first_B = np.flatnonzero(~np.roll(same_as_next_B, 1))
            sums_B, sizes_B = (
                np.add.reduceat(part, first_B) for part in (log.weight_N[row_B], abs(log.weight_N[row_B]))
            )
            log.weight_N[row_B[~same_as_next_B]] = np.where(sums_B > ROUNDING * sizes_B, sums_B, 0)
    return ~drop_N


def _same_pair_as_next(log: InteractionLog, row_B: np.ndarray) -> np.ndarray:
    """Whether a row has the same pair as the next row, bool (B,); false for the last row."""
    user_B, item_B = log.user_N[row_B], log.item_N[row_B]
    return np.append((user_B[1:] == user_B[:-1]) & (item_B[1:] == item_B[:-1]), False)


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
