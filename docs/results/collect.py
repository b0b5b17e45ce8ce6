"""Write the metrics of finished runs into ``cells.csv``: ``python docs/results/collect.py RUNS …``.

Adds a row for every finished run in the folders. A row of the same data, backbone, alignment, setting and seed is
replaced; all others stay. *setting* lists what differs from the defaults in the alignment, the data and the training,
and what differs from ``tiktok.json`` or ``baby.json``, where there is one, in the backbone.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from crossrec.data.io.atomic import read_json
from crossrec.runs.config import load_config

HERE = Path(__file__).parent
METRICS = ("recall@10", "recall@20", "ndcg@10", "ndcg@20")
IGNORED = ("record_strengths",)
"""Settings that do not change the outcome of a run."""
KEY = ("data", "backbone", "alignment", "setting", "seed")


def main(folders: list[str]) -> None:
    path = HERE / "cells.csv"
    with open(path, newline="") as file:
        rows = {tuple(row[name] for name in KEY): row for row in csv.DictReader(file)}
    for folder in folders:
        for metrics in sorted(Path(folder).glob("*/metrics.json")):
            row = _row(metrics.parent, read_json(metrics))
            rows[tuple(row[name] for name in KEY)] = row
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, list(next(iter(rows.values()))), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows[key] for key in sorted(rows))


def _row(run: Path, metrics: dict[str, Any]) -> dict[str, str]:
    config = load_config(run / "config.json")
    data = Path(config.data.data).name
    settings = HERE / f"{data}.json"
    chosen = (read_json(settings) if settings.exists() else {}).get(config.backbone.name, {}).get("backbone", {})
    parts = [
        (config.backbone, type(config.backbone)(**chosen)),
        (config.data, type(config.data)(data=config.data.data)),
        (config.training, type(config.training)(seed=config.training.seed)),
    ]
    if config.alignment is not None:
        parts.insert(0, (config.alignment, type(config.alignment)()))
    return {
        "data": data,
        "backbone": config.backbone.name,
        "alignment": "none" if config.alignment is None else config.alignment.name,
        "setting": "; ".join(text for config, default in parts for text in _differences(config, default)),
        "seed": str(config.training.seed),
        **{f"{split} {name}": f"{metrics[split][name]:.5f}" for split in ("test", "valid") for name in METRICS},
        **{name: str(metrics[name]) for name in ("best_epoch", "epochs")},
    }


def _differences(config: Any, default: Any) -> Iterator[str]:
    for name, value in config.model_dump().items():
        if value != getattr(default, name) and name not in IGNORED:
            yield f"{name} {'+'.join(value) if isinstance(value, tuple | list) else value}"


if __name__ == "__main__":
    main(sys.argv[1:])
