"""A stand-in for ``crossrec train`` that computes its metrics from the settings.

As a script it is ``crossrec`` with a stand-in that takes SECONDS per cell: ``python tuning.py SECONDS tune …``.
"""

from __future__ import annotations

import sys
from pathlib import Path

from crossrec.data import DataConfig, load
from crossrec.experiments.runner import pool
from crossrec.runs.config import load_config

SCRIPT = """
import hashlib, json, os, pathlib, sys, time
folder, identity, seconds = pathlib.Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])
config = json.loads((folder / "cell.json").read_text())
with open(folder.parent / "starts.txt", "a") as log:
    log.write(folder.name + "\\n")
reg, alignment = config["backbone"]["reg"], config["alignment"] or {}
if reg == 9:
    sys.exit("crossrec: error: term 'reg' is nan")
time.sleep(seconds)
value = 0.3 - abs(reg - 0.3) / 10 + config["training"]["seed"] / 100
for name, best in ("alpha", 0.1), ("beta", 1):
    value += 0.2 - abs(alignment[name] - best) / 10 if alignment else 0
metrics = {"valid": {"recall@10": 0, "recall@20": value}, "test": {"recall@20": -value}, "best_epoch": 2, "epochs": 3,
           "train_seconds_per_epoch": 0.1, "peak_memory_mb": 1, "identity": identity}

def encode(values):
    return (json.dumps(values, indent=2) + "\\n").encode()

def entry(content):
    return {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}

files = {"config.json": encode({"identity": identity}), "metrics.json": encode(metrics)}
manifest = {"files": {name: entry(content) for name, content in files.items()}}
files["manifest.json"] = encode(manifest | {"seal": entry(encode(manifest))["sha256"]})
for name, content in files.items():
    (folder / "part").write_bytes(content)
    os.replace(folder / "part", folder / name)
"""
"""Validation is best at reg 0.3, α 0.1 and β 1, and rises with the seed; with reg 9 training fails."""


def train(folder: Path, threads: int, seconds: float = 0.0) -> list[str]:
    """The command of the stand-in; it sleeps for ``seconds``."""
    identity = load_config(folder / "cell.json").identity(load(DataConfig(data="synthetic-tiny")))
    return [sys.executable, "-S", "-E", "-c", SCRIPT, str(folder), identity, str(seconds)]


def starts(out: Path) -> list[str]:
    """Names of the cells that were started, in order."""
    return (out / "starts.txt").read_text().split()


if __name__ == "__main__":
    from crossrec.cli import main

    seconds = float(sys.argv[1])
    pool.train_command = lambda folder, threads: train(folder, threads, seconds)
    sys.exit(main(sys.argv[2:]))
