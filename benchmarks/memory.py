"""A measured call in a process of its own; ``python -m benchmarks.memory CASE …`` prints its extra peak memory (MB)."""

from __future__ import annotations

import sys
from collections.abc import Callable

import torch

from benchmarks.harness import resident_mb


def main(case: str, *arguments: str) -> float:
    """Peak resident memory of the case above what the process held when all of its inputs were there."""
    action = {"clusters": clusters, "neighbors": neighbors, "ranking": ranking}[case](*arguments)
    before = resident_mb()
    action()
    return resident_mb("VmHWM") - before


def clusters(side: str, kind: str, itv: str, ui: str) -> Callable[[], object]:
    from benchmarks.cases import cluster_terms
    from benchmarks.worlds import generated, real_or_like

    quick = int(itv) < 1000
    data = generated(60, 50, 400) if quick else real_or_like("tiktok")[0]
    # A small pair of losses first: what the libraries load at first use is not the losses' memory.
    for loss in cluster_terms(kind, data, 32, 32, 32)[:2]:
        loss().backward()
    both = cluster_terms(kind, data, int(itv), int(ui), 64 if quick else 2048)
    loss = both[0] if side == "ours" else both[1]
    return lambda: loss().backward()


def neighbors(items: str, pairs: str) -> Callable[[], object]:
    from benchmarks.worlds import generated
    from crossrec.graph import co_occurrence_neighbors

    data = generated(max(60, int(pairs) // 10), int(items), int(pairs))
    return lambda: co_occurrence_neighbors(data.user_T, data.item_T, data.num_items, 5)


def ranking(items: str, users: str, chunk: str) -> Callable[[], object]:
    from crossrec.evaluation import HeldOut, evaluate

    draw = torch.Generator().manual_seed(0)
    count = int(users)
    pairs = [torch.randint(int(items), (count,), generator=draw) for _ in range(2)]
    everyone = torch.arange(count)
    held = HeldOut.build(everyone, pairs[0], everyone, pairs[1], count, int(items))
    user, item = (torch.randn(n, 64, generator=draw) for n in (count, int(items)))
    return lambda: evaluate(user, item, held, chunk=int(chunk))


if __name__ == "__main__":
    print(main(*sys.argv[1:]))
