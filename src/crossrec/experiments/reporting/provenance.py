"""How an answer came about: command, machine, versions, data sets and cells, as plain values for a file."""

from __future__ import annotations

import os
import platform
import shlex
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from crossrec._version import __version__
from crossrec.data import DataConfig, Dataset
from crossrec.experiments.experiment import Results
from crossrec.runs.config import METHOD_VERSION

LIBRARIES = ("torch", "numpy", "scipy", "polars", "matplotlib")


def provenance(
    results: Results, datasets: Mapping[DataConfig, Dataset], out: Path, options: Mapping[str, Any], seconds: float
) -> dict[str, Any]:
    """``seconds``: how long the command took, cells that were done before not counted."""
    return {
        "command": shlex.join(["crossrec", *sys.argv[1:]]),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "seconds": round(seconds, 1),
        "machine": {"system": platform.system(), "processor": _processor(), "cores": os.cpu_count()},
        "versions": {"crossrec": __version__, "method": METHOD_VERSION, "python": platform.python_version()}
        | {name: found for name in LIBRARIES if (found := _version(name))},
        "options": dict(options),
        "seeds": sorted({r.cell.config.training.seed for r in results}),
        "data": [_card(config, dataset) for config, dataset in datasets.items()],
        "cells": [_cell(result, out) for result in {r.folder: r for r in results}.values()],
    }


def _card(config: DataConfig, dataset: Dataset) -> dict[str, Any]:
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


def _cell(result: Any, out: Path) -> dict[str, Any]:
    config, metrics = result.cell.config, result.metrics or {}
    known = ("best_epoch", "epochs", "train_seconds_per_epoch", "peak_memory_mb", "valid", "test")
    return {
        "folder": os.path.relpath(result.folder, out),
        "label": config.label,
        "group": list(result.cell.group),
        "seed": config.training.seed,
        "state": result.failure or "done",
        "config": config.model_dump(mode="json", exclude_none=True),
        **{name: metrics[name] for name in known if name in metrics},
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    """The processor's name, as far as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
