"""The units in which numbers stand for times, and what is doubtful about the times of a log."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from itertools import pairwise

import numpy as np

from crossrec.errors import DataError
from crossrec.lazy import polars as pl

DIGITS = "digits of a date"
DIGIT_FORMATS = {8: "%Y%m%d", 10: "%Y%m%d%H", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}
"""Number of digits → form of a date that is written as a number."""
UNITS = {
    "days since 1970": (5e3, 8e4),
    DIGITS: (19_000_101, 21_001_231),
    "seconds": (1e8, 4.2e9),
    "milliseconds": (1e11, 4.2e12),
    "microseconds": (1e14, 4.2e15),
    "nanoseconds": (1e17, 4.2e18),
}
"""Unit → the numbers that times between 1973 and 2100 are in it (days: 1983 to 2189)."""
OUR_DAYS = (datetime(1973, 1, 1), datetime(2103, 1, 1))
RARE = 0.1
"""Share of times out of our days below which they seem to be mistakes."""
MAX_TIME = 4.2e18
"""Nanoseconds of 2103, the largest number that may be a time."""
PER_SECOND = {"seconds": 1, "milliseconds": 10**3, "microseconds": 10**6, "nanoseconds": 10**9}


def digit_format(number: float) -> str | None:
    """The form of a date between 1980 and 2100 that ``number`` shows by its digits, such as 20240531; None if none."""
    digits = f"{number:.0f}"
    form = DIGIT_FORMATS.get(len(digits))
    try:
        return form if form and 1980 <= datetime.strptime(digits, form).year <= 2100 else None
    except ValueError:
        return None


def unit_of(number: float) -> str | None:
    """The unit in which ``number`` is a time of our days, None if in none."""
    if digit_format(number):
        return DIGITS
    return next((unit for unit, (low, high) in UNITS.items() if low <= number <= high), None)


@dataclass
class TimesSeen:
    """Which units the times of a log are in, block by block, and how many are blank or far from our days."""

    _is_between_units: np.ndarray = field(default_factory=lambda: np.zeros(len(UNITS) + 1, dtype=bool), repr=False)
    _is_numeric: bool = False
    _num_blank: int = 0
    _num_times: int = 0
    _num_far: int = 0
    _far: str = ""
    _examples: dict[str, tuple[int | float, Callable[[], str]]] = field(default_factory=dict, repr=False)

    def add(self, times: pl.Series, location: Callable[[int], str]) -> None:
        """Take the times of a block in: numbers, or moments without a time zone. ``location(row)``: where a row is."""
        if not times.dtype.is_numeric():
            moments = times.dt.replace_time_zone(None)
            self._note_far(moments, ~moments.is_between(*OUR_DAYS).fill_null(True), location)
            return
        self._is_numeric = True
        values = times.cast(pl.Float64).to_numpy()
        is_blank = np.isin(values, (0, -1))
        self._num_blank += int(is_blank.sum())
        is_ours = [(low <= values) & (values <= high) for low, high in map(UNITS.__getitem__, PER_SECOND)]
        self._note_far(times, pl.Series(~(np.logical_or.reduce(is_ours) | is_blank | np.isnan(values))), location)
        edges = np.array([*UNITS.values()]).ravel()
        bin_N = np.searchsorted(edges, np.nan_to_num(values, nan=0.0), side="right")
        for index in np.unique(bin_N):  # odd: within a unit; even: between two
            if index % 2 == 0:
                self._is_between_units[index // 2] = True
            elif (unit := list(UNITS)[index // 2]) not in self._examples:
                row = int(np.argmax(bin_N == index))
                self._examples[unit] = times[row], partial(location, row)

    def _note_far(self, times: pl.Series, is_far: pl.Series, location: Callable[[int], str]) -> None:
        """Count the times that are not of our days, and keep the first."""
        count = int(is_far.sum())
        if count and not self._num_far:
            row = int(is_far.arg_max() or 0)
            self._far = f"{times[row]} ({location(row)})"
        self._num_far += count
        self._num_times += len(times)

    def check(self) -> None:
        """Raise DataError if the numbers are times in two units: none lies between them."""
        units = [unit for unit in UNITS if unit in self._examples]
        for unit, larger in pairwise(units):
            first, second = (list(UNITS).index(name) for name in (unit, larger))
            if not self._is_between_units[first + 1 : second + 1].any():
                (low, where_low), (high, where_high) = self._examples[unit], self._examples[larger]
                raise DataError(
                    f"{where_high()}: time {high} seems to be in {larger}, but {low} ({where_low()}) in {unit}; write "
                    "all times in one unit"
                )

    def doubt(self) -> str | None:
        """What is doubtful about the times: a few are 0 or -1, as programs write for a missing one, or far off."""
        units = PER_SECOND.keys() & self._examples.keys()
        if self._is_numeric and not units:
            return None
        if len(units) > 1:
            shown = " and ".join(f"{unit} ({self._examples[unit][0]:.0f})" for unit in UNITS if unit in units)
            return f"times that seem to be in {shown}; write all times in one unit"
        if self._num_blank:
            return f"times that are 0 or -1: {self._num_blank:,}, read as 1970; delete these rows if they have no time"
        if not 0 < self._num_far < RARE * self._num_times:
            return None
        return (
            f"times before 1973 or after 2102, far from the others: {self._num_far:,}, such as {self._far}; mend them, "
            "or delete these rows if they have no time"
        )
