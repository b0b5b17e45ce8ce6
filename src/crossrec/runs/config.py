"""``RunConfig``: everything that determines a run, its digest, and reading it from ``config.json``."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import FieldSerializationInfo, SerializeAsAny, ValidationInfo, field_serializer, field_validator

from crossrec.alignment import ALIGNMENTS, AlignmentConfig, CrossConfig
from crossrec.backbones import BACKBONES, BackboneConfig
from crossrec.backbones.lightgcn import LightGCNConfig
from crossrec.config import Config
from crossrec.data import DataConfig, Dataset
from crossrec.data.io.atomic import read_json
from crossrec.data.io.manifest import check_file
from crossrec.errors import ConfigError, RunError
from crossrec.evaluation.metrics import DEFAULT_METRICS, METRICS
from crossrec.parts import Registry
from crossrec.training import KS, TrainingConfig

T = TypeVar("T")
METHOD_VERSION = 1
"""Increased when the same configuration trains to another result. Finished runs of another version are not reused."""


class RunConfig(Config):
    """Everything that determines a run. Saved as ``config.json``, from which the run can be repeated."""

    data: DataConfig = DataConfig()
    backbone: SerializeAsAny[BackboneConfig] = LightGCNConfig()
    alignment: SerializeAsAny[AlignmentConfig] | None = CrossConfig()
    training: TrainingConfig = TrainingConfig()
    refit: bool | None = None
    """Measure on the split, then train anew on all interactions for the best number of epochs, and keep that."""
    init_from: str | None = None
    """Folder of a finished run with the same backbone and dim, whose parameters the training begins with."""

    @field_validator("refit")
    @classmethod
    def _none_for_no(cls, value: bool | None) -> bool | None:
        return value or None

    @field_validator("*", mode="before")
    @classmethod
    def _parse(cls, value: Any, info: ValidationInfo) -> Any:
        if not isinstance(value, Mapping):
            return value
        if info.field_name == "backbone":
            return _parse_named(value, BACKBONES, lambda backbone: backbone.config_type)
        if info.field_name == "alignment":
            return _parse_named(value, ALIGNMENTS, lambda alignment: alignment)
        return (DataConfig if info.field_name == "data" else TrainingConfig).parse(value)

    @field_serializer("backbone", "alignment")
    def _with_name(self, value: Any, info: FieldSerializationInfo) -> dict[str, Any] | None:
        if value is None:
            return None
        names: Registry[Any] = BACKBONES if info.field_name == "backbone" else ALIGNMENTS
        return {"name": names.reference(value.name), **value.model_dump(exclude_none=info.exclude_none)}

    @property
    def label(self) -> str:
        """Backbone and alignment, e.g. ``lightgcn+cross``."""
        return self.backbone.name if self.alignment is None else f"{self.backbone.name}+{self.alignment.name}"

    def digest(self) -> str:
        """Hex digest of all that determines the result: the configuration and METHOD_VERSION.

        It leaves out ``device``, ``checkpoint_seconds`` and ``tracker`` of the training, which metrics tables show of
        those that every run measures, and every setting that is None, so a new setting with the default None changes no
        digest.
        """
        left_out = {"training": {"device", "checkpoint_seconds", "tracker", "metrics", "k"}}
        values = self.model_dump(mode="json", exclude=left_out, exclude_none=True)
        metrics, ks = self.training.measured
        for name, more in (("metrics", {*map(METRICS.reference, metrics)} - {*DEFAULT_METRICS}), ("k", {*ks} - {*KS})):
            if more:
                values["training"][name] = sorted(more)
        return hashlib.sha256(json.dumps([METHOD_VERSION, values], sort_keys=True).encode()).hexdigest()

    def identity(self, dataset: Dataset, start: str | None = None) -> str:
        """Hex digest of the configuration and the contents of its data set. It identifies a run directory.

        ``start``: the identity of the run that the training begins with.
        """
        contents = [self.digest(), dataset.fingerprint(), *([] if start is None else [start])]
        return hashlib.sha256(" ".join(contents).encode()).hexdigest()


def _parse_named(
    value: Mapping[str, Any], parts: Registry[T], config_type: Callable[[T], type[Config] | None]
) -> Config | None:
    """Parse a mapping with the configuration type of the part that its key ``name`` selects."""
    values = dict(value)
    kind = config_type(parts[parts.check(str(values.pop("name", None)))])
    return None if kind is None else kind.parse(values)


def load_config(path: str | os.PathLike[str]) -> RunConfig:
    """Read a ``config.json``. Raises RunError if the file is missing or broken or, in a finished run, altered;
    ConfigError if a setting is wrong.
    """
    check_file(Path(path), "copy it elsewhere to change it, or put the file of this run back")
    values = read_json(os.fspath(path))
    if not isinstance(values, dict):
        raise RunError(f"{path}: not a configuration; give the config.json of a run")
    for name in ("identity", "init_identity"):
        values.pop(name, None)
    try:
        return RunConfig.parse(values)
    except ConfigError as error:
        raise ConfigError(f"--config {path}: {error}") from None
