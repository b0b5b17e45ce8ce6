"""Search spaces: values for each setting, and the points of a space."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import TypeGuard

import numpy as np

from crossrec.randomness import numpy_generator

Scalar = str | int | float | bool | None
Point = dict[str, Scalar]
"""One value per name."""


def is_number(value: object) -> TypeGuard[int | float]:
    """Whether a value is a number; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


@dataclass(frozen=True)
class Choice:
    """Listed values."""

    values: tuple[Scalar, ...]

    def draw(self, generator: np.random.Generator) -> Scalar:
        """A value, each with the same probability."""
        return self.values[generator.integers(len(self.values))]

    def ends(self) -> tuple[Scalar, ...]:
        """The values to validate: all."""
        return self.values


@dataclass(frozen=True)
class Range:
    """Numbers from ``low`` to ``high``, both included. ``log``: uniform in the logarithm. ``whole``: integers only."""

    low: float
    high: float
    log: bool = False
    whole: bool = False

    def draw(self, generator: np.random.Generator) -> Scalar:
        """A value, uniform in the value or in its logarithm."""
        half = 0.5 if self.whole else 0.0  # gives the first and the last integer the probability of the others
        low, high = self.low - half, self.high + half
        drawn = math.exp(generator.uniform(math.log(low), math.log(high))) if self.log else generator.uniform(low, high)
        value = min(max(float(drawn), self.low), self.high)
        return round(value) if self.whole else value

    def ends(self) -> tuple[Scalar, ...]:
        """The values to validate: the bounds."""
        return (int(self.low), int(self.high)) if self.whole else (self.low, self.high)


@dataclass(frozen=True)
class Share:
    """A multiple of the setting ``of``. A factor with several values is a free parameter, named NAME/OF."""

    of: str
    times: Choice | Range = Choice((1,))


@dataclass(frozen=True)
class Space:
    """Settings to search, by name. A point holds a value per free parameter; ``settings`` converts it to settings."""

    values: Mapping[str, Choice | Range | Share]

    @property
    def free(self) -> dict[str, Choice | Range]:
        """Free parameters: settings with values of their own, and factors."""
        parameters: dict[str, Choice | Range] = {}
        for name, values in self.values.items():
            if not isinstance(values, Share):
                parameters[name] = values
            elif len(values.times.ends()) > 1:
                parameters[f"{name}/{values.of}"] = values.times
        return parameters

    @property
    def size(self) -> int | None:
        """Number of points; None if a parameter has a range."""
        if any(isinstance(values, Range) for values in self.free.values()):
            return None
        return math.prod(len(values.ends()) for values in self.free.values())

    def grid(self) -> Iterator[Point]:
        """All points of a space of lists; the last parameter changes first."""
        lists = {name: values.ends() for name, values in self.free.items()}
        return (dict(zip(lists, values, strict=True)) for values in product(*lists.values()))

    def random(self, seed: int) -> Iterator[Point]:
        """Distinct random points, until there are no more."""
        generator, free, size, seen = numpy_generator(seed, "tune"), self.free, self.size, set[tuple[Scalar, ...]]()
        while size is None or len(seen) < size:
            point = {name: values.draw(generator) for name, values in free.items()}
            if (key := tuple(point.values())) not in seen:
                seen.add(key)
                yield point

    def without(self, *names: str) -> Space:
        """This space without some settings. A setting that another one is a multiple of stays."""
        needed = {values.of for values in self.values.values() if isinstance(values, Share)}
        return Space({name: values for name, values in self.values.items() if name in needed or name not in names})

    def settings(self, point: Mapping[str, Scalar]) -> Point:
        """The settings at a point. A fraction from a range is rounded to four digits, for readability."""
        settings: Point = {}
        for name, values in self.values.items():
            if not isinstance(values, Share):
                settings[name] = _round(point[name], values)
        for name, values in self.values.items():
            if isinstance(values, Share):
                factor = point.get(f"{name}/{values.of}", values.times.ends()[0])
                other = settings[values.of]
                settings[name] = other if factor == 1 else _round(float(other or 0) * float(factor or 0), values.times)
        return settings


def _round(value: Scalar, values: Choice | Range) -> Scalar:
    """Round a float: to 4 digits if it is from a range, else to 12, so that a tenth of 0.003 is 0.0003."""
    return float(f"{value:.{12 if isinstance(values, Choice) else 4}g}") if isinstance(value, float) else value
