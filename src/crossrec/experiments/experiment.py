"""What every experiment has: options, settings that its cells share, and functions for cells and result."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationInfo, field_validator

from crossrec.alignment import ALIGNMENTS
from crossrec.backbones import BACKBONES
from crossrec.baselines import BASELINES
from crossrec.config import Config, Seed, did_you_mean
from crossrec.data import DataConfig, Dataset
from crossrec.data.io.atomic import unique_keys
from crossrec.data.io.open_text import special_kind
from crossrec.errors import ConfigError
from crossrec.experiments.reporting.result import ExperimentResult
from crossrec.experiments.runner.jobs import Cell, Result
from crossrec.parts import Registry, nearest_spelling
from crossrec.runs.config import RunConfig
from crossrec.training import TrainingConfig

NAMES: dict[str, Iterable[str]] = {
    "backbones": BACKBONES,
    "references": BACKBONES,
    "alignments": ALIGNMENTS,
    "baselines": BASELINES,
}
"""Options that hold names, and the names that there are."""


class ExperimentConfig(Config):
    """Options of every experiment; each adds its own. A value given twice counts once."""

    backbones: tuple[str, ...] = Field(default=("lightgcn",), min_length=1)
    """Backbones to train."""
    seeds: tuple[Seed, ...] = Field(default=(0, 1, 2), min_length=1)
    """Seeds; every cell is trained once per seed."""

    @field_validator("*")
    @classmethod
    def _own_names_once(cls, value: Any, info: ValidationInfo) -> Any:
        if not isinstance(value, tuple):
            return value
        names = NAMES.get(str(info.field_name))
        return tuple(dict.fromkeys(value if names is None else (own_name(name, names) for name in value)))


@dataclass(frozen=True)
class SharedSettings:
    """Settings common to all cells of an experiment: data, training, and the models' own settings.

    ``model_settings``: per backbone, its own settings and those of each alignment on it, as in the ``--settings`` file:
    {"BACKBONE": {"backbone": {…}, "ALIGNMENT": {…}}, …}. ``trials``: how many settings a search has tried for them, by
    backbone and alignment.
    """

    data: DataConfig = field(default_factory=DataConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    model_settings: Mapping[str, Any] = field(default_factory=dict)
    trials: Mapping[tuple[str, str], int] = field(default_factory=dict)

    def run_config(
        self,
        backbone: str,
        alignment: str,
        seed: int,
        *,
        data: DataConfig | None = None,
        backbone_settings: Mapping[str, Any] | None = None,
        alignment_settings: Mapping[str, Any] | None = None,
    ) -> RunConfig:
        """Build the configuration of one cell. The settings given here override those of ``model_settings``.

        Raises ConfigError for an unknown backbone, alignment or setting.
        """
        backbone, alignment = BACKBONES.check(backbone, "--backbones"), ALIGNMENTS.check(alignment, "--alignments")
        of_backbone, of_alignment = settings_for(self.model_settings, backbone, alignment)
        backbone_type, alignment_type = BACKBONES[backbone].config_type, ALIGNMENTS[alignment]
        of_backbone |= backbone_settings or {}
        of_alignment |= alignment_settings or {}
        return RunConfig(
            data=data or self.data,
            backbone=_parse(backbone_type, of_backbone, f"'backbone' of '{backbone}'"),
            alignment=None
            if alignment_type is None
            else _parse(alignment_type, of_alignment, f"'{alignment}' of '{backbone}'"),
            training=self.training.model_copy(update={"seed": seed}),
        )


@dataclass(frozen=True)
class Experiment:
    """A research question: its options, the cells to train for it, and the result made of the trained cells.

    ``cells(options, shared)`` plans the runs; ``result(options, shared, runs, datasets)`` makes tables, figures and
    findings of them, with ``runs`` in the order of the cells.
    """

    config_type: type[ExperimentConfig]
    cells: Callable[[Any, SharedSettings], list[Cell]]
    result: Callable[[Any, SharedSettings, Sequence[Result], Mapping[DataConfig, Dataset]], ExperimentResult]


def method_cells(
    options: ExperimentConfig, shared: SharedSettings, methods: Mapping[str, tuple[str, Mapping[str, Any]]]
) -> list[Cell]:
    """One cell per backbone, method and seed, in groups (backbone, method).

    ``methods``: by name the alignment and its changed settings. Raises ConfigError as ``run_config`` does.
    """
    return [
        Cell(shared.run_config(backbone, alignment, seed, alignment_settings=settings), group=(backbone, name))
        for backbone in options.backbones
        for name, (alignment, settings) in methods.items()
        for seed in options.seeds
    ]


def own_name(name: str, names: Iterable[str]) -> str:
    """The one of ``names`` that ``name`` stands for, in whatever spelling; ``name`` itself if there is none."""
    return names.canonical(name) if isinstance(names, Registry) else nearest_spelling(name, names)


def check_name(name: str, names: Iterable[str], flag: str) -> None:
    """Raise ConfigError, which suggests the nearest of ``names``, where ``name`` is none of them."""
    if name not in names:
        raise ConfigError(f"{flag}: unknown '{name}'{did_you_mean(name, list(names))}")


def read_object(flag: str, path: Path, content: str, hint: str = "") -> dict[str, Any]:
    """Read the JSON file of a flag, which must hold an object of ``content``.

    Raises ConfigError; ``hint`` ends its message where the file is missing.
    """
    try:
        if kind := special_kind(path):
            raise ConfigError(f"{flag} {path}: {kind}, not a file")
        values = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=unique_keys)
    except OSError as error:
        raise ConfigError(f"{flag} {path}: {error.strerror}{hint}") from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{flag} {path}: not JSON: {error}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{flag} {path}: must hold an object of {content}")
    return values


def settings_for(settings: Mapping[str, Any], backbone: str, alignment: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Pick a backbone's settings, and those of an alignment on it, from the content of a settings file.

    Raises ConfigError for an unknown name.
    """
    settings = BACKBONES.canonical_keys(settings, "--settings")
    for name, parts in settings.items():
        if name not in BACKBONES:
            raise ConfigError(f"--settings: unknown backbone '{name}'{did_you_mean(name, list(BACKBONES))}")
        if not isinstance(parts, Mapping):
            raise ConfigError(f"--settings: '{name}' must hold an object of 'backbone' and alignments")
        for part in parts:
            if part != "backbone" and part not in ALIGNMENTS:
                raise ConfigError(f"--settings: '{name}' has '{part}'{did_you_mean(part, ['backbone', *ALIGNMENTS])}")
            if not isinstance(parts[part], Mapping):
                raise ConfigError(f"--settings: '{part}' of '{name}' must hold an object of settings")
            if part == "none" and parts[part]:
                raise ConfigError(f"--settings: 'none' of '{name}' must be empty; put the backbone's under 'backbone'")
    of_backbone = ALIGNMENTS.canonical_keys(settings.get(backbone, {}), f"--settings: '{backbone}'")
    return dict(of_backbone.get("backbone", {})), dict(of_backbone.get(alignment, {}))


def _parse(config_type: type[Any], values: Mapping[str, Any], where: str) -> Any:
    try:
        return config_type.parse(values)
    except ConfigError as error:
        raise ConfigError(f"--settings: {where}: {error}") from None
