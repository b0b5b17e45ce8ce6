"""Execute one run: train a configuration and write its run directory."""

from __future__ import annotations

import csv
import io
import os
import platform
import resource
import shutil
import sys
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, cast

import numpy as np
import torch

from crossrec import parallel
from crossrec._version import __version__
from crossrec.data import Dataset, Interactions, load
from crossrec.data.io.atomic import write_json_atomic, write_text_atomic
from crossrec.data.io.features import too_large
from crossrec.data.io.lock import FolderLock
from crossrec.data.io.tensor_file import write_tensors
from crossrec.devices import torch_device
from crossrec.errors import DataError, RunError, setting
from crossrec.evaluation import HeldOut
from crossrec.objective import Objective
from crossrec.runs.config import RunConfig
from crossrec.runs.directory import (
    MEASURED_FILE,
    STRENGTHS_FILE,
    begun_from,
    claim,
    finished_metrics,
    run_identity,
    seal,
)
from crossrec.runs.embeddings import EMBEDDINGS_FILE, TrainedEmbeddings
from crossrec.runs.memory import require_training_memory
from crossrec.runs.strengths import strengths
from crossrec.runs.warm_start import WarmStart
from crossrec.trackers import TRACKERS, Tracker
from crossrec.training import fit, validate_splits
from crossrec.training_state import Progress
from crossrec.types import TrainingSet

RUSAGE_PER_MB = 2**20 if sys.platform == "darwin" else 2**10
"""Units of ``getrusage`` in a megabyte: bytes on macOS, kilobytes elsewhere."""


def training_set(dataset: Dataset) -> TrainingSet:
    """Return all that a model may learn from: training pairs and features, no held-out pair.

    Raises DataError for features that are too large to train with.
    """
    for modality, matrix in dataset.all_features.items():
        if problem := too_large(modality, matrix):
            raise DataError(f"{setting('data')} '{dataset.name}': {problem}")
    own = dataset.alignment_features
    return TrainingSet(
        dataset.num_users,
        dataset.num_items,
        torch.from_numpy(dataset.train.user_N),
        torch.from_numpy(dataset.train.item_N),
        {name: torch.from_numpy(feature) for name, feature in dataset.features.items()},
        None if own is None else {name: torch.from_numpy(feature) for name, feature in own.items()},
        None if dataset.train.weight_N is None else torch.from_numpy(dataset.train.weight_N).float(),
    )


def held_out(dataset: Dataset, split: Interactions) -> HeldOut:
    """Prepare a held-out split of a data set for ranking."""
    seen = left_out(dataset, split)
    return HeldOut.build(seen.user_N, seen.item_N, split.user_N, split.item_N, dataset.num_users, dataset.num_items)


def left_out(dataset: Dataset, split: Interactions) -> Interactions:
    """What the ranking of a split leaves out: training pairs, at test with ``mask_validation`` validation pairs too."""
    train, valid = dataset.train, dataset.valid
    if not dataset.mask_validation or split is not dataset.test:
        return train
    trained_N = np.isin(valid.user_N, train.user_N)  # others are not evaluated
    pairs = ((train.user_N, valid.user_N[trained_N]), (train.item_N, valid.item_N[trained_N]))
    return Interactions(*map(np.concatenate, pairs))


def run(
    config: RunConfig,
    out: str | os.PathLike[str],
    *,
    resume: bool = False,
    dataset: Dataset | None = None,
    on_epoch: Callable[[Progress], None] = lambda _: None,
    on_refit_epoch: Callable[[Progress], None] = lambda _: None,
    pause: Callable[[Progress], bool] = lambda _: False,
) -> dict[str, Any]:
    """Train, select the best epoch on validation, test once. Return the contents of ``metrics.json``.

    With ``config.refit`` the training is then repeated on the interactions of all splits, for the best number of
    epochs, and the run keeps those vectors. The metrics stay those of the split; ``refit`` in them says what was done.
    With ``config.init_from`` each training begins with the parameters of that run.

    Writes into the folder ``out``:

    - ``config.json``, and the id maps ``users.parquet`` and ``items.parquet``
    - ``history.csv``: one row an epoch
    - ``strengths.csv``: one row an epoch, with ``training.record_strengths``
    - ``checkpoint/``: until the run is done
    - ``model.safetensors``: the weights; with ``config.refit`` also ``measured.safetensors``, of the first training
    - ``vectors.safetensors``: all that recommending needs, see ``crossrec.runs.TrainedEmbeddings``
    - ``metrics.json``: the returned values
    - ``manifest.json``: last, with the sha256 of all files; see ``crossrec.runs.directory.check_run``

    ``dataset``: the data set of ``config.data`` if it is loaded already. ``on_epoch`` is called after every epoch,
    ``on_refit_epoch`` after every epoch on all interactions. With ``resume`` the run continues from its last
    checkpoint; a finished run returns its metrics. Where ``pause``, called before every epoch of the first training,
    returns True, the run stops after a checkpoint and returns an empty dict.

    Several processes that train together (``crossrec.parallel``) all call this; the first one writes, and reports. All
    read checkpoints, so ``out`` is a folder that all hosts share.

    ``out`` is locked while the run trains. Raises RunError if another process trains into ``out``, if ``out`` holds a
    run and ``resume`` is False, if it holds a run of another configuration or data set, or if it holds files that are
    not of a run; MemoryLimitError, before it starts, where training on a CPU takes more memory than there is
    (``crossrec.runs.memory``); DataError, ConfigError and TrainingError as ``load``, ``RunConfig``, ``WarmStart.open``
    and ``fit`` do.
    """
    out = Path(out)
    lock = FolderLock(out) if parallel.is_main() else None
    if lock is not None:
        lock.check()
    dataset = dataset or load(config.data)
    start = None
    if config.init_from is not None:  # a training that is resumed goes on from the run that it began with
        source = config.init_from
        start = parallel.from_main(lambda: (begun_from(out) if resume else None) or run_identity(source), patient=True)
    identity = config.identity(dataset, start)
    if (metrics := parallel.from_main(lambda: finished_metrics(out, identity, resume), patient=True)) is not None:
        return cast(dict[str, Any], metrics)
    parameters = None if config.init_from is None else WarmStart.open(config.init_from, config)
    if parameters is not None and parameters.identity != start:
        raise RunError(
            f"--init-from {config.init_from}: is another run than the one that the training in {out} began with; put "
            "that one back, or train again into another --out"
        )
    objective, data, matched = _prepare(config, dataset, parameters)
    valid = held_out(dataset, dataset.valid)

    tracker: Tracker | None = None

    def after_epoch(progress: Progress) -> None:
        if not parallel.is_main():
            return
        _write_history(out, progress)
        if tracker is not None:
            tracker.log(dict(progress.history[-1]), progress.epoch)  # a copy: the code is not ours
        on_epoch(progress)

    with lock or nullcontext():  # look again: another process may have trained it meanwhile
        if (metrics := parallel.from_main(lambda: finished_metrics(out, identity, resume), patient=True)) is not None:
            return cast(dict[str, Any], metrics)
        if parallel.is_main():
            claim(out, config, identity, dataset, start)
        if config.training.tracker is not None and parallel.is_main():
            tracker = TRACKERS[config.training.tracker](config.label, out, config.model_dump(mode="json"))
        progress = fit(
            objective,
            data,
            valid,
            config.training,
            checkpoints=out / "checkpoint",
            identity=identity,
            on_epoch=after_epoch,
            observe=partial(strengths, objective, data) if config.training.record_strengths else None,
            pause=pause,
        )
        if not progress.finished:
            if tracker is not None:
                tracker.finish({})
            return {}
        splits = {"valid": valid, "test": held_out(dataset, dataset.test)}
        metrics = {
            **validate_splits(objective, splits, *config.training.measured),
            "best_epoch": progress.best_epoch,
            "epochs": progress.epoch,
            "train_seconds_per_epoch": _seconds_per_epoch(progress),
            "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / RUSAGE_PER_MB,
            "identity": identity,
            "versions": {
                "crossrec": __version__,
                "torch": torch.__version__,
                "numpy": np.__version__,
                "python": platform.python_version(),
            },
        }
        if parameters is not None:
            metrics["init_from"] = {"identity": parameters.identity, **matched}
        if parallel.is_main():
            _write_history(out, progress)
        if config.refit:
            write_tensors(out / MEASURED_FILE, objective.whole_state(), {"identity": identity})
            everything = dataset.all_in_training()
            del objective, data  # the second training needs their memory
            objective, data, _ = _prepare(config, everything, parameters, measured=False)
            progress = fit(
                objective,
                data,
                held_out(everything, everything.valid),
                config.training.model_copy(update={"epochs": progress.best_epoch}),
                checkpoints=out / "checkpoint" / "refit",
                identity=identity,
                on_epoch=on_refit_epoch if parallel.is_main() else lambda _: None,
                follow=progress,
            )
            metrics["refit"] = {
                "epochs": progress.epoch,
                "interactions": len(everything.train),
                "train_seconds_per_epoch": _seconds_per_epoch(progress),
            }
        write_tensors(out / "model.safetensors", objective.whole_state(), {"identity": identity})
        vectors = TrainedEmbeddings.from_objective(objective, dataset, config, identity)
        vectors.save(out / EMBEDDINGS_FILE)
        if not parallel.is_main():
            return metrics
        write_json_atomic(out / "metrics.json", metrics)
        seal(out)
        shutil.rmtree(out / "checkpoint", ignore_errors=True)
        if tracker is not None:
            splits_and_values = ((split, metrics[split]) for split in ("valid", "test"))
            tracker.finish({f"{split}/{name}": v for split, values in splits_and_values for name, v in values.items()})
        return metrics


def _prepare(
    config: RunConfig, dataset: Dataset, parameters: WarmStart | None, *, measured: bool = True
) -> tuple[Objective, TrainingSet, dict[str, int]]:
    """An objective to train on ``dataset``, its training set, and what it took from another run.

    ``measured``: whether the training is measured, and so must not begin with what has learnt held-out interactions.
    """
    device = torch_device(config.training.device)
    if device.type == "cpu" and parallel.size() == 1:
        require_training_memory(config, dataset)
    data = training_set(dataset).to(device)
    objective = Objective(config.backbone, config.alignment, data, config.training.seed).to(device)
    return objective, data, {} if parameters is None else parameters.fill(objective, dataset, measured=measured)


def _seconds_per_epoch(progress: Progress) -> float:
    return median(row["train_seconds"] for row in progress.history)


def _write_history(out: Path, progress: Progress) -> None:
    """Write ``history.csv`` and, if strengths were recorded, ``strengths.csv``."""
    for name, rows in (("history.csv", progress.history), (STRENGTHS_FILE, progress.observed)):
        if rows:
            columns = list(dict.fromkeys(column for row in rows for column in row))  # of all epochs
            text = io.StringIO()
            writer = csv.DictWriter(text, columns, lineterminator="\n", restval="")
            writer.writeheader()
            writer.writerows(rows)
            write_text_atomic(out / name, text.getvalue())
