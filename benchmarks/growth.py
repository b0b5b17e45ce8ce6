"""Growth of a LightGCN + CROSS step: seconds and peak memory against one size at a time, as CSV and plots.

    python -m benchmarks.growth --out runs/bench/growth

Every point runs in its own process. The other sizes are 20,000 items and users, ten times as many pairs, batches of
2,048, two content modalities of 128 columns, 1,024 and 2,048 prototypes.
"""

from __future__ import annotations

import argparse
import csv
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch

BASE = {"items": 20_000, "pairs": 200_000, "batch": 2048, "modalities": 2, "prototypes": 1024}
SWEEPS = {
    "items": [10_000, 30_000, 100_000, 300_000, 1_000_000],
    "pairs": [100_000, 300_000, 1_000_000, 3_000_000, 10_000_000],
    "prototypes": [128, 512, 2048, 5120, 10_240],
    "batch": [512, 1024, 2048, 4096, 8192],
    "modalities": [0, 1, 2, 3, 4],
}


def point(items: int, pairs: int, batch: int, modalities: int, prototypes: int, steps: int) -> dict[str, float]:
    """Median seconds of a step and the peak memory of the process, in megabytes."""
    from benchmarks.datasets import generated
    from benchmarks.harness import resident_mb
    from benchmarks.sides import make_step
    from crossrec.alignment import CrossConfig
    from crossrec.memory import keep_freed_memory

    keep_freed_memory()
    data = generated(items, items, max(pairs, 4 * batch), (128,) * modalities)
    alignment = CrossConfig(prototypes_itv=prototypes, prototypes_ui=2 * prototypes)
    take_step, _, _ = make_step(data, alignment, batch)
    seconds = []
    for _ in range(steps):
        started = time.perf_counter()
        take_step()
        seconds.append(time.perf_counter() - started)
    return {"seconds": statistics.median(seconds), "peak_mb": resident_mb("VmHWM")}


def sweep(name: str, values: list[int], steps: int, base: dict[str, int]) -> list[dict[str, float]]:
    """Vary one size; the pairs grow with the items."""
    rows = []
    for value in values:
        sizes = base | {name: value} | ({"pairs": 10 * value} if name == "items" else {})
        command = [sys.executable, "-m", "benchmarks.growth", "--point", json.dumps(sizes), "--steps", str(steps)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        rows.append({name: value, **json.loads(done.stdout.splitlines()[-1])})
        print(rows[-1], flush=True)
    return rows


def plot(measured: dict[str, list[dict[str, float]]], out: Path) -> None:
    """One panel a size: seconds on the left axis, memory on the right one."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(measured), figsize=(3.2 * len(measured), 2.8), layout="constrained")
    for axis, (name, rows) in zip(axes, measured.items(), strict=True):
        x = [row[name] for row in rows]
        left = axis.plot(x, [row["seconds"] for row in rows], "ko-", markersize=4, label="time of a step")
        axis.set_xlabel(name)
        axis.set_ylabel("seconds")
        axis.set_ylim(bottom=0)
        other = axis.twinx()
        right = other.plot(x, [row["peak_mb"] / 1024 for row in rows], "s--", color="0.5", markersize=4, label="memory")
        other.set_ylabel("peak memory, GiB")
        other.set_ylim(bottom=0)
    axes[0].legend(handles=[*left, *right], frameon=False, fontsize="small")
    for ending in ("png", "pdf"):
        figure.savefig(out.with_suffix(f".{ending}"), dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/bench/growth"))
    parser.add_argument("--only", nargs="+", choices=SWEEPS, default=list(SWEEPS))
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--point", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.point is not None:
        torch.manual_seed(0)
        print(json.dumps(point(**options.point, steps=options.steps)))
        return
    options.out.parent.mkdir(parents=True, exist_ok=True)
    for name in options.only:
        rows = sweep(name, SWEEPS[name], options.steps, BASE)
        with open(f"{options.out}-{name}.csv", "w", newline="") as file:
            writer = csv.DictWriter(file, [name, "seconds", "peak_mb"], lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    tables = {name: Path(f"{options.out}-{name}.csv") for name in SWEEPS}
    plot({name: _read(path) for name, path in tables.items() if path.exists()}, options.out)


def _read(path: Path) -> list[dict[str, float]]:
    with open(path, newline="") as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


if __name__ == "__main__":
    main()
