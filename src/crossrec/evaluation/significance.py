"""Do two models differ over users, or is it chance: paired tests, bootstrap intervals, many comparisons at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from crossrec.errors import ConfigError, DataError
from crossrec.evaluation.metrics import PerUser

Floats = npt.NDArray[np.float64]

NUMBERS = 1 << 21
"""Signs or counts that are held at a time: 16 MB."""
DECIMALS = 10
"""A difference that is 0 to as many is none, and those equal to as many tie: the rest is from the order of adding."""
ROUNDING = 1e-12
"""Sums of differences that are as near as this, relative to the sum of their sizes, count as equal."""


@dataclass(frozen=True)
class PairedTest:
    """How far a new model is from a base, in one metric, over the same users.

    ``users``: how many were compared. ``difference`` = ``new`` - ``base``, means over these users. ``low``, ``high``:
    bootstrap interval of the difference. ``p_t``, ``p_wilcoxon``, ``p_permutation``: two-sided; see ``paired_tests``.
    """

    users: int
    new: float
    base: float
    difference: float
    low: float
    high: float
    p_t: float
    p_wilcoxon: float
    p_permutation: float


def over_seeds(runs: Sequence[Mapping[str, npt.ArrayLike]]) -> PerUser:
    """The mean over runs (seeds of one model) of every user's value, metric by metric: float64 (E,).

    Users are what is sampled, so a user enters a test once. The same user's values under three seeds rise and fall
    together; taken as three users, they would make p far too small. Metrics that some run lacks are left out. A user
    with NaN in one run has NaN. Raises DataError where there is no run, or numbers of users differ.
    """
    if not runs:
        raise DataError("no run to average over: give at least one")
    return {
        name: _stacked([run[name] for run in runs]).mean(axis=0)
        for name in runs[0]
        if all(name in run for run in runs[1:])
    }


def paired_tests(
    new: Sequence[Mapping[str, npt.ArrayLike]],
    base: Sequence[Mapping[str, npt.ArrayLike]],
    generator: np.random.Generator,
    *,
    metrics: Sequence[str] | None = None,
    draws: int = 10_000,
    confidence: float = 0.95,
) -> dict[str, PairedTest]:
    """Compare two models user by user, metric by metric.

    ``new``, ``base``: ``per_user`` of each seed's run, all with the same users in the same order; seeds are averaged
    first (``over_seeds``) and need not be equally many. With d_e the difference of user e, n users:

    - t: t = mean(d) / (sd(d) / √n), sd with n - 1, against Student's t of n - 1 degrees of freedom.
    - Wilcoxon's signed ranks (1945), users without a difference left out. It asks whether the other d lie evenly
      around 0, not about the mean that tables show.
    - permutation: the sign of every d_e is flipped or not, at random, ``draws`` times; p = (1 + how often |Σ ±d_e| is
      at least |Σ d_e|) / (1 + draws), never 0 (Phipson and Smyth 2010). It assumes only that a user's two values could
      be exchanged. The smallest p it can give is 1 / (1 + draws): too coarse to correct over hundreds of tests.
    - interval: percentiles of the mean of d over ``draws`` samples of n users with replacement (Efron 1979).

    Where nothing differs, or there is one user, every p is 1. All metrics see the same flips and samples, and an equal
    generator gives equal numbers. Users with NaN in any of ``metrics`` (default: all that both models have) are left
    out: those without a held-out item in a group of items, say.

    Which to report: t or permutation. They agree on means over many users, and t has no floor (Smucker, Allan and
    Carterette 2007; Urbano, Lima and Hanjalic 2019). What is tested is the mean of these seeds: the spread over seeds
    is no part of it and belongs beside it.

    Raises DataError where users differ in number or none is left, ConfigError for a metric that either lacks, for
    draws < 1, or a confidence outside (0, 1).
    """
    if draws < 1 or not 0 < confidence < 1:
        raise ConfigError(f"draws = {draws}, confidence = {confidence}: need draws >= 1 and 0 < confidence < 1")
    ours, theirs = over_seeds(new), over_seeds(base)
    both = [name for name in ours if name in theirs]
    names = both if metrics is None else list(metrics)
    if not names or not set(names) <= set(both):
        raise ConfigError(f"metrics {', '.join(names) or '(none)'}: both models have {', '.join(both) or 'none'}")
    new_EM, base_EM = (_stacked([values[name] for name in names]).T for values in (ours, theirs))
    if len(new_EM) != len(base_EM):
        raise DataError(f"{len(new_EM)} users of one model, {len(base_EM)} of the other: give the same users of both")
    known_E = ~np.isnan(new_EM - base_EM).any(axis=1)
    new_EM, base_EM = new_EM[known_E], base_EM[known_E]
    if not len(new_EM):
        raise DataError("nothing to test: no user has a value under both models")
    diff_EM = new_EM - base_EM
    diff_EM[np.round(diff_EM, DECIMALS) == 0] = 0.0
    columns = zip(
        new_EM.mean(axis=0),
        base_EM.mean(axis=0),
        diff_EM.mean(axis=0),
        *_bootstrap(diff_EM, generator, draws, confidence),
        _t_test(diff_EM),
        _wilcoxon(diff_EM),
        _permutation(diff_EM, generator, draws),
        strict=True,
    )
    return {name: PairedTest(len(diff_EM), *map(float, values)) for name, values in zip(names, columns, strict=True)}


def adjust(p_values: npt.ArrayLike, method: Literal["holm", "bh"] = "holm") -> Floats:
    """p values of a family of m comparisons, corrected for their number, in the same order: reject where ≤ α.

    With p_(1) ≤ … ≤ p_(m):

    - ``holm``: max_{j ≤ i} min(1, (m - j + 1) p_(j)). The chance of one false rejection or more is ≤ α, however the
      tests depend on each other (Holm 1979). For claims that each stand alone.
    - ``bh``: min_{j ≥ i} min(1, m p_(j) / j). The expected share of false ones among the rejections is ≤ α, for
      independent or positively dependent tests (Benjamini and Hochberg 1995). For a look over many.

    Raises DataError unless it is one row of numbers in [0, 1]; ConfigError for an unknown method.
    """
    p_M = np.asarray(p_values, dtype=np.float64)
    if p_M.ndim != 1 or not ((p_M >= 0) & (p_M <= 1)).all():
        raise DataError("p values to adjust: need one row of numbers between 0 and 1")
    order, count = np.argsort(p_M, kind="stable"), len(p_M)
    rank_M = np.arange(1, count + 1)
    if method == "holm":
        sorted_M = np.maximum.accumulate((count - rank_M + 1) * p_M[order])
    elif method == "bh":
        sorted_M = np.minimum.accumulate((count * p_M[order] / rank_M)[::-1])[::-1]
    else:
        raise ConfigError(f"unknown correction '{method}': give holm or bh")
    adjusted_M = np.empty_like(p_M)
    adjusted_M[order] = np.minimum(sorted_M, 1.0)
    return adjusted_M


def _stacked(rows: Sequence[npt.ArrayLike]) -> Floats:
    arrays = [np.asarray(row, dtype=np.float64) for row in rows]
    if len({array.shape for array in arrays}) > 1 or arrays[0].ndim != 1:
        shapes = ", ".join(str(array.shape) for array in arrays)
        raise DataError(f"values of shapes {shapes}: need one number for each of the same users")
    return np.stack(arrays)


def _t_test(diff_EM: Floats) -> Floats:
    from scipy.special import stdtr

    users = len(diff_EM)
    if users < 2:
        return np.ones(diff_EM.shape[1])
    mean_M, error_M = diff_EM.mean(axis=0), diff_EM.std(axis=0, ddof=1) / np.sqrt(users)
    with np.errstate(divide="ignore", invalid="ignore"):
        t_M = np.where(mean_M == 0, 0.0, np.abs(mean_M) / error_M)
    return np.asarray(2 * stdtr(users - 1, -t_M), dtype=np.float64)


def _wilcoxon(diff_EM: Floats) -> list[float]:
    from scipy.stats import wilcoxon

    return [float(wilcoxon(d_E).pvalue) if d_E.any() else 1.0 for d_E in np.round(diff_EM, DECIMALS).T]


def _permutation(diff_EM: Floats, generator: np.random.Generator, draws: int) -> Floats:
    """Users without a difference in any metric change no sum and are left out. Σ ±d = 2 Σ_{kept sign} d - Σ d."""
    diff_EM = diff_EM[diff_EM.any(axis=1)]
    users, total_M = len(diff_EM), diff_EM.sum(axis=0)
    least_M = np.abs(total_M) - ROUNDING * np.abs(diff_EM).sum(axis=0)
    reached_M = np.zeros(diff_EM.shape[1], dtype=np.int64)
    for size in _chunks(draws, users):
        byte_CX = generator.integers(0, 256, size=(size, -(-users // 8)), dtype=np.uint8)
        kept_CE = np.unpackbits(byte_CX, axis=1, count=users).astype(np.float64)
        reached_M += (np.abs(2 * (kept_CE @ diff_EM) - total_M) >= least_M).sum(axis=0)
    return np.asarray((1.0 + reached_M) / (1.0 + draws))


def _bootstrap(diff_EM: Floats, generator: np.random.Generator, draws: int, confidence: float) -> Floats:
    """Ends of the interval, (2, M). Of a sample only the users with a difference are drawn one by one."""
    users, diff_EM = len(diff_EM), diff_EM[diff_EM.any(axis=1)]
    differ = len(diff_EM)
    mean_RM = np.zeros((draws, diff_EM.shape[1]))
    at = 0
    for size in _chunks(draws if differ else 0, differ):
        drawn_C = generator.binomial(users, differ / users, size=size)
        user_N = generator.integers(differ, size=int(drawn_C.sum()))
        place_N = np.repeat(np.arange(size) * differ, drawn_C) + user_N
        times_CE = np.bincount(place_N, minlength=size * differ).reshape(size, differ)
        mean_RM[at : at + size] = times_CE @ diff_EM / users
        at += size
    tail = (1 - confidence) / 2
    return np.asarray(np.quantile(mean_RM, [tail, 1 - tail], axis=0), dtype=np.float64)


def _chunks(draws: int, width: int) -> Iterator[int]:
    """Sizes that add up to ``draws``, so small that size × width is about NUMBERS."""
    size = max(1, NUMBERS // max(width, 1))
    for at in range(0, draws, size):
        yield min(size, draws - at)
