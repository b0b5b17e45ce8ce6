"""Everything that decides a run: ``RunConfig``, its digest, and reading it from ``config.json``."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from pydantic import SerializeAsAny, field_serializer, field_validator

from crossrec.alignment import ALIGNMENTS, CrossConfig
from crossrec.backbones import BACKBONES, BackboneConfig
from crossrec.backbones.lightgcn import LightGCNConfig
from crossrec.config import Config, nearest
from crossrec.data import DataConfig, Dataset
from crossrec.data.io.atomic import read_json
from crossrec.errors import ConfigError, RunError
from crossrec.training import TrainingConfig

METHOD_VERSION = 1
"""Raised whenever the same configuration would train to another result; a done run of another version is not reused."""


class RunConfig(Config):
    """Everything that decides a run. Saved as ``config.json``, from which the run can be made again."""

    data: DataConfig = DataConfig()
    backbone: SerializeAsAny[BackboneConfig] = LightGCNConfig()
    alignment: SerializeAsAny[CrossConfig] | None = CrossConfig()
    training: TrainingConfig = TrainingConfig()

    @field_validator("data", mode="before")
    @classmethod
    def _data_by_field(cls, value: Any) -> Any:
        return DataConfig.parse(value) if isinstance(value, Mapping) else value

    @field_validator("training", mode="before")
    @classmethod
    def _training_by_field(cls, value: Any) -> Any:
        return TrainingConfig.parse(value) if isinstance(value, Mapping) else value

    @field_validator("backbone", mode="before")
    @classmethod
    def _backbone_by_name(cls, value: Any) -> Any:
        return _by_name(value, {name: b.config_type for name, b in BACKBONES.items()}, "backbone")

    @field_validator("alignment", mode="before")
    @classmethod
    def _alignment_by_name(cls, value: Any) -> Any:
        return _by_name(value, ALIGNMENTS, "alignment")

    @field_serializer("backbone", "alignment")
    def _with_name(self, value: Config | None) -> dict[str, Any] | None:
        return None if value is None else {"name": cast(Any, value).name, **value.model_dump()}

    @property
    def label(self) -> str:
        """Backbone and alignment, e.g. ``lightgcn+cross``."""
        return self.backbone.name if self.alignment is None else f"{self.backbone.name}+{self.alignment.name}"

    def digest(self) -> str:
        """Hex digest of all that decides the result: this configuration, less where and how it runs, and the method.

        A setting that is None does not enter it, so that one added later, None unless given, renames no run.
        """
        values = _given(self.model_dump(mode="json"))
        for name in ("device", "checkpoint_seconds"):
            del values["training"][name]
        return hashlib.sha256(json.dumps([METHOD_VERSION, values], sort_keys=True).encode()).hexdigest()

    def identity(self, dataset: Dataset) -> str:
        """Hex digest of the configuration and the contents of its data set: what a run directory is the run of."""
        return hashlib.sha256(f"{self.digest()} {dataset.fingerprint()}".encode()).hexdigest()


def _given(values: dict[str, Any]) -> dict[str, Any]:
    """Those that are not None, in every dictionary below too."""
    deep = {key: _given(value) if isinstance(value, dict) else value for key, value in values.items()}
    return {key: value for key, value in deep.items() if value is not None}


def _by_name(value: Any, known: Mapping[str, type[Config] | None], what: str) -> Any:
    if not isinstance(value, Mapping):
        return value
    values = dict(value)
    name = values.pop("name", None)
    if name not in known:
        raise ConfigError(f"unknown {what} '{name}'{nearest(str(name), list(known))}")
    chosen = known[name]
    return None if chosen is None else chosen.parse(values)


def load_config(path: Path) -> RunConfig:
    """Read a ``config.json``. Raises RunError for a missing or broken file, ConfigError naming it for a setting."""
    values = read_json(path)
    if not isinstance(values, dict):
        raise RunError(f"{path}: not a configuration; give the config.json of a run")
    values.pop("identity", None)
    try:
        return RunConfig.parse(values)
    except ConfigError as error:
        raise ConfigError(f"--config {path}: {error}") from None
