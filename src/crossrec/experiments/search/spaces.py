"""What a search may try: lists, ranges and shares of settings, checked against the configuration that they are for."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from crossrec.alignment import ALIGNMENTS
from crossrec.backbones import BACKBONES
from crossrec.config import Config, did_you_mean
from crossrec.errors import ConfigError
from crossrec.experiments.experiment import read_object
from crossrec.experiments.search.built_in_spaces import BUILT_IN
from crossrec.randomness import numpy_generator

Scalar = str | int | float | bool | None
Point = dict[str, Scalar]
"""A value for each of some names."""


@dataclass(frozen=True)
class Choice:
    """Listed values."""

    values: tuple[Scalar, ...]

    def draw(self, generator: np.random.Generator) -> Scalar:
        return self.values[generator.integers(len(self.values))]

    def ends(self) -> tuple[Scalar, ...]:
        """The values to check."""
        return self.values


@dataclass(frozen=True)
class Range:
    """All numbers from ``low`` to ``high``, both included: whole ones or fractions, evenly or by their logarithm."""

    low: float
    high: float
    log: bool = False
    whole: bool = False

    def draw(self, generator: np.random.Generator) -> Scalar:
        half = 0.5 if self.whole else 0.0  # so that the first and the last whole number are as likely as the others
        low, high = self.low - half, self.high + half
        drawn = math.exp(generator.uniform(math.log(low), math.log(high))) if self.log else generator.uniform(low, high)
        value = min(max(float(drawn), self.low), self.high)
        return round(value) if self.whole else value

    def ends(self) -> tuple[Scalar, ...]:
        """The values to check."""
        return (int(self.low), int(self.high)) if self.whole else (self.low, self.high)


@dataclass(frozen=True)
class Share:
    """So many times the setting ``of``. The factor, where it has several values, is a free parameter NAME/OF."""

    of: str
    times: Choice | Range = Choice((1,))


@dataclass(frozen=True)
class Space:
    """Settings to search, by name. A point has a value for each free parameter; ``settings`` makes settings of it."""

    values: Mapping[str, Choice | Range | Share] = field(default_factory=dict)

    @property
    def free(self) -> dict[str, Choice | Range]:
        """The free parameters: settings with values of their own, and factors."""
        found: dict[str, Choice | Range] = {}
        for name, values in self.values.items():
            if not isinstance(values, Share):
                found[name] = values
            elif len(values.times.ends()) > 1:
                found[f"{name}/{values.of}"] = values.times
        return found

    @property
    def size(self) -> int | None:
        """How many points there are; None where one parameter has a range."""
        free = self.free.values()
        lists = [values for values in free if isinstance(values, Choice)]
        return None if len(lists) < len(free) else math.prod(len(choice.values) for choice in lists)

    def grid(self) -> Iterator[Point]:
        """All points of a space of lists, the last parameter changing first."""
        lists = {name: values.ends() for name, values in self.free.items()}
        return (dict(zip(lists, values, strict=True)) for values in product(*lists.values()))

    def random(self, seed: int) -> Iterator[Point]:
        """Points drawn with ``seed``, none twice, until there are no more."""
        generator, free, size, seen = numpy_generator(seed, "tune"), self.free, self.size, set[tuple[Scalar, ...]]()
        while size is None or len(seen) < size:
            point = {name: values.draw(generator) for name, values in free.items()}
            if (key := tuple(point.values())) not in seen:
                seen.add(key)
                yield point

    def without(self, *names: str) -> Space:
        """This space less some settings; one that another hangs on stays."""
        needed = {values.of for values in self.values.values() if isinstance(values, Share)}
        return Space({name: values for name, values in self.values.items() if name in needed or name not in names})

    def settings(self, point: Mapping[str, Scalar]) -> Point:
        """The settings at a point. What comes from a range of fractions has four digits, so that it can be read."""
        made: Point = {}
        for name, values in self.values.items():
            if not isinstance(values, Share):
                made[name] = _digits(point[name], values)
        for name, values in self.values.items():
            if isinstance(values, Share):
                factor = point.get(f"{name}/{values.of}", values.times.ends()[0])
                whole = made[values.of]
                made[name] = whole if factor == 1 else _digits(float(whole or 0) * float(factor or 0), values.times)
        return made


def _digits(value: Scalar, values: Choice | Range) -> Scalar:
    """The value, less the digits that arithmetic has added: a tenth of 0.003 is 0.0003."""
    return float(f"{value:.{12 if isinstance(values, Choice) else 4}g}") if isinstance(value, float) else value


def read_space(given: str) -> dict[str, Any]:
    """The space of a name or a JSON file, in plain values.

    Raises ConfigError where it is neither, or names a backbone, part or alignment that there is not.
    """
    if given in BUILT_IN:
        return dict(BUILT_IN[given]())
    hint = f", nor a built-in space{did_you_mean(given, list(BUILT_IN))}"
    values = read_object("--space", Path(given), "backbones, or of 'backbone' and 'alignment'", hint)
    parts = ["backbone", "alignment", *(name for name, kind in ALIGNMENTS.items() if kind)]
    for name, content in values.items():
        if name not in parts and name not in BACKBONES:
            raise ConfigError(f"--space {given}: unknown '{name}'{did_you_mean(name, [*parts, *BACKBONES])}")
        if not isinstance(content, dict):
            raise ConfigError(f"--space {given}: '{name}' must hold an object")
        for part in content if name in BACKBONES else ():
            if part not in parts:
                raise ConfigError(f"--space {given}: '{name}' has '{part}'{did_you_mean(part, parts)}")
            if not isinstance(content[part], dict):
                raise ConfigError(f"--space {given}: '{part}' of '{name}' must hold an object")
    return values


def space_for(given: str, backbone: str, alignment: str) -> Space:
    """What ``--space`` has to try of a backbone's own settings (alignment "none"), or of an alignment's on it.

    What a file says of this backbone goes before what it says of all, and the name of an alignment before 'alignment'.
    A part that it does not have leaves nothing to try but the settings as they are. Raises ConfigError for an unknown
    setting, a value that it may not have, or values that are no list, range or share.
    """
    values = read_space(given)
    kind = BACKBONES[backbone].config_type if alignment == "none" else ALIGNMENTS[alignment]
    names = ["backbone"] if alignment == "none" else [alignment, "alignment"]
    levels = (values.get(backbone, {}), values)
    found: dict[str, Any] = next((level[name] for level in levels for name in names if name in level), {})
    assert kind is not None
    where = f"--space {given}: {backbone if alignment == 'none' else f'{alignment} on {backbone}'}"
    for name in found:
        if name not in kind.model_fields:
            raise ConfigError(f"{where}: unknown setting '{name}'{did_you_mean(name, list(kind.model_fields))}")
    space = Space({name: _values(kind, name, content, found, where) for name, content in found.items()})
    for name, tied in space.values.items():
        if isinstance(tied, Share):
            _check_share(kind, name, tied, space, where)
    return space


def _values(kind: type[Config], name: str, content: Any, all_: Mapping[str, Any], where: str) -> Choice | Range | Share:
    where = f"{where}: '{name}'"
    if not isinstance(content, dict):
        choice = _list(content, where)
        for value in choice.values:
            _parse(kind, name, value, where)
        return choice
    if "of" in content:
        _only(content, ("of", "times"), where)
        other = content["of"]
        if other not in all_ or other == name or (isinstance(all_[other], dict) and "of" in all_[other]):
            free = [n for n, c in all_.items() if n != name and not (isinstance(c, dict) and "of" in c)]
            raise ConfigError(
                f"{where}: 'of' must name a setting here with values of its own{did_you_mean(str(other), free)}"
            )
        times = content.get("times", 1)
        return Share(other, _range(times, f"{where}: 'times'") if isinstance(times, dict) else _list(times, where))
    ranged = _range(content, where)
    for value in ranged.ends():
        _parse(kind, name, value, where)
    between = ranged.low + (ranged.high - ranged.low) * (math.sqrt(2) - 1)
    try:
        kind.parse({name: between})
    except ConfigError:  # within the bounds, so it is for being a fraction
        return Range(ranged.low, ranged.high, ranged.log, whole=True)
    return ranged


def _list(content: Any, where: str) -> Choice:
    values = content if isinstance(content, list) else [content]
    if not values:
        raise ConfigError(f"{where}: an empty list; give values, or leave the setting out")
    for value in values:
        if not isinstance(value, Scalar):
            raise ConfigError(f"{where}: {json.dumps(value)} is not one value; give a list of numbers or names")
    return Choice(tuple(dict.fromkeys(values)))


def _range(content: dict[str, Any], where: str) -> Range:
    _only(content, ("low", "high", "log"), where)
    low, high = (_number(content.get(end), end, where) for end in ("low", "high"))
    log = content.get("log", False)
    if not low < high:
        raise ConfigError(f"{where}: 'low' {low} must be less than 'high' {high}")
    if not isinstance(log, bool):
        raise ConfigError(f"{where}: 'log' must be true or false")
    if log and low <= 0:
        raise ConfigError(f"{where}: 'low' {low} has no logarithm; give one above 0, or leave 'log' out")
    return Range(low, high, log)


def _number(value: Any, what: str, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ConfigError(f"{where}: '{what}' is {json.dumps(value)} and must be a number")
    return value


def _only(content: dict[str, Any], known: tuple[str, ...], where: str) -> None:
    for key in content:
        if key not in known:
            raise ConfigError(f"{where}: unknown '{key}'{did_you_mean(key, list(known))}")


def _check_share(kind: type[Config], name: str, share: Share, space: Space, where: str) -> None:
    """A share of every end must be a value that the setting may have."""
    other = space.values[share.of]
    assert not isinstance(other, Share)
    some = {free: values.ends()[0] for free, values in space.free.items()}
    for value, factor in product(other.ends(), share.times.ends()):
        _number(value, share.of, f"{where}: '{name}' is a share of '{share.of}'")
        _number(factor, "times", f"{where}: '{name}'")
        point = some | {share.of: value, f"{name}/{share.of}": factor}
        _parse(kind, name, space.settings(point)[name], where)


def _parse(kind: type[Config], name: str, value: Scalar, where: str) -> None:
    try:
        kind.parse({name: value})
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None
