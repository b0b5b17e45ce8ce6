"""Every done run below folders as a row of ``cells.csv``: ``python docs/results/collect.py RUNS …``.

Rows that are there already stay; one of the same data, backbone, alignment, setting and seed is written over. *setting*
names what of the alignment, the data and the training differs from the defaults; the backbones' own settings are those
of ``tiktok.json`` and ``baby.json``, and what differs from these is named too.
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
UNSEEN = ("record_strengths",)
"""Settings that leave a run bit for bit as it is."""
KEY = ("data", "backbone", "alignment", "setting", "seed")


def main(folders: list[str]) -> None:
    path = HERE / "cells.csv"
    with open(path, newline="") as lines:
        kept = {tuple(row[name] for name in KEY): row for row in csv.DictReader(lines)}
    for folder in folders:
        for metrics in sorted(Path(folder).glob("*/metrics.json")):
            row = _row(metrics.parent, read_json(metrics))
            kept[tuple(row[name] for name in KEY)] = row
    with open(path, "w", newline="") as lines:
        writer = csv.DictWriter(lines, list(next(iter(kept.values()))), lineterminator="\n")
        writer.writeheader()
        writer.writerows(kept[key] for key in sorted(kept))


def _row(run: Path, metrics: dict[str, Any]) -> dict[str, str]:
    config = load_config(run / "config.json")
    data = Path(config.data.data).name
    chosen = read_json(HERE / f"{data}.json").get(config.backbone.name, {}).get("backbone", {})
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
        "setting": "; ".join(said for own, default in parts for said in _differences(own, default)),
        "seed": str(config.training.seed),
        **{f"{split} {name}": f"{metrics[split][name]:.5f}" for split in ("test", "valid") for name in METRICS},
        **{name: str(metrics[name]) for name in ("best_epoch", "epochs")},
    }


def _differences(own: Any, default: Any) -> Iterator[str]:
    for name, value in own.model_dump().items():
        if value != getattr(default, name) and name not in UNSEEN:
            yield f"{name} {'+'.join(value) if isinstance(value, tuple | list) else value}"


if __name__ == "__main__":
    main(sys.argv[1:])
