"""One run: a full typed configuration in, a run directory out."""

from __future__ import annotations

import csv
import io
import platform
import resource
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from crossrec._version import __version__
from crossrec.data import Dataset, Interactions, load
from crossrec.data.io.atomic import write_bytes_atomic, write_json_atomic, write_text_atomic
from crossrec.errors import RunError
from crossrec.evaluation import HeldOut
from crossrec.objective import Objective
from crossrec.runs import embeddings
from crossrec.runs.config import RunConfig, load_config
from crossrec.runs.directory import STRENGTHS, claim, finished_metrics
from crossrec.runs.embeddings import TrainedEmbeddings
from crossrec.runs.strengths import strengths
from crossrec.training import Progress, fit, validate_splits
from crossrec.types import TrainingSet

RUSAGE_PER_MB = 2**20 if sys.platform == "darwin" else 2**10
"""getrusage counts bytes on macOS, kilobytes elsewhere."""


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
    not done, ``model.safetensors``, ``vectors.safetensors`` (all that recommending needs: see
    ``crossrec.runs.embeddings``) and, last, ``metrics.json``. ``dataset`` spares reading ``config.data`` again where it
    is in memory.

    With ``resume`` it goes on from the last checkpoint, or returns the metrics where it is done. Raises RunError where
    ``out`` holds a run already and ``resume`` is not asked for, or holds one of another configuration or data set, or
    files that are not of a run; DataError, ConfigError and TrainingError as the parts do.
    """
    dataset = dataset or load(config.data)
    identity = config.identity(dataset)
    done = finished_metrics(out, identity, resume)
    if done is not None:
        return done
    device = config.training.torch_device()
    data = training_set(dataset).to(device)
    objective = Objective(config.backbone, config.alignment, data, config.training.seed).to(device)
    valid = held_out(dataset, dataset.valid)
    claim(out, config, identity, dataset)

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
    _embeddings(config, objective, dataset, identity).save(out / embeddings.FILE)
    write_json_atomic(out / "metrics.json", metrics)
    for leftover in (out / "checkpoint").iterdir():
        leftover.unlink()
    (out / "checkpoint").rmdir()
    return metrics


def rebuild_embeddings(out: Path, identity: str) -> TrainedEmbeddings:
    """The vectors of a finished run from its ``model.safetensors`` and its data set.

    Raises RunError where the weights are missing or damaged, or the data set has changed since; DataError where the
    data set cannot be read.
    """
    config = load_config(out / "config.json")
    dataset = load(config.data)
    if config.identity(dataset) != identity:
        raise RunError(
            f"{out} has no {embeddings.FILE}, and its data set or crossrec has changed since: train it again"
        )
    objective = Objective(config.backbone, config.alignment, training_set(dataset), config.training.seed)
    try:
        objective.load_state_dict(load_file(out / "model.safetensors"))
    except (OSError, SafetensorError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise RunError(f"{out}/model.safetensors: missing or damaged ({reason}); train again") from None
    return _embeddings(config, objective, dataset, identity)


def _embeddings(config: RunConfig, objective: Objective, dataset: Dataset, identity: str) -> TrainedEmbeddings:
    alignment = None if config.alignment is None else config.alignment.name
    return embeddings.take(objective, dataset, identity=identity, alignment=alignment, backbone=config.backbone.name)


def _csv(history: list[dict[str, float]]) -> str:
    """All columns that any epoch has, in order of first appearance."""
    columns = list(dict.fromkeys(name for row in history for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n", restval="")
    writer.writeheader()
    writer.writerows(history)
    return text.getvalue()
