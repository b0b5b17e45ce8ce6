"""A tiny run, and those of its results that must not depend on interruptions."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

from crossrec.alignment import CrossConfig
from crossrec.backbones import BACKBONES
from crossrec.data import DataConfig
from crossrec.runs.config import RunConfig
from crossrec.training import TrainingConfig

TIMES = ("train_seconds", "eval_seconds")


def tiny(backbone: str = "lightgcn", alignment: CrossConfig | None = None, **training: Any) -> RunConfig:
    """Four epochs of three steps on the smallest built-in set."""
    settings = {"epochs": 4, "batch_size": 128, "device": "cpu", "checkpoint_seconds": 0} | training
    return RunConfig(
        data=DataConfig(data="synthetic-tiny"),
        backbone=BACKBONES[backbone].config_type(dim=8, learning_rate=0.01),
        alignment=alignment,
        training=TrainingConfig(**settings),
    )


CROSS = CrossConfig(prototypes_itv=8)


def history(out: Path) -> list[dict[str, str]]:
    """Rows of history.csv as text, without the times."""
    with (out / "history.csv").open(newline="") as file:
        return [{key: value for key, value in row.items() if key not in TIMES} for row in csv.DictReader(file)]


def outcome(out: Path) -> dict[str, Any]:
    """Files and metrics of a finished run, without times and memory."""
    metrics = json.loads((out / "metrics.json").read_text())
    del metrics["train_seconds_per_epoch"], metrics["peak_memory_mb"]
    files = {name: (out / name).read_bytes() for name in ("model.safetensors", "users.parquet", "items.parquet")}
    return {"files": sorted(entry.name for entry in out.iterdir()), "history": history(out), "metrics": metrics} | files
