"""The rows of the table: what each case compares, how many rounds it takes, and its target."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

from benchmarks.harness import Result, alone, compare, median_seconds


def clusters(quick: bool) -> list[Result]:
    """Both cluster losses, forward and backward: on distinct pairs, and on a batch of TikTok, whose repeats merge."""
    target = "6 × faster, 8 × less memory; stretch 12 ×"
    return [
        compare("cluster terms, P 10,240 and 20,480", "clusters", quick=quick, rounds=5, target=target, memory=True),
        compare("the same on a batch of TikTok", "clusters_batch", quick=quick, rounds=5, target=target, memory=True),
    ]


def contrast(quick: bool) -> list[Result]:
    """A direction of the item level, forward and backward, at its initial temperature and at a learnt one."""
    name = "a direction of the item level, 1,356 items"
    return [
        compare(f"{name}, λ_f {value}", case, quick=quick, rounds=15)
        for value, case in ((0.1, "contrast"), (0.008, "contrast_sharp"))
    ]


def step(quick: bool) -> list[Result]:
    """A step of LightGCN + CROSS: against its matrix products alone, LightGCN's own step, and itself in bfloat16."""
    paper, default = "CROSS step, the paper's prototypes", "CROSS step, default prototypes"
    rows = (
        (f"{paper}, and its matrix products", "step_paper", "products", "≤ 3 ×; 1.7 ×", 7),
        (f"{default}, and its matrix products", "step", "products", "", 21),
        (f"{default}, and LightGCN's own", "step", "backbone", "≤ 7 ×; stretch 4 ×", 21),
        (f"{paper}, products in bfloat16, and all in float32", "step_paper_half", "float32", "", 7),
        (f"{default}, products in bfloat16, and all in float32", "step_half", "float32", "", 21),
    )
    results = []
    for name, case, other, target, rounds in rows:
        result = compare(f"{name} (TikTok)", case, quick=quick, rounds=rounds, target=target, plain=other)
        assert result.ratio is not None
        result.note = f"the step takes {1 / result.ratio:.1f} × the time of what stands under 'plain'"
        results.append(result)
    return results


def epoch(quick: bool) -> list[Result]:
    """A training epoch of LightGCN with 3 layers and sampling; the plain side uses a COO matrix and a loop of draws."""
    return [compare("LightGCN epoch, Baby", "epoch", quick=quick, rounds=3, target="≤ 1.4 s, ≥ 4 ×; stretch 6 ×")]


def ranking(quick: bool) -> list[Result]:
    """Validation and test of every user, all metrics at 10 and 20."""
    return [
        compare("ranking Baby, validation and test", "ranking", quick=quick, rounds=5, target="≥ 15 ×; stretch 30 ×")
    ]


def neighbors(quick: bool) -> list[Result]:
    """The K = 5 most similar items by their users, for a set of the size of Amazon Sports; and a million items."""
    name = "neighbours of a million items, 20 million pairs"
    return [
        compare("neighbours of 18,357 items", "neighbors", quick=quick, rounds=3, target="≤ 0.2 s"),
        alone(name, "neighbors_large", quick=quick, rounds=1, target="≤ 6 GiB"),
    ]


def catalogue(quick: bool) -> list[Result]:
    """Ranking 10,000 users over a million items."""
    name = "ranking 10,000 users over a million items"
    return [alone(name, "catalogue", quick=quick, rounds=1, target="≤ 4 GiB, the same for every chunk")]


def start(quick: bool) -> list[Result]:
    """Time until the command line and the import respond."""
    rounds = 1 if quick else 5

    def run(*command: str) -> Callable[[], Any]:
        return lambda: subprocess.run([sys.executable, *command], check=True, stdout=subprocess.DEVNULL)

    return [
        Result("crossrec --help", median_seconds(run("-m", "crossrec", "--help"), rounds), target="≤ 0.5 s"),
        Result("import crossrec", median_seconds(run("-c", "import crossrec"), rounds)),
    ]


CASES = {f.__name__: f for f in (clusters, contrast, step, epoch, ranking, neighbors, catalogue, start)}
