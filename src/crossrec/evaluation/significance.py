"""Paired tests and bootstrap intervals over users, and Holm's correction for many comparisons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from crossrec.errors import ConfigError, DataError
from crossrec.evaluation.metrics import Floats, PerUser

MAX_COUNTS = 1 << 21
"""Bootstrap counts held in memory at a time: 16 MB."""
DECIMALS = 10
"""A difference that rounds to 0 at this precision is 0: the rest comes from the order of floating-point additions."""


@dataclass(frozen=True)
class PairedTest:
    """Difference of two models in one metric over the same users.

    ``users``: number of compared users. ``difference`` = ``new`` - ``base``, means over these users. ``low``, ``high``:
    bootstrap interval of the difference. ``p_t``: two-sided p of the paired t-test. See ``paired_tests``.
    """

    users: int
    new: float
    base: float
    difference: float
    low: float
    high: float
    p_t: float


def over_seeds(runs: Sequence[Mapping[str, npt.ArrayLike]]) -> PerUser:
    """Average every user's value over runs (seeds of one model), metric by metric: float64 (E,).

    A test samples users, so each user enters it once. One user's values under three seeds are correlated; counted as
    three users they would make p far too small. Metrics that a run lacks are left out. A user with NaN in one run has
    NaN. Raises DataError if there is no run, or if numbers of users differ.
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

    ``new``, ``base``: ``per_user`` of each seed's run, for the same users in the same order. Values are averaged over
    seeds first (``over_seeds``); the two models may have different numbers of seeds. With d_e the difference of user e
    and n users:

    - t-test: t = mean(d) / (sd(d) / √n), sd with n - 1, against Student's t with n - 1 degrees of freedom. p is 1 if
      nothing differs or if there is one user. Over many users it agrees with a permutation test of the mean, and its p
      has no lower limit (Smucker, Allan and Carterette 2007; Urbano, Lima and Hanjalic 2019).
    - interval: percentiles of mean(d) over ``draws`` samples of n users with replacement (Efron 1979). All metrics see
      the same samples; an equal generator gives equal numbers.

    Users with NaN in any of ``metrics`` (default: all that both models have) are left out: those without a held-out
    item in a group of items, for example. The test is about the mean of these seeds. The spread over seeds is not part
    of it; report it beside the test.

    Raises DataError if numbers of users differ or no user is left, ConfigError for a metric that a model lacks, for
    draws < 1, or for a confidence outside (0, 1).
    """
    if draws < 1 or not 0 < confidence < 1:
        raise ConfigError(f"draws = {draws}, confidence = {confidence}: need draws >= 1 and 0 < confidence < 1")
    new_values, base_values = over_seeds(new), over_seeds(base)
    common = [name for name in new_values if name in base_values]
    names = common if metrics is None else list(metrics)
    if not names or not set(names) <= set(common):
        raise ConfigError(f"metrics {', '.join(names) or '(none)'}: both models have {', '.join(common) or 'none'}")
    new_EM, base_EM = (_stacked([values[name] for name in names]).T for values in (new_values, base_values))
    if len(new_EM) != len(base_EM):
        raise DataError(f"{len(new_EM)} users of one model, {len(base_EM)} of the other: give the same users of both")
    has_value_E = ~np.isnan(new_EM - base_EM).any(axis=1)
    new_EM, base_EM = new_EM[has_value_E], base_EM[has_value_E]
    if not len(new_EM):
        raise DataError("nothing to test: no user has a value under both models")
    diff_EM = new_EM - base_EM
    diff_EM[np.round(diff_EM, DECIMALS) == 0] = 0.0
    columns = zip(
        new_EM.mean(axis=0),
        base_EM.mean(axis=0),
        diff_EM.mean(axis=0),
        *_bootstrap_interval(diff_EM, generator, draws, confidence),
        _p_of_t_test(diff_EM),
        strict=True,
    )
    return {name: PairedTest(len(diff_EM), *map(float, values)) for name, values in zip(names, columns, strict=True)}


def holm(p_values: npt.ArrayLike) -> Floats:
    """Correct the p values of m comparisons for their number, in the same order. Reject where the result is ≤ α.

    With p_(1) ≤ … ≤ p_(m): max_{j ≤ i} min(1, (m - j + 1) p_(j)). The probability of one or more false rejections is
    ≤ α, whatever the dependence between the tests (Holm 1979). Raises DataError unless ``p_values`` is one row of
    numbers in [0, 1].
    """
    p_M = np.asarray(p_values, dtype=np.float64)
    if p_M.ndim != 1 or not ((p_M >= 0) & (p_M <= 1)).all():
        raise DataError("p values to adjust: need one row of numbers between 0 and 1")
    order = np.argsort(p_M, kind="stable")
    adjusted_M = np.empty_like(p_M)
    adjusted_M[order] = np.minimum(np.maximum.accumulate(np.arange(len(p_M), 0, -1) * p_M[order]), 1.0)
    return adjusted_M


def _stacked(rows: Sequence[npt.ArrayLike]) -> Floats:
    arrays = [np.asarray(row, dtype=np.float64) for row in rows]
    if len({array.shape for array in arrays}) > 1 or arrays[0].ndim != 1:
        shapes = ", ".join(str(array.shape) for array in arrays)
        raise DataError(f"values of shapes {shapes}: need one number for each of the same users")
    return np.stack(arrays)


def _p_of_t_test(diff_EM: Floats) -> Floats:
    """Two-sided p of the paired t-test, (M,). Unlike scipy's ``ttest_rel`` it takes equal differences and one user."""
    from scipy.special import stdtr

    users = len(diff_EM)
    if users < 2:
        return np.ones(diff_EM.shape[1])
    mean_M, error_M = diff_EM.mean(axis=0), diff_EM.std(axis=0, ddof=1) / np.sqrt(users)
    with np.errstate(divide="ignore", invalid="ignore"):
        t_M = np.where(mean_M == 0, 0.0, np.abs(mean_M) / error_M)
    return np.asarray(2 * stdtr(users - 1, -t_M), dtype=np.float64)


def _bootstrap_interval(diff_EM: Floats, generator: np.random.Generator, draws: int, confidence: float) -> Floats:
    """Ends of the percentile interval of the mean, (2, M).

    The number of users with a difference in a sample is binomial; only these users are drawn one by one.
    """
    users, diff_EM = len(diff_EM), diff_EM[diff_EM.any(axis=1)]
    differ = len(diff_EM)
    mean_RM = np.zeros((draws, diff_EM.shape[1]))
    size = max(1, MAX_COUNTS // max(differ, 1))
    for start in range(0, draws if differ else 0, size):
        count_C = generator.binomial(users, differ / users, size=min(size, draws - start))
        user_N = generator.integers(differ, size=int(count_C.sum()))
        cell_N = np.repeat(np.arange(len(count_C)) * differ, count_C) + user_N
        times_CE = np.bincount(cell_N, minlength=len(count_C) * differ).reshape(-1, differ)
        mean_RM[start : start + size] = times_CE @ diff_EM / users
    tail = (1 - confidence) / 2
    return np.asarray(np.quantile(mean_RM, [tail, 1 - tail], axis=0), dtype=np.float64)
