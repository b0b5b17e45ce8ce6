"""What an alignment costs: CPU seconds of a training epoch, of backbones alone and with FETTLE, CROSS and PRIME.

``python -m benchmarks.alignment_cost --data tiktok baby --backbones lightgcn freedom`` takes a block of steps of each
in turn, so that all meet the same machine, and prints a table in Markdown. One thread; CPU time of the process, so that
other work on the machine does not count as time, though it still slows caches. PRIME is measured in its first epochs,
in which the alignment takes part.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from benchmarks.datasets import generated, real_or_generated
from crossrec.alignment import ALIGNMENTS, AlignmentConfig
from crossrec.backbones import BACKBONES
from crossrec.objective import Objective
from crossrec.randomness import torch_generator
from crossrec.sampling import Sampler
from crossrec.types import TrainingSet


def block_of_steps(
    data: TrainingSet, backbone: str, alignment: AlignmentConfig | None, size: int, steps: int
) -> Callable[[], float]:
    """A function that takes ``steps`` steps and returns the CPU seconds of one."""
    objective = Objective(BACKBONES[backbone].config_type(), alignment, data, 0).train()
    objective.before_epoch(1, torch_generator(0, "epoch"))
    optimizer = torch.optim.Adam(objective.parameters(), lr=1e-3, fused=True)
    batches = list(Sampler(data, size).epoch(torch_generator(0, "sampling")))[: max(1, len(data.user_T) // size)]
    endless = iter(batches * 10_000)

    def take() -> float:
        start = time.process_time()
        for _ in range(steps):
            _, loss = objective(next(endless))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
        return (time.process_time() - start) / steps

    take()  # to warm up
    return take


def table(data: TrainingSet, name: str, backbones: list[str], size: int, rounds: int, steps: int) -> list[str]:
    """Rows of the table: seconds of an epoch of each backbone alone, and with each alignment, × the backbone's."""
    rows, count = [], -(-len(data.user_T) // size)
    for backbone in backbones:
        configs = {a: None if (kind := ALIGNMENTS[a]) is None else kind() for a in ("none", "fettle", "cross", "prime")}
        takes = {a: block_of_steps(data, backbone, config, size, steps) for a, config in configs.items()}
        seconds = [{a: take() for a, take in takes.items()} for _ in range(rounds)]
        middle = {a: statistics.median(each[a] for each in seconds) * count for a in takes}
        ratios = {a: statistics.median(each[a] / each["none"] for each in seconds) for a in takes}
        cells = [f"{middle[a]:.2f} s ({ratios[a]:.1f} ×)" for a in takes if a != "none"]
        rows.append(f"| {name}, {count} steps | {backbone} | {middle['none']:.2f} s | {' | '.join(cells)} |")
    return rows


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.alignment_cost", description=__doc__)
    parser.add_argument("--data", nargs="+", default=["tiktok", "baby"])
    parser.add_argument("--backbones", nargs="+", choices=list(BACKBONES), default=["bpr", "lightgcn", "freedom"])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="small sizes: for correctness, not for time")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    print("| data | backbone | alone | + FETTLE | + CROSS | + PRIME |\n| :-- | :-- | --: | --: | --: | --: |")
    for name in options.data:
        data = generated(60, 50, 400, (8, 6)) if options.quick else real_or_generated(name)
        size = 64 if options.quick else 2048
        for row in table(data, name, options.backbones, size, options.rounds, options.steps):
            print(row, flush=True)


if __name__ == "__main__":
    main()
