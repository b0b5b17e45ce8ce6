"""Provenance of a result: command, machine, versions, data sets and cells."""

from __future__ import annotations

import os
import platform
import shlex
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from crossrec._version import __version__
from crossrec.data import DataConfig, Dataset
from crossrec.experiments.reporting.result_files import SavedCell
from crossrec.experiments.runner.jobs import Result
from crossrec.runs.config import METHOD_VERSION

LIBRARIES = ("torch", "numpy", "scipy", "polars", "matplotlib")


def provenance(
    results: Sequence[Result],
    datasets: Mapping[DataConfig, Dataset],
    out: Path,
    options: Mapping[str, Any],
    seconds: float,
) -> dict[str, Any]:
    """Fields of a ``SavedResult`` from ``command`` on.

    ``seconds``: duration of the command, without the cells that were done before it.
    """
    return {
        "command": shlex.join(["crossrec", *sys.argv[1:]]),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "seconds": round(seconds, 1),
        "machine": {"system": platform.system(), "processor": _processor(), "cores": os.cpu_count()},
        "versions": {"crossrec": __version__, "method": METHOD_VERSION, "python": platform.python_version()}
        | {name: version(name) for name in LIBRARIES},
        "options": dict(options),
        "seeds": sorted({r.cell.config.training.seed for r in results}),
        "data": [_dataset(config, dataset) for config, dataset in datasets.items()],
        "cells": [_cell(result, out) for result in {r.folder: r for r in results}.values()],
    }


def _dataset(config: DataConfig, dataset: Dataset) -> dict[str, Any]:
    return {
        "name": dataset.name,
        "settings": config.model_dump(mode="json", exclude_none=True) | {"data": Path(config.data).name},
        "users": dataset.num_users,
        "items": dataset.num_items,
        "train": len(dataset.train),
        "valid": len(dataset.valid),
        "test": len(dataset.test),
        "features": {name: feature.shape[1] for name, feature in dataset.features.items()},
        "fingerprint": dataset.fingerprint()[:16],
    }


def _cell(result: Result, out: Path) -> dict[str, Any]:
    config, metrics = result.cell.config, result.metrics or {}
    models = {name for name in ("backbone", "alignment") if getattr(config, name) is not None}  # all their settings
    return {
        "folder": os.path.relpath(result.folder, out),
        "label": config.label,
        "group": result.cell.group,
        "seed": config.training.seed,
        "state": result.failure or "done",
        "config": config.model_dump(mode="json", exclude_none=True) | config.model_dump(mode="json", include=models),
        **{name: metrics[name] for name in SavedCell.model_fields if name in metrics},
    }


def _processor() -> str:
    """Name of the processor, as far as the system knows it."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
