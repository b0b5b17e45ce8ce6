"""What ``tune --prune`` gains: the best validation value after the same processor time, with and without.

``python -m benchmarks.prune --seconds 120 --seeds 0 1 2`` prints a table. Settings are trained here, one after
the other.
"""

from __future__ import annotations

import argparse
import logging
import time
from functools import partial
from itertools import accumulate
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from optuna.storages import InMemoryStorage

from crossrec.data import DataConfig, load
from crossrec.experiments.experiment import SharedSettings
from crossrec.experiments.search.proposers import OptunaProposer
from crossrec.experiments.search.stages import TuneConfig, plan_stages
from crossrec.experiments.search.trials import _cells, _proposer
from crossrec.runs.execute import run
from crossrec.training import TrainingConfig
from crossrec.training_state import Progress


def search(data: str, backbone: str, alignment: str, seed: int, prune: bool, seconds: float, marks: list[float]):
    """The best validation value up to each of ``marks``, shares of ``seconds``; how many settings began, and ended."""
    shared = SharedSettings(DataConfig(data=data), TrainingConfig(device="cpu", checkpoint_seconds=1e9))
    dataset = load(shared.data)
    options = TuneConfig(
        backbones=(backbone,),
        alignments=(alignment,),
        search="tpe",
        space="wide",
        trials=10**6,
        search_seed=seed,
        prune=prune,
    )
    (stage,) = plan_stages(options, shared, dataset)
    cells = partial(_cells, stage, shared, (0,), {})
    proposer = _proposer(stage, cells, options, dataset, InMemoryStorage())
    assert isinstance(proposer, OptunaProposer)
    selection, started, bests = shared.training.selection, time.process_time(), list[tuple[float, float]]()
    best, count = 0.0, 0
    while time.process_time() - started < seconds:
        number, point = proposer.propose() or (0, {})
        (cell,) = cells(stage.space.settings(point))

        def pause(progress: Progress, number: int = number) -> bool:
            values = list(accumulate((row[f"valid_{selection}"] for row in progress.history), max))
            late = time.process_time() - started >= seconds
            return late or proposer.stopped_after(number, values) is not None

        with TemporaryDirectory() as folder:
            metrics = run(cell.config, Path(folder), dataset=dataset, pause=pause)
        count += 1
        if metrics:
            value = metrics["valid"][selection]
            proposer.report(number, value)
            best = max(best, value)
            bests.append((time.process_time() - started, best))
    at = [max((value for spent, value in bests if spent <= share * seconds), default=0.0) for share in marks]
    return at, count, sum(1 for _ in bests)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", default="synthetic")
    parser.add_argument("--backbone", default="lightgcn")
    parser.add_argument("--alignment", default="cross")
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    logging.disable()
    marks = [0.25, 0.5, 1.0]
    print(
        "| search seed | | "
        + " | ".join(f"{share * arguments.seconds:.0f} s" for share in marks)
        + " | settings | ended |"
    )
    print("| --: | :-- | --: | --: | --: | --: | --: |")
    for seed in arguments.seeds:
        for prune in (False, True):
            at, count, ended = search(
                arguments.data, arguments.backbone, arguments.alignment, seed, prune, arguments.seconds, marks
            )
            values = " | ".join(f"{value:.4f}" for value in at)
            print(f"| {seed} | {'--prune' if prune else 'without'} | {values} | {count} | {ended} |", flush=True)


if __name__ == "__main__":
    main()
