"""One training on several processes: peak memory of a process and time of a step, each in processes of its own.

    python -m benchmarks.processes --users 250000 --items 250000 --pairs 5000000 --processes 1 4
    python -m benchmarks.processes --no-run --users 1000000 --items 1000000 --processes 1 2 --threads 2 1

A training is ``crossrec.run`` on generated data: LightGCN + CROSS, L = 64, one content modality of 64 columns, an epoch
of a few steps, validation, checkpoint, test, and the files of the run. With ``--no-run`` steps only. Linux only.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crossrec.data import Dataset
    from crossrec.types import Batch

STEPS = 4


def write(folder: Path, users: int, items: int, pairs: int, held_out: float) -> None:
    """Generate data into files, so that making them takes no memory of the processes that are measured."""
    import numpy as np

    from benchmarks.memory import dataset

    data = dataset(users, items, pairs, (64,), held_out)
    for name, split in (("train", data.train), ("valid", data.valid), ("test", data.test)):
        np.save(folder / f"{name}.npy", np.stack([split.user_N, split.item_N]))
    np.save(folder / "features.npy", data.features["image"])


def read(folder: Path, users: int, items: int) -> Dataset:
    """The data that ``write`` has written."""
    import numpy as np
    import polars as pl

    from crossrec.data import Dataset, Interactions

    splits = [Interactions(*np.load(folder / f"{name}.npy")) for name in ("train", "valid", "test")]
    ids = [pl.Series("id", np.arange(count)) for count in (users, items)]
    return Dataset("generated", users, items, *splits, {"image": np.load(folder / "features.npy")}, *ids)


def point(users: int, items: int, source: Path, threads: int, no_run: bool) -> dict[str, float]:
    """Median seconds of a step, and the largest memory of this process in MB."""
    import torch

    from benchmarks.harness import resident_mb
    from crossrec import parallel
    from crossrec.memory import keep_freed_memory
    from crossrec.objective import Objective
    from crossrec.runs.config import RunConfig
    from crossrec.runs.execute import run, training_set
    from crossrec.sampling import Sampler
    from crossrec.training import make_optimizer

    warnings.simplefilter("ignore")
    keep_freed_memory(but_large=parallel.launched())
    torch.set_num_threads(threads)
    seconds, sent = [], []
    whole_epoch = Sampler.epoch

    def some_steps(sampler: Sampler, generator: torch.Generator) -> Iterator[Batch]:
        for batch in islice(whole_epoch(sampler, generator), STEPS):
            started, before = time.perf_counter(), parallel.sent_bytes()
            yield batch
            seconds.append(time.perf_counter() - started)
            sent.append(parallel.sent_bytes() - before)

    with parallel.joined("cpu"):
        data = read(source, users, items)
        config = RunConfig.parse({"alignment": {"name": "cross"}, "training": {"epochs": 1, "device": "cpu"}})
        if no_run:
            train = training_set(data)
            model = Objective(config.backbone, config.alignment, train, 0)
            optimizer = make_optimizer(model)
            for batch in some_steps(Sampler(train, config.training.batch_size), torch.Generator().manual_seed(0)):
                optimizer.zero_grad()
                model(batch)[1].backward()
                optimizer.step()
        else:
            Sampler.epoch = some_steps  # type: ignore[method-assign]
            with tempfile.TemporaryDirectory() as folder:
                run(config, Path(parallel.from_main(lambda: folder, patient=True)) / "run", dataset=data)
                parallel.from_main(lambda: None, patient=True)
    median = statistics.median
    return {"seconds": median(seconds[1:]), "peak_mb": resident_mb("VmHWM"), "sent_mb": median(sent) / 2**20}


def measure(processes: int, threads: int, flags: list[str]) -> dict[str, Any]:
    """Start the processes, and return the figures of the one with most memory."""
    with tempfile.TemporaryDirectory() as folder:
        launcher = ["torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", "-m"]
        command = [sys.executable, "-m", *(launcher if processes > 1 else []), "benchmarks.processes", *flags]
        command += ["--threads", str(threads), "--point", folder]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        figures = [json.loads(path.read_text()) for path in Path(folder).iterdir()]
    worst = {name: max(figure[name] for figure in figures) for name in figures[0]}
    return {"processes": processes, "threads": threads, **worst}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("users", 250_000), ("items", 250_000), ("pairs", 5_000_000)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--held-out", type=float, default=0.02, help="share of the pairs in validation, and in test")
    parser.add_argument("--no-run", action="store_true")
    parser.add_argument("--source", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--point", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    sizes = {name: getattr(options, name) for name in ("users", "items", "pairs")}
    if options.point is not None:
        import os

        figures = point(options.users, options.items, options.source, threads=options.threads[0], no_run=options.no_run)
        (options.point / f"{os.environ.get('RANK', '0')}.json").write_text(json.dumps(figures))
        return
    flags = [f"--{name}={value}" for name, value in sizes.items()] + (["--no-run"] if options.no_run else [])
    threads = options.threads * (len(options.processes) if len(options.threads) == 1 else 1)
    with tempfile.TemporaryDirectory() as folder:
        writer = multiprocessing.Process(target=write, args=(Path(folder), *sizes.values(), options.held_out))
        writer.start()
        writer.join()
        for processes, count in zip(options.processes, threads, strict=True):
            print(json.dumps(measure(processes, count, [*flags, f"--source={folder}"])), flush=True)


if __name__ == "__main__":
    main()
