"""The rows of the table: one function each, ``quick`` for small sizes; every one first checks that both sides agree."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks import plain
from benchmarks.harness import Result, extra_memory_mb, in_turn, median_seconds
from benchmarks.worlds import generated, real_or_like
from crossrec.alignment import CrossConfig
from crossrec.alignment.clusters import item_cluster_loss, user_cluster_loss
from crossrec.backbones.lightgcn import LightGCNConfig
from crossrec.data.sampling import Sampler
from crossrec.evaluation import HeldOut, evaluate_splits
from crossrec.graph import co_occurrence_neighbors
from crossrec.objective import Objective
from crossrec.randomness import torch_generator
from crossrec.types import ID, Batch, TrainingSet

PAPER = {"prototypes_itv": 10_240, "prototypes_ui": 20_480}


def clusters(quick: bool) -> list[Result]:
    """Both cluster losses, forward and backward: on distinct pairs, and on a batch of TikTok, whose repeats merge."""
    itv, ui, rounds = (96, 160, 1) if quick else (PAPER["prototypes_itv"], PAPER["prototypes_ui"], 5)
    data, source = (generated(60, 50, 400), "generated") if quick else real_or_like("tiktok")
    results = []
    for name, kind in ((f"cluster terms, P {itv:,} and {ui:,}, distinct pairs", "distinct"), (source, "batch")):
        ours, theirs, leaves = cluster_terms(kind, data, itv, ui, 64 if quick else 2048)
        agree(ours, theirs, leaves)
        seconds = in_turn(lambda f=ours: _run(f), lambda f=theirs: _run(f), rounds)
        sides = ("ours", "plain") if kind == "distinct" else ()
        memory = [extra_memory_mb("clusters", side, kind, str(itv), str(ui)) for side in sides]
        title = name if kind == "distinct" else f"the same on a batch of {source}"
        target = "6 × faster, 8 × less memory; stretch 12 ×"
        results.append(Result(title, *seconds, *memory, target=target))
    return results


def cluster_terms(
    kind: str, data: TrainingSet, itv: int, ui: int, size: int
) -> tuple[Callable[[], Tensor], Callable[[], Tensor], list[Tensor]]:
    """Sum of Equations 11 and 12 for three modalities, both ways, and the tensors that it has gradients by."""
    batch = next(Sampler(data, size).epoch(torch_generator(0, "sampling")))
    draw = torch.Generator().manual_seed(1)
    user_B, item_B = batch.user_B, batch.item_B
    if kind == "distinct":
        user_B = item_B = torch.arange(len(user_B))
    item_N, index_B, count_N = torch.unique(item_B, return_inverse=True, return_counts=True)
    user_N, user_index_B = torch.unique(user_B, return_inverse=True)

    def leaf(rows: int) -> Tensor:
        return torch.randn(rows, 64, generator=draw).requires_grad_()

    item, user = [leaf(len(item_N)) for _ in range(3)], leaf(len(user_N))
    codebook_itv, codebook_ui = leaf(itv), leaf(ui)
    temperature = torch.tensor(0.2, requires_grad=True)

    def ours() -> Tensor:
        pairs = (user_index_B, index_B)
        return item_cluster_loss(item, codebook_itv, temperature=temperature, weight_N=count_N) + user_cluster_loss(
            user, item[0], codebook_ui, temperature=temperature, pairs=pairs
        )

    def theirs() -> Tensor:
        written_out = [vector[index_B] for vector in item]
        return plain.item_clusters(written_out, codebook_itv, temperature) + plain.user_clusters(
            user[user_index_B], written_out[0], codebook_ui, temperature
        )

    return ours, theirs, [*item, user, codebook_itv, codebook_ui, temperature]


def agree(ours: Callable[[], Tensor], theirs: Callable[[], Tensor], leaves: list[Tensor]) -> None:
    """Same value and gradients to 1e-4 of the largest entry (the plain side is float32 as well)."""
    values, gradients = [], []
    for side in (ours, theirs):
        value = side()
        values.append(value.detach())
        gradients.append(torch.autograd.grad(value, leaves))
    torch.testing.assert_close(*values, rtol=1e-4, atol=1e-5)
    for mine, other in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-3, atol=1e-4 * float(other.abs().max()))


def _run(loss: Callable[[], Tensor]) -> None:
    loss().backward()


def step(quick: bool) -> list[Result]:
    """A step of LightGCN + CROSS: against its matrix products alone, and against LightGCN's own step."""
    data, source = (generated(60, 50, 400, (8, 6)), "generated") if quick else real_or_like("tiktok")
    size, rounds = (64, 1) if quick else (2048, 15)
    results = []
    for name, counts in (("the paper's prototypes", PAPER), ("default prototypes", {})):
        counts = dict.fromkeys(counts, 32) if quick else counts
        config = CrossConfig.parse(counts)
        ours, batch, objective = make_step(data, config, size)
        products = matrix_products(objective, batch)
        title = f"CROSS step on LightGCN, {source}, {name}"
        seconds = in_turn(ours, products, max(1, rounds // 3) if counts else rounds)
        note = f"'plain' is the step's matrix products alone, so that the step takes {1 / seconds[2]:.1f} × their time"
        target = "≤ 3 × its products; stretch 1.7 ×" if counts else ""
        results.append(Result(title, *seconds, target=target, note=note))
        if not counts or quick:
            alone, _, _ = make_step(data, None, size)
            seconds = in_turn(ours, alone, rounds)
            note = f"'plain' is LightGCN's own step; CROSS takes {1 / seconds[2]:.1f} × its time"
            target = "≤ 7 × the backbone's; stretch 4 ×"
            results.append(Result(f"{title}, against LightGCN alone", *seconds, target=target, note=note))
    return results


def make_step(
    data: TrainingSet, alignment: CrossConfig | None, size: int
) -> tuple[Callable[[], None], Batch, Objective]:
    """One optimisation step over the batches of an epoch in turn, after some that warm up."""
    objective = Objective(LightGCNConfig(), alignment, data, 0).train()
    optimizer = torch.optim.Adam(objective.parameters(), lr=1e-3, fused=True)
    batches = [b for b in Sampler(data, size).epoch(torch_generator(0, "sampling")) if len(b) == size]
    turn = iter(batches * 1000)

    def one() -> None:
        _, loss = objective(next(turn))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    for _ in range(3):
        one()
    return one, batches[0], objective


def matrix_products(objective: Objective, batch: Batch) -> Callable[[], None]:
    """The dense products that a step of CROSS cannot do without, of their shapes, into memory that is there."""
    cross = objective.cross
    assert cross is not None
    assert cross.codebook_itv is not None
    assert cross.codebook_ui is not None
    with torch.no_grad():
        reps = objective.backbone.propagate()
        view = cross._look(reps, batch, with_neighbors=True)
        _, supported = cross.strengths(reps, batch)
    dim, n, users = reps.item_IL.shape[1], len(view.item_N), len(view.distinct_user_L)
    shapes = []
    for m in range(len(cross.modalities)):
        shapes += [(n, dim, n), (n, n, dim), (n, n, dim)]  # neighbours: logits, both gradients
        shapes += [(n, dim, len(cross.codebook_itv))] + [(n, len(cross.codebook_itv), dim)] * 4
        for other in range(len(cross.modalities)):
            if rows := int(supported[m, other].sum()):
                shapes += [(rows, dim, n), (rows, n, dim)] + [(rows, dim, dim)] * 3
    for rows in (users, n):
        shapes += [(rows, dim, len(cross.codebook_ui))] + [(rows, len(cross.codebook_ui), dim)] * 4
    for projection in cross.projections.values():
        shapes += [(len(view.table[ID]), projection.weight.shape[1], dim)] * 2
    made = [(torch.randn(a, b), torch.randn(b, c), torch.empty(a, c)) for a, b, c in shapes]

    def products() -> None:
        for left, right, out in made:
            torch.mm(left, right, out=out)

    return products


def epoch(quick: bool) -> list[Result]:
    """A training epoch of LightGCN, 3 layers, sampling included; the plain one has a COO matrix and a loop of draws."""
    data, source = (generated(60, 50, 400), "generated") if quick else real_or_like("baby")
    size = 64 if quick else 2048
    objective = Objective(LightGCNConfig(), None, data, 0).train()
    optimizer = torch.optim.Adam(objective.parameters(), lr=1e-3, fused=True)
    sampler, generator = Sampler(data, size), torch_generator(0, "sampling")
    backbone: Any = objective.backbone
    reference = plain.LightGCN(data, backbone.user.detach(), backbone.item.detach())
    batch = next(Sampler(data, size).epoch(torch_generator(1, "sampling")))
    assert batch.negative_B is not None
    with torch.no_grad():
        expected = reference.loss(batch.user_B, batch.item_B, batch.negative_B)
    torch.testing.assert_close(objective(batch)[1].detach(), expected, rtol=1e-5, atol=1e-7)
    their_optimizer = torch.optim.Adam(reference.parameters(), lr=1e-3)

    def ours() -> None:
        for batch in sampler.epoch(generator):
            _, loss = objective(batch)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()

    def theirs() -> None:
        negative_T, order = torch.tensor(plain.negatives(data, 0)), torch.randperm(len(data.user_T))
        for start in range(0, len(order), size):
            part = order[start : start + size]
            loss = reference.loss(data.user_T[part], data.item_T[part], negative_T[part])
            their_optimizer.zero_grad()
            loss.backward()
            their_optimizer.step()

    seconds = in_turn(ours, theirs, 1 if quick else 3)
    return [Result(f"LightGCN epoch, {source}", *seconds, target="≤ 1.4 s, ≥ 4 × plain; stretch 6 ×")]


def ranking(quick: bool) -> list[Result]:
    """Validation and test of every user, all metrics at 10 and 20."""
    data, source = (generated(60, 50, 400), "generated") if quick else real_or_like("baby")
    draw = torch.Generator().manual_seed(0)
    held = {}
    for split in ("valid", "test"):
        pairs = torch.arange(data.num_users), torch.randint(data.num_items, (data.num_users,), generator=draw)
        held[split] = HeldOut.build(data.user_T, data.item_T, *pairs, data.num_users, data.num_items)
    user = torch.randn(data.num_users, 64, generator=draw)
    item = torch.randn(data.num_items, 64, generator=draw)
    known: dict[int, set[int]] = {}
    for u, i in zip(data.user_T.tolist(), data.item_T.tolist(), strict=True):
        known.setdefault(u, set()).add(i)
    wanted = {
        split: {int(u): {int(i)} for u, i in zip(h.user_E[h.row_P], h.item_P, strict=True)} for split, h in held.items()
    }

    def ours() -> dict[str, dict[str, float]]:
        return evaluate_splits(user, item, held)

    def theirs() -> dict[str, dict[str, float]]:
        return {split: plain.ranking(user, item, known, w) for split, w in wanted.items()}

    mine, other = ours(), theirs()
    for split in held:
        for name, value in other[split].items():  # topk may order equal float32 scores otherwise
            np.testing.assert_allclose(mine[split][name], value, rtol=2e-3)
    seconds = in_turn(ours, theirs, 1 if quick else 3)
    return [Result(f"ranking all users of {source}, validation and test", *seconds, target="≥ 15 ×; stretch 30 ×")]


def neighbors(quick: bool) -> list[Result]:
    """The K = 5 most similar items by their users, for a set of the size of Amazon Sports; and a million items."""
    data = generated(60, 50, 400) if quick else generated(35_598, 18_357, 237_000)

    def ours() -> Tensor:
        return co_occurrence_neighbors(data.user_T, data.item_T, data.num_items, 5)

    for mine, other in zip(ours().tolist(), plain.neighbors(data, 5), strict=True):
        assert sum(n >= 0 for n in mine) == len(other)
    seconds = in_turn(ours, lambda: plain.neighbors(data, 5), 1 if quick else 2)
    results = [Result(f"neighbours of {data.num_items:,} items", *seconds, target="≤ 0.2 s")]
    size = ("50", "400") if quick else ("1000000", "20000000")
    started = time.perf_counter()
    memory = extra_memory_mb("neighbors", *size)
    title = f"neighbours of {int(size[0]):,} items, {int(size[1]):,} pairs"
    results.append(Result(title, time.perf_counter() - started, ours_mb=memory, target="≤ 6 GiB"))
    return results


def catalogue(quick: bool) -> list[Result]:
    """Ranking 10,000 users over a million items: memory, and that the size of a chunk changes nothing."""
    items, users = ("50", "20") if quick else ("1000000", "10000")
    started = time.perf_counter()
    memory = extra_memory_mb("ranking", items, users, "256")
    title = f"ranking {int(users):,} users over {int(items):,} items"
    return [Result(title, time.perf_counter() - started, ours_mb=memory, target="≤ 4 GiB, same for every chunk")]


def start(quick: bool) -> list[Result]:
    """What a user waits for before anything happens."""
    rounds = 1 if quick else 5

    def run(*command: str) -> Callable[[], None]:
        return lambda: subprocess.run([sys.executable, *command], check=True, stdout=subprocess.DEVNULL) and None

    return [
        Result("crossrec --help", median_seconds(run("-m", "crossrec", "--help"), rounds), target="≤ 0.5 s"),
        Result("import crossrec", median_seconds(run("-c", "import crossrec"), rounds)),
        Result(
            "import crossrec and use of Cross (loads torch)",
            median_seconds(run("-c", "import crossrec; crossrec.Cross"), rounds),
        ),
    ]


CASES = {f.__name__: f for f in (clusters, step, epoch, ranking, neighbors, catalogue, start)}
