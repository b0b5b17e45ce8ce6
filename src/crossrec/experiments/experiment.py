"""What all experiments share: options, what their cells have in common, and from names to a run's configuration."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, field_validator

from crossrec.alignment import ALIGNMENTS
from crossrec.backbones import BACKBONES
from crossrec.config import Config, nearest
from crossrec.data import DataConfig, Dataset
from crossrec.errors import ConfigError
from crossrec.experiments.reporting.result import ExperimentResult
from crossrec.experiments.runner.jobs import Cell, Result
from crossrec.runs.config import RunConfig
from crossrec.training import TrainingConfig


class ExperimentConfig(Config):
    """Options of every experiment; each adds its own. What is named twice counts once."""

    backbones: tuple[str, ...] = Field(default=("lightgcn",), min_length=1)
    """Backbones to ask the question of."""
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field(default=(0, 1, 2), min_length=1)
    """Seeds; every cell is trained once per seed."""

    @field_validator("*")
    @classmethod
    def _once_each(cls, value: Any) -> Any:
        return tuple(dict.fromkeys(value)) if isinstance(value, tuple) else value


@dataclass(frozen=True)
class Base:
    """What the cells of an experiment have in common.

    ``settings``: per backbone, its own settings and those of each alignment on it, as in a file for ``--settings``:
    {"BACKBONE": {"backbone": {…}, "ALIGNMENT": {…}}, …}.
    """

    data: DataConfig = field(default_factory=DataConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    settings: Mapping[str, Any] = field(default_factory=dict)

    def config(
        self,
        backbone: str,
        alignment: str,
        seed: int,
        *,
        data: DataConfig | None = None,
        own: Mapping[str, Any] | None = None,
        aligned: Mapping[str, Any] | None = None,
    ) -> RunConfig:
        """The configuration of a cell; ``own`` and ``aligned`` go before the settings of backbone and alignment.

        Raises ConfigError for an unknown backbone, alignment or setting.
        """
        known(backbone, BACKBONES, "--backbones")
        known(alignment, ALIGNMENTS, "--alignments")
        of_backbone, of_alignment = settings_for(self.settings, backbone, alignment)
        kind = ALIGNMENTS[alignment]
        own_type = BACKBONES[backbone].config_type
        return RunConfig(
            data=data or self.data,
            backbone=_parse(own_type, of_backbone | dict(own or {}), f"'backbone' of '{backbone}'"),
            alignment=None
            if kind is None
            else _parse(kind, of_alignment | dict(aligned or {}), f"'{alignment}' of '{backbone}'"),
            training=self.training.model_copy(update={"seed": seed}),
        )


Results = Sequence[Result]


@dataclass(frozen=True)
class Experiment:
    """A research question: from options to cells, and from their results to an answer.

    ``cells(options, base)``; ``answer(options, base, results, datasets)``. ``help``: one line for the command line.
    """

    name: str
    help: str
    options: type[ExperimentConfig]
    cells: Callable[[Any, Base], list[Cell]]
    answer: Callable[[Any, Base, Results, Mapping[DataConfig, Dataset]], ExperimentResult]


def known(name: str, names: Iterable[str], flag: str) -> None:
    """Raise ConfigError, with the nearest known one, for a name that is none of ``names``."""
    if name not in names:
        raise ConfigError(f"{flag}: unknown '{name}'{nearest(name, list(names))}")


def read_object(flag: str, path: Path, content: str, hint: str = "") -> dict[str, Any]:
    """The object of ``content`` in the JSON file of a flag. Raises ConfigError; ``hint`` ends it for a missing file."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{flag} {path}: {error.strerror}{hint}") from None
    except ValueError as error:
        raise ConfigError(f"{flag} {path}: not JSON: {error}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{flag} {path}: must hold an object of {content}")
    return values


def settings_for(settings: Mapping[str, Any], backbone: str, alignment: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a settings file says of one backbone and of the alignment on it: two sets of plain values.

    Raises ConfigError for an unknown name.
    """
    for name, parts in settings.items():
        if name not in BACKBONES:
            raise ConfigError(f"--settings: unknown backbone '{name}'{nearest(name, list(BACKBONES))}")
        if not isinstance(parts, Mapping):
            raise ConfigError(f"--settings: '{name}' must hold an object of 'backbone' and alignments")
        for part in parts:
            if part != "backbone" and part not in ALIGNMENTS:
                raise ConfigError(f"--settings: '{name}' has '{part}'{nearest(part, ['backbone', *ALIGNMENTS])}")
            if not isinstance(parts[part], Mapping):
                raise ConfigError(f"--settings: '{part}' of '{name}' must hold an object of settings")
            if part == "none" and parts[part]:
                raise ConfigError(f"--settings: 'none' of '{name}' must be empty; put the backbone's under 'backbone'")
    own = settings.get(backbone, {})
    return dict(own.get("backbone", {})), dict(own.get(alignment, {}))


def values_of(results: Results, split: str, metric: str) -> tuple[float, ...] | float | str:
    """A metric of each result, one per seed, for a table; a plain number for one seed; or the first failure as text.

    "none" where it is missing: a data set without test pairs has no test metrics.
    """
    failed = [r.failure for r in results if r.metrics is None]
    if failed:
        return failed[0]
    values = [r.metrics[split].get(metric) for r in results if r.metrics is not None]
    if any(value is None for value in values):
        return "none"
    numbers = tuple(float(value) for value in values if value is not None)
    return numbers if len(numbers) > 1 else numbers[0]


def over_seeds(seeds: Iterable[int]) -> str:
    """ ", mean ± sample deviation over seeds 0, 1" for a footnote."""
    distinct = sorted(set(seeds))
    shown = ", ".join(map(str, distinct))
    return f", mean ± sample deviation over seeds {shown}" if len(distinct) > 1 else f" of seed {shown}"


def _parse(kind: type[Any], values: Mapping[str, Any], where: str) -> Any:
    try:
        return kind.parse(values)
    except ConfigError as error:
        raise ConfigError(f"--settings: {where}: {error}") from None
