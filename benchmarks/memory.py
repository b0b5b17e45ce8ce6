"""Peak memory of trainings against its estimate before the start, each in a process of its own.

    python -m benchmarks.memory --out runs/bench/memory

A training here is ``crossrec.run`` on generated data: two epochs of a few steps, validation, checkpoint, test, and the
files of the run. Memory is the largest resident set of the process (VmHWM), libraries and data included. Linux only.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import tempfile
import warnings
from itertools import islice
from pathlib import Path

import numpy as np
import polars as pl
import torch

from benchmarks.datasets import generated
from benchmarks.harness import resident_mb
from crossrec.data import Dataset, Interactions
from crossrec.memory import keep_freed_memory
from crossrec.runs.config import RunConfig
from crossrec.runs.execute import run
from crossrec.runs.memory import Sizes, training_memory
from crossrec.sampling import Sampler

SIZES = {
    "tiny": (2_000, 1_000, 20_000, (64, 32), 64, 2048),
    "small": (20_000, 8_000, 100_000, (64, 32), 64, 2048),
    "quick": (40_000, 15_000, 150_000, (64, 32), 128, 2048),
    "middle": (60_000, 20_000, 500_000, (384, 128), 64, 2048),
    "large": (150_000, 50_000, 1_500_000, (384,), 128, 8192),
}
"""Users, items, interactions, columns of the features, dimension, batch size."""
BACKBONES = ("sgl", "directau", "ncl", "vbpr", "grcn", "dualgnn", "slmrec", "lattice", "freedom", "mgcn", "gume", "pgl")
CASES = [
    *((size, "lightgcn", alignment) for size in SIZES for alignment in ("none", "cross")),
    *((size, "bpr", "none") for size in ("tiny", "middle", "large")),
    *(("middle", backbone, "none") for backbone in BACKBONES),
    *(("middle", backbone, "cross") for backbone in ("vbpr", "freedom", "mgcn")),
    ("middle", "lightgcn", "prime"),
    ("tiny", "damrs", "none"),
]
"""Size, backbone and alignment."""
QUICK = [(size, "lightgcn", "cross") for size in ("tiny", "small", "quick")]
HELD_OUT = 0.02
STEPS = 3


def dataset(users: int, items: int, pairs: int, widths: tuple[int, ...], held_out: float = HELD_OUT) -> Dataset:
    """Generated data in three splits; ``held_out``: share of the pairs in validation, and in test."""
    data = generated(users, items, pairs, widths)
    part = np.random.default_rng(0).random(len(data.user_T))
    chosen = (part >= 2 * held_out, part < held_out, (part >= held_out) & (part < 2 * held_out))
    splits = [Interactions(data.user_T.numpy()[rows], data.item_T.numpy()[rows]) for rows in chosen]
    ids = [pl.Series("id", np.arange(count)) for count in (users, items)]
    features = {name: feature.numpy() for name, feature in data.features.items()}
    return Dataset("generated", users, items, *splits, features, *ids)


def measure(case: tuple[str, str, str]) -> tuple[float, float]:
    """Estimate and peak of this process, in MB."""
    warnings.simplefilter("ignore")
    *sizes, dim, batch_size = SIZES[case[0]]
    keep_freed_memory()
    torch.set_num_threads(1)
    data = dataset(*sizes)  # type: ignore[arg-type]
    config = RunConfig.parse(
        {
            "backbone": {"name": case[1], "dim": dim} | ({"warm_up": 0} if case[1] == "ncl" else {}),
            "alignment": {"name": case[2]},
            "training": {"epochs": 2, "batch_size": batch_size, "device": "cpu"},
        }
    )
    whole_epoch = Sampler.epoch
    Sampler.epoch = lambda self, generator: islice(whole_epoch(self, generator), STEPS)  # type: ignore[method-assign]
    estimate = resident_mb() + training_memory(config, Sizes.of(data)) / 2**20
    with tempfile.TemporaryDirectory() as folder:
        run(config, Path(folder) / "run", dataset=data)
    return estimate, resident_mb("VmHWM")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/bench/memory"))
    parser.add_argument("--quick", action="store_true", help="three small sizes only")
    options = parser.parse_args()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    rows = []
    with multiprocessing.get_context("fork").Pool(1, maxtasksperchild=1) as pool:
        cases = QUICK if options.quick else CASES
        for case, (estimate, peak) in zip(cases, pool.imap(measure, cases), strict=True):
            rows.append({"case": case, "estimate_mb": estimate, "peak_mb": peak, "ratio": estimate / peak})
            label = case[1] if case[2] == "none" else f"{case[1]}+{case[2]}"
            print(f"| {case[0]} | {label} | {estimate:,.0f} | {peak:,.0f} | {estimate / peak:.2f} |", flush=True)
    options.out.with_suffix(".json").write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
