"""What is measured: the rows of the table, and both sides of each as (what to run, numbers that both must agree on)."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from benchmarks import plain
from benchmarks.harness import Result, alone, compare, median_seconds
from benchmarks.worlds import generated, real_or_like
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


def world(name: str, quick: bool) -> tuple[TrainingSet, str]:
    """The data of a row: TikTok or Baby, or a toy."""
    return (generated(60, 50, 400, (8, 6)), "generated") if quick else real_or_like(name)


def clusters(quick: bool) -> list[Result]:
    """Both cluster losses, forward and backward: on distinct pairs, and on a batch of TikTok, whose repeats merge."""
    target = "6 × faster, 8 × less memory; stretch 12 ×"
    return [
        compare("cluster terms, P 10,240 and 20,480", "clusters", quick=quick, rounds=5, target=target, memory=True),
        compare("the same on a batch of TikTok", "clusters_batch", quick=quick, rounds=5, target=target, memory=True),
    ]


def cluster_side(side: str, quick: bool, *, batch_of_data: bool = False) -> Side:
    """Equations 11 and 12 for three modalities, B = 2,048: summed, with gradients of all inputs."""
    itv, ui, size = (96, 160, 64) if quick else (PAPER["prototypes_itv"], PAPER["prototypes_ui"], 2048)
    data, _ = world("tiktok", quick)
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


def contrast(quick: bool) -> list[Result]:
    """A direction of the item level, forward and backward, at temperatures as they start and as they are learnt."""
    name = "a direction of the item level, 1,356 items"
    return [
        compare(f"{name}, λ_f {value}", case, quick=quick, rounds=15)
        for value, case in ((0.1, "contrast"), (0.008, "contrast_sharp"))
    ]


def contrast_side(side: str, quick: bool, *, temperature: float) -> Side:
    """Items as a trained model has them: near one other in thirty, at right angles to most, opposite to some."""
    draw, size = torch.Generator().manual_seed(0), 60 if quick else 1356
    centre = torch.randn(30, 64, generator=draw).repeat(size // 30 + 1, 1)[:size]
    made = [F.normalize(centre + 0.5 * torch.randn(size, 64, generator=draw)) for _ in range(2)]
    anchor, candidate = (vector.requires_grad_() for vector in made)
    learnt, own = torch.tensor(temperature, requires_grad=True), torch.arange(size)

    def loss() -> Tensor:
        if side == "ours":
            return info_nce(anchor, candidate, own, temperature=learnt, normalized=True)
        return plain.contrast(anchor, candidate, own, learnt)

    def run() -> list[Tensor]:
        return list(torch.autograd.grad(loss(), [anchor, candidate, learnt]))

    return run, [float(x.double().norm()) for x in (loss(), *run())] if quick else None


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


def step_side(
    side: str, quick: bool, *, prototypes: dict[str, int] | None = None, precision: str | None = None
) -> Side:
    """One optimisation step, or the same in float32, or the matrix products in it, or the backbone's own step."""
    data, _ = world("tiktok", quick)
    size = 64 if quick else 2048
    counts = {} if prototypes is None else dict.fromkeys(prototypes, 32) if quick else prototypes
    settings = counts | ({"precision": precision} if side == "ours" else {})
    config = None if side == "backbone" else CrossConfig.parse(settings)
    one, batch, objective = make_step(data, config, size)
    return matrix_products(objective, batch) if side == "products" else one, None


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
    made = [(torch.randn(a, b), torch.randn(b, c), torch.empty(a, c)) for a, b, c in shapes]

    def products() -> None:
        for left, right, out in made:
            torch.mm(left, right, out=out)

    return products


def epoch(quick: bool) -> list[Result]:
    """A training epoch of LightGCN, 3 layers, sampling included; the plain one has a COO matrix and a loop of draws."""
    return [compare("LightGCN epoch, Baby", "epoch", quick=quick, rounds=3, target="≤ 1.4 s, ≥ 4 ×; stretch 6 ×")]


def epoch_side(side: str, quick: bool) -> Side:
    data, _ = world("baby", quick)
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


def ranking(quick: bool) -> list[Result]:
    """Validation and test of every user, all metrics at 10 and 20."""
    return [
        compare("ranking Baby, validation and test", "ranking", quick=quick, rounds=5, target="≥ 15 ×; stretch 30 ×")
    ]


def ranking_side(side: str, quick: bool) -> Side:
    data, _ = world("baby", quick)
    draw = torch.Generator().manual_seed(0)
    held = {}
    for split in ("valid", "test"):
        pairs = torch.arange(data.num_users), torch.randint(data.num_items, (data.num_users,), generator=draw)
        held[split] = HeldOut.build(data.user_T, data.item_T, *pairs, data.num_users, data.num_items)
    user = torch.randn(data.num_users, 64, generator=draw)
    item = torch.randn(data.num_items, 64, generator=draw)
    if side == "ours":
        found = evaluate_splits(user, item, held)
        return lambda: evaluate_splits(user, item, held), [
            v for split in found.values() for _, v in sorted(split.items())
        ]
    known: dict[int, set[int]] = {}
    for u, i in zip(data.user_T.tolist(), data.item_T.tolist(), strict=True):
        known.setdefault(u, set()).add(i)
    wanted = [{int(u): {int(i)} for u, i in zip(h.user_E[h.row_P], h.item_P, strict=True)} for h in held.values()]

    def run() -> list[dict[str, float]]:
        return [plain.ranking(user, item, known, w) for w in wanted]

    return run, [value for split in run() for _, value in sorted(split.items())]


def neighbors(quick: bool) -> list[Result]:
    """The K = 5 most similar items by their users, for a set of the size of Amazon Sports; and a million items."""
    name = "neighbours of a million items, 20 million pairs"
    return [
        compare("neighbours of 18,357 items", "neighbors", quick=quick, rounds=3, target="≤ 0.2 s"),
        alone(name, "neighbors_large", quick=quick, rounds=1, target="≤ 6 GiB"),
    ]


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


def catalogue(quick: bool) -> list[Result]:
    """Ranking 10,000 users over a million items."""
    name = "ranking 10,000 users over a million items"
    return [alone(name, "catalogue", quick=quick, rounds=1, target="≤ 4 GiB, the same for every chunk")]


def catalogue_side(side: str, quick: bool) -> Side:
    items, users = (50, 20) if quick else (1_000_000, 10_000)
    draw = torch.Generator().manual_seed(0)
    pairs = [torch.randint(items, (users,), generator=draw) for _ in range(2)]
    held = HeldOut.build(torch.arange(users), pairs[0], torch.arange(users), pairs[1], users, items)
    user, item = (torch.randn(n, 64, generator=draw) for n in (users, items))
    return lambda: evaluate(user, item, held), None


def start(quick: bool) -> list[Result]:
    """What a user waits for before anything happens."""
    rounds = 1 if quick else 5

    def run(*command: str) -> Callable[[], Any]:
        return lambda: subprocess.run([sys.executable, *command], check=True, stdout=subprocess.DEVNULL)

    return [
        Result("crossrec --help", median_seconds(run("-m", "crossrec", "--help"), rounds), target="≤ 0.5 s"),
        Result("import crossrec", median_seconds(run("-c", "import crossrec"), rounds)),
    ]


CASES = {f.__name__: f for f in (clusters, contrast, step, epoch, ranking, neighbors, catalogue, start)}
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
