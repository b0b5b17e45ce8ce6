"""One metric of several runs, a value per seed: means, changes and comparisons."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import TypeVar

from crossrec.errors import RunError
from crossrec.experiments.reporting.tables import CellValue
from crossrec.experiments.runner.jobs import Result

T = TypeVar("T")
SeedValues = tuple[float, ...] | float | str
"""A metric of the runs of one method: a number per seed, the number of the only seed, or why there is none."""


def seed_values(values: Sequence[float]) -> SeedValues:
    """``values``, one per seed, as a tuple; the number itself of a single seed."""
    return tuple(values) if len(values) > 1 else values[0]


def metric_values(results: Sequence[Result], split: str, metric: str) -> SeedValues:
    """Read a metric of runs, one per seed: their values, or the first failure.

    "none" where it is missing: a data set without test pairs has no test metrics.
    """
    if failure := first_failure(results):
        return failure
    values = [result.metrics[split].get(metric) for result in results if result.metrics is not None]
    if any(value is None for value in values):
        return "none"
    return seed_values([float(value) for value in values])


def first_failure(results: Sequence[Result]) -> str:
    """The failure of the first run that failed; "" where none did."""
    return next((result.failure for result in results if result.metrics is None), "")


def measure_runs(results: Sequence[Result], measure: Callable[[Result], T]) -> list[T] | str:
    """``measure`` of the runs of one method, one per seed; the reason where one failed or is damaged."""
    if failure := first_failure(results):
        return failure
    try:
        return [measure(result) for result in results]
    except RunError as error:
        return f"failed: {error}"


def each_seed(values: tuple[float, ...] | float) -> tuple[float, ...]:
    """The inverse of ``seed_values``."""
    return values if isinstance(values, tuple) else (values,)


def mean_over_seeds(values: SeedValues) -> float | None:
    """The mean; None where there is no value."""
    return None if isinstance(values, str) else fmean(each_seed(values))


def average_by_seed(values: Sequence[SeedValues]) -> SeedValues:
    """The average of several metrics, seed by seed; the first failure where there is one."""
    numbers = [each_seed(value) for value in values if not isinstance(value, str)]
    if not values or len(numbers) < len(values):
        return next((value for value in values if isinstance(value, str)), "none")
    return seed_values([fmean(of_seed) for of_seed in zip(*numbers, strict=True)])


def percent_change(new: SeedValues, old: SeedValues) -> float | str:
    """Change of the mean in %; NaN from a mean of 0, "–" where a value is missing."""
    new_mean, old_mean = mean_over_seeds(new), mean_over_seeds(old)
    if new_mean is None or old_mean is None:
        return "–"
    return 100 * (new_mean / old_mean - 1) if old_mean else math.nan


def finite(percent: float | str) -> float | None:
    """A percentage that is known and finite, else None."""
    return percent if isinstance(percent, float) and math.isfinite(percent) else None


def is_higher(new: SeedValues, old: SeedValues) -> bool | None:
    """Whether the mean is higher; None where a value is missing."""
    new_mean, old_mean = mean_over_seeds(new), mean_over_seeds(old)
    return None if new_mean is None or old_mean is None else new_mean > old_mean


def highest(values: Mapping[str, SeedValues]) -> str | None:
    """The name with the highest mean; None where a mean is missing."""
    means = {name: mean_over_seeds(value) for name, value in values.items()}
    present = {name: mean for name, mean in means.items() if mean is not None}
    return max(present, key=present.__getitem__) if present and len(present) == len(means) else None


def table_cell(values: CellValue) -> CellValue:
    """Values for a table, or why there are none."""
    return "no test pairs" if values == "none" else values


def percent_change_cell(new: SeedValues, old: SeedValues) -> float | str:
    """The change for a table; "from 0" where the old mean is 0, which has no percentage."""
    percent = percent_change(new, old)
    return "from 0" if isinstance(percent, float) and math.isnan(percent) else percent
