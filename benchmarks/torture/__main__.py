"""Attack crossrec, and print what came of it. Exit code 1 if something happened that must not.

python -m benchmarks.torture                  # about five minutes
python -m benchmarks.torture --seconds 3600
python -m benchmarks.torture --only kills --seed 7
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.torture.arena import Arena, Outcomes
from benchmarks.torture.attacks import disks, kills, memory, races
from benchmarks.torture.damage import mutations
from benchmarks.torture.hostile import crowds, hostile_requests
from benchmarks.torture.process import preload
from benchmarks.torture.world import build

ATTACKS: dict[str, tuple[Callable[[Arena], None], float]] = {
    "kills": (kills, 0.28),
    "disks": (disks, 0.22),
    "mutations": (mutations, 0.2),
    "races": (races, 0.1),
    "memory": (memory, 0.1),
    "requests": (hostile_requests, 0.06),
    "crowds": (crowds, 0.04),
}
"""Attack → its function and its share of the time."""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.torture", description=__doc__)
    parser.add_argument("--seconds", type=float, default=270, help="time of all attacks; each makes some trials anyhow")
    parser.add_argument("--only", nargs="+", choices=ATTACKS, default=list(ATTACKS))
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    preload()
    total = sum(ATTACKS[name][1] for name in options.only)
    results = []
    with tempfile.TemporaryDirectory() as folder:
        world = Path(folder) / "world"
        tasks = build(world, random.Random(f"world {options.seed}"))
        print("| attack | trials | seconds | what came of it | wrong |")
        print("| :-- | --: | --: | :-- | --: |")
        for name in options.only:
            attack, share = ATTACKS[name]
            arena = Arena(name, world, tasks, options.seed, options.seconds * share / total)
            started = time.monotonic()
            attack(arena)
            results.append(arena.result)
            print(_row(arena.result, time.monotonic() - started), flush=True)
    for result in results:
        for failure in result.failures:
            print(f"FAILED: {failure}")
    return 1 if any(result.failures for result in results) else 0


def _row(result: Outcomes, seconds: float) -> str:
    counts = ", ".join(f"{outcome} {count:,}" for outcome, count in result.outcomes.most_common())
    return f"| {result.name} | {result.trials:,} | {seconds:.0f} | {counts} | {len(result.failures)} |"


if __name__ == "__main__":
    sys.exit(main())
