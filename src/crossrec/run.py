"""One run: a full typed configuration in, a run directory out."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import platform
import resource
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, cast

import numpy as np
import torch
from pydantic import SerializeAsAny, field_serializer, field_validator
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save

from crossrec import snapshot
from crossrec._version import __version__
from crossrec.alignment import ALIGNMENTS, CrossConfig
from crossrec.alignment.config import LAMBDA_C_BOUNDS, LAMBDA_F_BOUNDS
from crossrec.backbones import BACKBONES, BackboneConfig
from crossrec.backbones.lightgcn import LightGCNConfig
from crossrec.config import Config, nearest
from crossrec.data import DataConfig, Dataset, Interactions, load
from crossrec.errors import ConfigError, RunError
from crossrec.evaluation import HeldOut
from crossrec.objective import Objective
from crossrec.storage import read_json, write_bytes_atomic, write_json_atomic, write_text_atomic
from crossrec.strengths import strengths
from crossrec.training import Progress, TrainingConfig, fit, validate_splits
from crossrec.types import TrainingSet

METHOD_VERSION = 1
"""Raised whenever the same configuration would train to another result; a done run of another version is not reused."""

STRENGTHS = "strengths.csv"
"""In a run directory: strengths and directions of every epoch, where the run was to record them."""

RUSAGE_PER_MB = 2**20 if sys.platform == "darwin" else 2**10
"""getrusage counts bytes on macOS, kilobytes elsewhere."""


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


def training_set(dataset: Dataset) -> TrainingSet:
    """What a model may learn from: the training pairs and features of a data set, and nothing held out."""
    return TrainingSet(
        dataset.num_users,
        dataset.num_items,
        torch.from_numpy(dataset.train.user_N),
        torch.from_numpy(dataset.train.item_N),
        {name: torch.from_numpy(feature) for name, feature in dataset.features.items()},
    )


def held_out(dataset: Dataset, split: Interactions) -> HeldOut:
    """A held-out split of a data set, ready for ranking."""
    train = dataset.train
    return HeldOut.build(train.user_N, train.item_N, split.user_N, split.item_N, dataset.num_users, dataset.num_items)


def run(
    config: RunConfig,
    out: Path,
    *,
    resume: bool = False,
    dataset: Dataset | None = None,
    on_epoch: Callable[[Progress], None] = lambda _: None,
) -> dict[str, Any]:
    """Train, choose the best epoch on validation, test once; returns what ``metrics.json`` holds.

    Writes into ``out``: ``config.json``, ``users.parquet`` and ``items.parquet`` (id maps), ``history.csv`` (one row an
    epoch), ``strengths.csv`` (likewise, where ``training.record_strengths`` asks for it), ``checkpoint/`` while it is
    not done, ``model.safetensors``, ``vectors.safetensors`` (all that recommending needs: see ``crossrec.snapshot``)
    and, last, ``metrics.json``. ``dataset`` spares reading ``config.data`` again where it is in memory.

    With ``resume`` it goes on from the last checkpoint, or returns the metrics where it is done. Raises RunError where
    ``out`` holds a run already and ``resume`` is not asked for, or holds one of another configuration or data set, or
    files that are not of a run; DataError, ConfigError and TrainingError as the parts do.
    """
    dataset = dataset or load(config.data)
    identity = config.identity(dataset)
    done = _done(out, identity, resume)
    if done is not None:
        return done
    device = config.training.torch_device()
    data = training_set(dataset).to(device)
    objective = Objective(config.backbone, config.alignment, data, config.training.seed).to(device)
    valid = held_out(dataset, dataset.valid)
    _claim(out, config, identity, dataset)

    def write_progress(progress: Progress) -> None:
        write_text_atomic(out / "history.csv", _csv(progress.history))
        if progress.observed:
            write_text_atomic(out / STRENGTHS, _csv(progress.observed))

    def after_epoch(progress: Progress) -> None:
        write_progress(progress)
        on_epoch(progress)

    progress = fit(
        objective,
        data,
        valid,
        config.training,
        checkpoints=out / "checkpoint",
        identity=identity,
        on_epoch=after_epoch,
        observe=partial(strengths, objective, data) if config.training.record_strengths else None,
    )
    metrics = {
        **validate_splits(objective, {"valid": valid, "test": held_out(dataset, dataset.test)}),
        "best_epoch": progress.best_epoch,
        "epochs": progress.epoch,
        "train_seconds_per_epoch": median(row["train_seconds"] for row in progress.history),
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / RUSAGE_PER_MB,
        "identity": identity,
        "versions": {
            "crossrec": __version__,
            "torch": torch.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
    }
    write_progress(progress)
    model = {name: value.cpu().contiguous() for name, value in objective.state_dict().items()}
    write_bytes_atomic(out / "model.safetensors", save(model, metadata={"identity": identity}))
    _snapshot(config, objective, dataset, identity).save(out / snapshot.FILE)
    write_json_atomic(out / "metrics.json", metrics)
    for leftover in (out / "checkpoint").iterdir():
        leftover.unlink()
    (out / "checkpoint").rmdir()
    return metrics


def _snapshot(config: RunConfig, objective: Objective, dataset: Dataset, identity: str) -> snapshot.Snapshot:
    alignment = None if config.alignment is None else config.alignment.name
    return snapshot.take(objective, dataset, identity=identity, alignment=alignment, backbone=config.backbone.name)


def open_snapshot(out: Path) -> snapshot.Snapshot:
    """What a run recommends with: its ``vectors.safetensors``; of a run without one, made from weights and data set.

    Raises RunError where the run is missing, not done, damaged, or its data set is another by now; DataError where the
    data set is needed and cannot be read.
    """
    if not out.is_dir():
        raise RunError(f"{out}: no such folder; give the folder of a run, where its config.json is")
    identity = _identity(out)
    if not (out / "metrics.json").exists():
        raise RunError(f"{out}: the run is not done; go on with 'crossrec train --config {out}/config.json --resume'")
    if (out / snapshot.FILE).exists():
        made = snapshot.load(out / snapshot.FILE)
        if made.identity != identity:
            raise RunError(f"{out}/{snapshot.FILE} is of another run than config.json: delete it")
        return made
    config = load_config(out / "config.json")
    dataset = load(config.data)
    if config.identity(dataset) != identity:
        raise RunError(f"{out} has no {snapshot.FILE}, and its data set or crossrec has changed since: train it again")
    objective = Objective(config.backbone, config.alignment, training_set(dataset), config.training.seed)
    try:
        objective.load_state_dict(load_file(out / "model.safetensors"))
    except (OSError, SafetensorError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise RunError(f"{out}/model.safetensors: missing or damaged ({reason}); train again") from None
    return _snapshot(config, objective, dataset, identity)


def learnt_temperatures(out: Path) -> dict[str, float]:
    """λ_f and λ_c, by the names of their settings, that a done run has learnt by its best epoch.

    One that was not learnt is left out, and both are where the run's ``model.safetensors`` is missing or damaged.
    """
    bounds = {"lambda_f": LAMBDA_F_BOUNDS, "lambda_c": LAMBDA_C_BOUNDS}
    try:
        with safe_open(out / "model.safetensors", "pt") as file:
            learnt = {name: f"cross.{name}" for name in bounds if f"cross.{name}" in file.keys()}  # noqa: SIM118
            return {name: float(file.get_tensor(key).clamp(*bounds[name])) for name, key in learnt.items()}
    except (OSError, SafetensorError):
        return {}


def _identity(out: Path) -> str:
    values = read_json(out / "config.json")
    if not isinstance(values, dict) or "identity" not in values:
        raise RunError(f"{out}/config.json: not of a run; give the folder that 'crossrec train --out' made")
    return str(values["identity"])


def _done(out: Path, identity: str, resume: bool) -> dict[str, Any] | None:
    """The metrics where a run directory holds this very run, done; RunError where it holds another. Writes nothing."""
    if out.exists() and not out.is_dir():
        raise RunError(f"{out} is a file: give --out a folder")
    if (out / "config.json").exists():
        if not resume:
            raise RunError(f"{out} holds a run already: pass --resume to go on with it, or another --out")
        found = read_json(out / "config.json")
        if not isinstance(found, dict) or found.get("identity") != identity:
            raise RunError(
                f"{out}/config.json is of another configuration, data set or version: give another --out, "
                "or the flags it was started with"
            )
        if (out / "metrics.json").exists():
            return cast(dict[str, Any], read_json(out / "metrics.json"))
    elif out.is_dir() and (other := _not_of_a_run(out)):
        raise RunError(f"{out} holds '{other}', which is not of a run: give --out a folder that is new or empty")
    return None


def _not_of_a_run(out: Path) -> str | None:
    """A file that no run left in ``out`` before its config.json: id maps, logs and a worker's notes may lie there, a
    data set, say, whose table of items a run would write over, may not."""
    known, logs = ("users.parquet", "items.parquet", "cell.json"), (".txt", ".log", ".out", ".err")
    others = (path for path in out.iterdir() if not path.name.startswith((".", "worker-")))
    return min((path.name for path in others if path.name not in known and path.suffix not in logs), default=None)


def _claim(out: Path, config: RunConfig, identity: str, dataset: Dataset) -> None:
    """Make a run directory this run's: configuration and id maps."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        dataset.save_id_maps(out)
    except OSError as error:
        raise RunError(f"cannot write to the folder {out}: {error.strerror}; give another --out") from None
    write_json_atomic(out / "config.json", config.model_dump(mode="json") | {"identity": identity})


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


def _csv(history: list[dict[str, float]]) -> str:
    """All columns that any epoch has, in order of first appearance."""
    columns = list(dict.fromkeys(name for row in history for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n", restval="")
    writer.writeheader()
    writer.writerows(history)
    return text.getvalue()
