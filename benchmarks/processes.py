"""One training on several processes: peak memory of a process and time of a step, each in processes of its own.

    python -m benchmarks.processes --users 250000 --items 250000 --pairs 5000000 --processes 1 4
    python -m benchmarks.processes --no-run --users 1000000 --items 1000000 --pairs 10000000 --processes 1 2 --threads 2 1

A training is ``crossrec.run`` on generated data: LightGCN + CROSS, L = 64, one content modality of 64 columns, an epoch
of a few steps, validation, checkpoint, test, and the files of the run. With ``--no-run`` steps only. Linux only.
"""

from __future__ import annotations

import argparse
import json
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
    from crossrec.types import Batch

STEPS = 4


def point(users: int, items: int, pairs: int, threads: int, no_run: bool) -> dict[str, float]:
    """Median seconds of a step, and the largest memory of this process in MB."""
    import torch

    from benchmarks.harness import resident_mb
    from benchmarks.memory import dataset
    from crossrec import parallel
    from crossrec.memory import keep_freed_memory
    from crossrec.objective import Objective
    from crossrec.optimizer import SharedAdam
    from crossrec.runs.config import RunConfig
    from crossrec.runs.execute import run, training_set
    from crossrec.sampling import Sampler

    warnings.simplefilter("ignore")
    keep_freed_memory()
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
        data = dataset(users, items, pairs, (64,))
        config = RunConfig.parse({"alignment": {"name": "cross"}, "training": {"epochs": 1, "device": "cpu"}})
        if no_run:
            train = training_set(data)
            model = Objective(config.backbone, config.alignment, train, 0)
            columns = set() if model.backbone.columns is None else set(map(id, model.backbone.parameters()))
            optimizer = SharedAdam(model.parameter_groups(), lambda parameter: id(parameter) not in columns)
            for batch in some_steps(Sampler(train, config.training.batch_size), torch.Generator().manual_seed(0)):
                optimizer.zero_grad()
                model(batch)[1].backward()
                optimizer.step()
        else:
            Sampler.epoch = some_steps  # type: ignore[method-assign]
            with tempfile.TemporaryDirectory() as folder:
                run(config, Path(parallel.from_main(lambda: folder)) / "run", dataset=data)
                parallel.from_main(lambda: None)
    median = statistics.median
    return {"seconds": median(seconds[1:]), "peak_mb": resident_mb("VmHWM"), "sent_mb": median(sent) / 2**20}


def measure(processes: int, threads: int, sizes: list[str]) -> dict[str, Any]:
    """Start the processes, and return the figures of the one with most memory."""
    with tempfile.TemporaryDirectory() as folder:
        launcher = ["torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", "-m"]
        command = [sys.executable, "-m", *(launcher if processes > 1 else []), "benchmarks.processes", *sizes]
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
    parser.add_argument("--no-run", action="store_true")
    parser.add_argument("--point", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    sizes = {name: getattr(options, name) for name in ("users", "items", "pairs")}
    if options.point is not None:
        import os

        figures = point(**sizes, threads=options.threads[0], no_run=options.no_run)
        (options.point / f"{os.environ.get('RANK', '0')}.json").write_text(json.dumps(figures))
        return
    flags = [f"--{name}={value}" for name, value in sizes.items()] + (["--no-run"] if options.no_run else [])
    threads = options.threads * (len(options.processes) if len(options.threads) == 1 else 1)
    for processes, count in zip(options.processes, threads, strict=True):
        print(json.dumps(measure(processes, count, flags)), flush=True)


if __name__ == "__main__":
    main()
