"""Both sides of every case: the function to time, and numbers that both sides must agree on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from benchmarks import plain
from benchmarks.datasets import generated, real_or_generated
from crossrec.alignment import CrossConfig
from crossrec.alignment.clusters import item_cluster_loss, user_cluster_loss
from crossrec.backbones.lightgcn import LightGCNConfig
from crossrec.evaluation import HeldOut, evaluate, evaluate_splits
from crossrec.graph import co_occurrence_neighbors
from crossrec.losses import info_nce
from crossrec.objective import Objective
from crossrec.ops.blockwise import Workspace
from crossrec.randomness import torch_generator
from crossrec.sampling import Sampler
from crossrec.types import ID, Batch, TrainingSet

PAPER = {"prototypes_itv": 10_240, "prototypes_ui": 20_480}
Side = tuple[Callable[[], Any], list[float] | None]
"""The function to time, and the numbers to compare, None where there is nothing to compare."""


def training_data(name: str, quick: bool) -> TrainingSet:
    """TikTok or Baby, or a toy set if ``quick``."""
    return generated(60, 50, 400, (8, 6)) if quick else real_or_generated(name)


def cluster_side(side: str, quick: bool, *, batch_of_data: bool = False) -> Side:
    """Equations 11 and 12 for three modalities, B = 2,048: summed, with gradients of all inputs."""
    itv, ui, size = (96, 160, 64) if quick else (PAPER["prototypes_itv"], PAPER["prototypes_ui"], 2048)
    data = training_data("tiktok", quick)
    batch = next(Sampler(data, size).epoch(torch_generator(0, "sampling")))
    user_B, item_B = (batch.user_B, batch.item_B) if batch_of_data else (torch.arange(size), torch.arange(size))
    item_N, index_B, count_N = torch.unique(item_B, return_inverse=True, return_counts=True)
    user_N, user_index_B = torch.unique(user_B, return_inverse=True)
    draw = torch.Generator().manual_seed(1)

    def leaf(rows: int) -> Tensor:
        return torch.randn(rows, 64, generator=draw).requires_grad_()

    item, user = [leaf(len(item_N)) for _ in range(3)], leaf(len(user_N))
    codebook_itv, codebook_ui = leaf(itv), leaf(ui)
    temperature = torch.tensor(0.2, requires_grad=True)
    leaves = [*item, user, codebook_itv, codebook_ui, temperature]
    workspace = Workspace()  # as Cross keeps one

    def loss() -> Tensor:
        if side == "ours":
            pairs = (user_index_B, index_B)
            return item_cluster_loss(
                item, codebook_itv, temperature=temperature, weight_N=count_N, workspace=workspace
            ) + user_cluster_loss(user, item[0], codebook_ui, temperature=temperature, pairs=pairs, workspace=workspace)
        written_out = [vector[index_B] for vector in item]
        return plain.item_clusters(written_out, codebook_itv, temperature) + plain.user_clusters(
            user[user_index_B], written_out[0], codebook_ui, temperature
        )

    def run() -> list[Tensor]:
        return [loss(), *torch.autograd.grad(loss(), leaves)] if quick else list(torch.autograd.grad(loss(), leaves))

    return run, [float(x.double().norm()) for x in run()] if quick else None


def contrast_side(side: str, quick: bool, *, temperature: float) -> Side:
    """Items like those of a trained model: near one in thirty others, at right angles to most, opposite to some."""
    draw, size = torch.Generator().manual_seed(0), 60 if quick else 1356
    centre = torch.randn(30, 64, generator=draw).repeat(size // 30 + 1, 1)[:size]
    anchor, candidate = (
        F.normalize(centre + 0.5 * torch.randn(size, 64, generator=draw)).requires_grad_() for _ in range(2)
    )
    learnt, positive = torch.tensor(temperature, requires_grad=True), torch.arange(size)

    def loss() -> Tensor:
        if side == "ours":
            return info_nce(anchor, candidate, positive, temperature=learnt, normalized=True)
        return plain.contrast(anchor, candidate, positive, learnt)

    def run() -> list[Tensor]:
        return list(torch.autograd.grad(loss(), [anchor, candidate, learnt]))

    return run, [float(x.double().norm()) for x in (loss(), *run())] if quick else None


def step_side(
    side: str, quick: bool, *, prototypes: dict[str, int] | None = None, precision: str | None = None
) -> Side:
    """One optimisation step: of CROSS, in float32, of the backbone alone, or its matrix products only."""
    data = training_data("tiktok", quick)
    size = 64 if quick else 2048
    counts = {} if prototypes is None else dict.fromkeys(prototypes, 32) if quick else prototypes
    settings = counts | ({"precision": precision} if side == "ours" else {})
    config = None if side == "backbone" else CrossConfig.parse(settings)
    take_step, batch, objective = make_step(data, config, size)
    return matrix_products(objective, batch) if side == "products" else take_step, None


def make_step(
    data: TrainingSet, alignment: CrossConfig | None, size: int
) -> tuple[Callable[[], None], Batch, Objective]:
    """A function that takes one optimisation step, over the batches of an epoch in turn, after three to warm up."""
    objective = Objective(LightGCNConfig(), alignment, data, 0).train()
    optimizer = torch.optim.Adam(objective.parameters(), lr=1e-3, fused=True)
    batches = [b for b in Sampler(data, size).epoch(torch_generator(0, "sampling")) if len(b) == size]
    endless = iter(batches * 1000)

    def take_step() -> None:
        _, loss = objective(next(endless))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    for _ in range(3):
        take_step()
    return take_step, batches[0], objective


def matrix_products(objective: Objective, batch: Batch) -> Callable[[], None]:
    """The dense matrix products that a step of CROSS needs, of the same shapes, into allocated memory."""
    cross = objective.cross
    assert cross is not None
    assert cross.codebook_itv is not None
    assert cross.codebook_ui is not None
    with torch.no_grad():
        reps = objective.backbone.propagate()
        view = cross._view(reps, batch, with_neighbors=True)
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
    operands = [(torch.randn(a, b), torch.randn(b, c), torch.empty(a, c)) for a, b, c in shapes]

    def products() -> None:
        for left, right, out in operands:
            torch.mm(left, right, out=out)

    return products


def epoch_side(side: str, quick: bool) -> Side:
    data = training_data("baby", quick)
    size = 64 if quick else 2048
    objective = Objective(LightGCNConfig(), None, data, 0).train()
    batch = next(Sampler(data, size).epoch(torch_generator(1, "sampling")))
    assert batch.negative_B is not None
    if side == "ours":
        sampler, generator = Sampler(data, size), torch_generator(0, "sampling")
        optimizer = torch.optim.Adam(objective.parameters(), lr=1e-3, fused=True)
        check = [float(objective(batch)[1])]

        def run() -> None:
            for batch in sampler.epoch(generator):
                _, loss = objective(batch)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()

        return run, check
    backbone: Any = objective.backbone
    reference = plain.LightGCN(data, backbone.user.detach(), backbone.item.detach())
    optimizer = torch.optim.Adam(reference.parameters(), lr=1e-3)

    def run_plain() -> None:
        negative_T, order = torch.tensor(plain.negatives(data, 0)), torch.randperm(len(data.user_T))
        for start in range(0, len(order), size):
            part = order[start : start + size]
            loss = reference.loss(data.user_T[part], data.item_T[part], negative_T[part])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return run_plain, [float(reference.loss(batch.user_B, batch.item_B, batch.negative_B).detach())]


def ranking_side(side: str, quick: bool) -> Side:
    data = training_data("baby", quick)
    draw = torch.Generator().manual_seed(0)
    held = {}
    for split in ("valid", "test"):
        pairs = torch.arange(data.num_users), torch.randint(data.num_items, (data.num_users,), generator=draw)
        held[split] = HeldOut.build(data.user_T, data.item_T, *pairs, data.num_users, data.num_items)
    user = torch.randn(data.num_users, 64, generator=draw)
    item = torch.randn(data.num_items, 64, generator=draw)
    if side == "ours":
        metrics = evaluate_splits(user, item, held)
        return lambda: evaluate_splits(user, item, held), [
            v for split in metrics.values() for _, v in sorted(split.items())
        ]
    items_of: dict[int, set[int]] = {}
    for u, i in zip(data.user_T.tolist(), data.item_T.tolist(), strict=True):
        items_of.setdefault(u, set()).add(i)
    wanted = [{int(u): {int(i)} for u, i in zip(h.user_E[h.row_P], h.item_P, strict=True)} for h in held.values()]

    def run() -> list[dict[str, float]]:
        return [plain.ranking(user, item, items_of, w) for w in wanted]

    return run, [value for split in run() for _, value in sorted(split.items())]


def neighbors_side(side: str, quick: bool, *, large: bool = False) -> Side:
    if large:
        data = generated(60, 50, 400) if quick else generated(2_000_000, 1_000_000, 20_000_000)
    else:
        data = generated(60, 50, 400) if quick else generated(35_598, 18_357, 237_000)
    if side == "ours":

        def ours() -> Tensor:
            return co_occurrence_neighbors(data.user_T, data.item_T, data.num_items, 5)

        return ours, None if large else [float((ours() >= 0).sum())]
    return lambda: plain.neighbors(data, 5), [float(sum(map(len, plain.neighbors(data, 5))))]


def catalogue_side(side: str, quick: bool) -> Side:
    items, users = (50, 20) if quick else (1_000_000, 10_000)
    draw = torch.Generator().manual_seed(0)
    pairs = [torch.randint(items, (users,), generator=draw) for _ in range(2)]
    held = HeldOut.build(torch.arange(users), pairs[0], torch.arange(users), pairs[1], users, items)
    user, item = (torch.randn(n, 64, generator=draw) for n in (users, items))
    return lambda: evaluate(user, item, held), None


SIDES: dict[str, Callable[[str, bool], Side]] = {
    "clusters": cluster_side,
    "clusters_batch": lambda side, quick: cluster_side(side, quick, batch_of_data=True),
    "contrast": lambda side, quick: contrast_side(side, quick, temperature=0.1),
    "contrast_sharp": lambda side, quick: contrast_side(side, quick, temperature=0.008),
    "step": step_side,
    "step_paper": lambda side, quick: step_side(side, quick, prototypes=PAPER),
    "step_half": lambda side, quick: step_side(side, quick, precision="bfloat16"),
    "step_paper_half": lambda side, quick: step_side(side, quick, prototypes=PAPER, precision="bfloat16"),
    "epoch": epoch_side,
    "ranking": ranking_side,
    "neighbors": neighbors_side,
    "neighbors_large": lambda side, quick: neighbors_side(side, quick, large=True),
    "catalogue": catalogue_side,
}
