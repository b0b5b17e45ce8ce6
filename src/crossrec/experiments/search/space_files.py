"""Read search spaces: built-in ones and JSON files, validated against the configuration that they are for."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

from crossrec.alignment import ALIGNMENTS
from crossrec.backbones import BACKBONES
from crossrec.config import Config, did_you_mean
from crossrec.errors import ConfigError
from crossrec.experiments.experiment import check_name, own_name, read_object
from crossrec.experiments.search.built_in_spaces import BUILT_IN
from crossrec.experiments.search.spaces import Choice, Range, Scalar, Share, Space, is_number


def read_space(source: str, backbone: str) -> dict[str, Any]:
    """Plain values of the space that ``--space`` gives: a built-in name or a JSON file. Keys are the parts' own names.

    A built-in space has the values for ``backbone`` only. Raises ConfigError if ``source`` is neither, or if it names
    an unknown backbone, part or alignment.
    """
    if source in BUILT_IN:
        return {backbone: BUILT_IN[source](backbone)}
    hint = f", nor a built-in space{did_you_mean(source, list(BUILT_IN))}"
    values = read_object("--space", Path(source), "backbones, or of 'backbone' and 'alignment'", hint)
    parts = ["backbone", "alignment", *(name for name in ALIGNMENTS if name != "none")]
    values = {own_name(own_name(name, BACKBONES), ALIGNMENTS): content for name, content in values.items()}
    for name, content in values.items():
        check_name(name, dict.fromkeys([*parts, *BACKBONES]), f"--space {source}")
        if not isinstance(content, dict):
            raise ConfigError(f"--space {source}: '{name}' must hold an object")
        if name in BACKBONES:
            values[name] = content = ALIGNMENTS.canonical_keys(content, f"--space {source}: '{name}'")
        for part in content if name in BACKBONES else ():
            if part not in parts:
                raise ConfigError(f"--space {source}: '{name}' has '{part}'{did_you_mean(part, parts)}")
            if not isinstance(content[part], dict):
                raise ConfigError(f"--space {source}: '{part}' of '{name}' must hold an object")
    return values


def space_for(source: str, backbone: str, alignment: str) -> Space:
    """The space of a backbone's own settings (alignment "none"), or of an alignment's settings on it.

    In a file, entries under the backbone's name take precedence over general ones, and an alignment's name over
    'alignment'. At the top, ``damrs`` is the backbone. A part that the file leaves out has an empty space: its settings
    stay as they are. Raises ConfigError for an unknown setting, a value that the setting does not allow, and values
    that are no list, range or share.
    """
    values = read_space(source, backbone)
    config_type = BACKBONES[backbone].config_type if alignment == "none" else ALIGNMENTS[alignment]
    assert config_type is not None
    parts = ["backbone"] if alignment == "none" else [alignment, "alignment"]
    levels = (values.get(backbone, {}), {name: content for name, content in values.items() if name not in BACKBONES})
    contents: dict[str, Any] = next((level[part] for level in levels for part in parts if part in level), {})
    where = f"--space {source}: {backbone if alignment == 'none' else f'{alignment} on {backbone}'}"
    for name in contents:
        if name not in config_type.model_fields:
            raise ConfigError(f"{where}: unknown setting '{name}'{did_you_mean(name, list(config_type.model_fields))}")
    space = Space({name: _parse_values(config_type, name, contents, where) for name in contents})
    for name, parsed in space.values.items():
        if isinstance(parsed, Share):
            _check_share(config_type, name, parsed, space, where)
    return space


def _parse_values(
    config_type: type[Config], name: str, contents: Mapping[str, Any], where: str
) -> Choice | Range | Share:
    """The values of setting ``name`` among all ``contents`` of a part."""
    content, where = contents[name], f"{where}: '{name}'"
    if _is_share(content):
        return _parse_share(content, contents, where)
    values = _parse_free(content, where)
    for value in values.ends():
        _check_value(config_type, name, value, where)
    if isinstance(values, Range):
        between = values.low + (values.high - values.low) * (math.sqrt(2) - 1)
        try:
            config_type.parse({name: between})
        except ConfigError:  # it is within the bounds, so the setting is an integer
            return Range(values.low, values.high, values.log, whole=True)
    return values


def _is_share(content: Any) -> bool:
    return isinstance(content, dict) and "of" in content


def _parse_share(content: dict[str, Any], contents: Mapping[str, Any], where: str) -> Share:
    for key in content:
        check_name(key, ("of", "times"), where)
    other = content["of"]
    free = [name for name in contents if not _is_share(contents[name])]
    if other not in free:
        raise ConfigError(
            f"{where}: 'of' must name a setting here with values of its own{did_you_mean(str(other), free)}"
        )
    times = content.get("times", 1)
    return Share(other, _parse_free(times, f"{where}: 'times'" if isinstance(times, dict) else where))


def _parse_free(content: Any, where: str) -> Choice | Range:
    """A range, or a list of values."""
    if isinstance(content, dict):
        return _parse_range(content, where)
    values = content if isinstance(content, list) else [content]
    if not values:
        raise ConfigError(f"{where}: an empty list; give values, or leave the setting out")
    for value in values:
        if not isinstance(value, Scalar):
            raise ConfigError(f"{where}: {json.dumps(value)} is not one value; give a list of numbers or names")
    return Choice(tuple(dict.fromkeys(values)))


def _parse_range(content: dict[str, Any], where: str) -> Range:
    for key in content:
        check_name(key, ("low", "high", "log"), where)
    low, high = (_check_number(content.get(end), end, where) for end in ("low", "high"))
    log = content.get("log", False)
    if not low < high:
        raise ConfigError(f"{where}: 'low' {low} must be less than 'high' {high}")
    if not isinstance(log, bool):
        raise ConfigError(f"{where}: 'log' must be true or false")
    if log and low <= 0:
        raise ConfigError(f"{where}: 'low' {low} has no logarithm; give one above 0, or leave 'log' out")
    return Range(low, high, log)


def _check_number(value: Any, name: str, where: str) -> float:
    if not is_number(value) or not math.isfinite(value):
        raise ConfigError(f"{where}: '{name}' is {json.dumps(value)} and must be a number")
    return value


def _check_share(config_type: type[Config], name: str, share: Share, space: Space, where: str) -> None:
    """Raise ConfigError if a multiple of a value of the other setting is not allowed for this one."""
    other = space.values[share.of]
    assert not isinstance(other, Share)
    first_point = {parameter: values.ends()[0] for parameter, values in space.free.items()}
    for value, factor in product(other.ends(), share.times.ends()):
        _check_number(value, share.of, f"{where}: '{name}' is a share of '{share.of}'")
        _check_number(factor, "times", f"{where}: '{name}'")
        point = first_point | {share.of: value, f"{name}/{share.of}": factor}
        _check_value(config_type, name, space.settings(point)[name], where)


def _check_value(config_type: type[Config], name: str, value: Scalar, where: str) -> None:
    try:
        config_type.parse({name: value})
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None
