"""First derivatives of every loss by finite differences, and zero gradients where the method stops them."""

from __future__ import annotations

import pytest
import torch
from torch.autograd import gradcheck

from crossrec.alignment.clusters import item_cluster_loss, nearest_prototype, sinkhorn, user_cluster_loss
from crossrec.alignment.item_level import Aligner, item_level_loss
from crossrec.alignment.neighbors import neighbor_loss, neighborhood
from crossrec.alignment.projection import Projection
from crossrec.alignment.strength import compensation, mean_preference, strength
from crossrec.alignment.tuning import direction_tuning_loss
from crossrec.graph import bipartite_adjacency, propagate_mean
from crossrec.losses import bpr, embedding_norm, info_nce, logsumexp_dot
from crossrec.ops.vectors import gather_rows, l2_normalize
from crossrec.types import Representations

from .worlds import close, double, generator, make, randn


def leaf(seed: int, *shape: int) -> torch.Tensor:
    return randn(seed, *shape).requires_grad_()


def warm(value: float) -> torch.Tensor:
    return torch.tensor(value, dtype=torch.float64, requires_grad=True)


HELPERS = {
    "unit": (l2_normalize, (leaf(0, 4, 3),)),
    "cosine": (lambda a, b: (l2_normalize(a) * l2_normalize(b)).sum(-1), (leaf(0, 4, 3), leaf(1, 4, 3))),
    "rows": (lambda table: gather_rows(table, torch.tensor([2, 0, 2, 2])), (leaf(0, 4, 3),)),
    "bpr": (bpr, (leaf(0, 5), leaf(1, 5))),
    "embedding_norm": (embedding_norm, (leaf(0, 4, 3), leaf(1, 4, 3), leaf(2, 4, 3))),
    "info_nce": (
        lambda a, c, t: info_nce(a, c, torch.tensor([1, 1, 4]), temperature=t),
        (leaf(0, 3, 2), leaf(1, 5, 2), warm(0.3)),
    ),
    "info_nce, fixed temperature": (
        lambda a, c: info_nce(a, c, torch.tensor([1, 1, 4]), temperature=0.3),
        (leaf(0, 3, 2), leaf(1, 5, 2)),
    ),
    "logsumexp_dot": (logsumexp_dot, (leaf(0, 4, 2), leaf(1, 3, 2))),
    "logsumexp_dot, weighted": (
        lambda x, y: logsumexp_dot(x, y, double([1.0, 3.0, 0.0, 2.0])),
        (leaf(0, 4, 2), leaf(1, 3, 2)),
    ),
    "logsumexp_dot, scaled on": (lambda x, y: 3 * logsumexp_dot(x, y) ** 2, (leaf(0, 4, 2), leaf(1, 3, 2))),
    "logsumexp_dot with itself": (lambda x: logsumexp_dot(x, x), (leaf(0, 4, 2),)),
    "neighborhood": (
        lambda table: neighborhood(table, torch.tensor([[0, 2, -1], [-1, -1, -1], [1, 1, 3]])),
        (leaf(0, 4, 3),),
    ),
    "propagate_mean": (
        lambda ego: propagate_mean(bipartite_adjacency(torch.tensor([0, 0, 1]), torch.tensor([0, 1, 1]), 2, 3), ego, 2),
        (leaf(0, 5, 2),),
    ),
}


@pytest.mark.parametrize(("function", "inputs"), HELPERS.values(), ids=HELPERS)
def test_helpers(function, inputs):
    assert gradcheck(function, inputs)


@pytest.mark.parametrize("negatives", ["neighborhoods", "items"])
def test_neighbor_loss(negatives):
    assert gradcheck(
        lambda item, around, t: neighbor_loss(item, around, temperature=t, negatives=negatives),
        (leaf(0, 4, 3), leaf(1, 4, 3), warm(0.4)),
    )


def test_item_level_loss():
    target = {"a": randn(3, 4, 3), "b": randn(4, 4, 3)}
    chosen = {("a", "b"): torch.tensor([0, 2, 3]), ("b", "a"): torch.tensor([1])}
    assert gradcheck(
        lambda ab, ba, t: item_level_loss({("a", "b"): ab, ("b", "a"): ba}, target, chosen, temperature=t),
        (leaf(0, 3, 3), leaf(1, 1, 3), warm(0.4)),
    )


def test_direction_tuning_loss():
    chosen = {("a", "b"): torch.tensor([0, 2, 3]), ("b", "a"): torch.tensor([1])}
    strengths = {"a": randn(3, 4), "b": randn(4, 4)}
    assert gradcheck(
        lambda ab, ba: direction_tuning_loss({("a", "b"): ab, ("b", "a"): ba}, randn(2, 4, 3), strengths, chosen),
        (leaf(0, 3, 3), leaf(1, 1, 3)),
    )


@pytest.mark.parametrize("kind", ["linear", "ffn"])
def test_aligner(kind):
    aligner = Aligner(3, kind, generator(0)).double()
    names = [name for name, _ in aligner.named_parameters()]
    values = [leaf(7 + number, *parameter.shape) for number, parameter in enumerate(aligner.parameters())]
    assert gradcheck(
        lambda item, *weights: torch.func.functional_call(aligner, dict(zip(names, weights, strict=True)), (item,)),
        (leaf(1, 4, 3), *values),
    )


def test_projection():
    projection = Projection(randn(0, 5, 4).float(), 3, generator(0)).double()
    assert gradcheck(
        lambda weight: torch.func.functional_call(projection, {"weight": weight}, (torch.tensor([0, 3, 3]),)),
        (leaf(1, 3, 4),),
    )


# One-hot codes do not move under a small step, so differences see exactly what is to be differentiated. Sinkhorn codes
# do move; test_cross.py compares their losses with a reference that holds them.


@pytest.mark.parametrize("weight", [None, double([1.0, 2.0, 1.0, 5.0])])
def test_item_cluster_loss(weight):
    assert gradcheck(
        lambda a, b, c, book, t: item_cluster_loss([a, b, c], book, temperature=t, weight_N=weight, clusterer="kmeans"),
        (leaf(0, 4, 2), leaf(1, 4, 2), leaf(2, 4, 2), leaf(3, 5, 2), warm(0.4)),
    )


@pytest.mark.parametrize("pairs", [None, (torch.tensor([0, 1, 1, 2, 0]), torch.tensor([3, 3, 0, 1, 2]))])
def test_user_cluster_loss(pairs):
    users = 4 if pairs is None else 3
    assert gradcheck(
        lambda u, i, book, t: user_cluster_loss(u, i, book, temperature=t, pairs=pairs, clusterer="kmeans"),
        (leaf(0, users, 2), leaf(1, 4, 2), leaf(3, 5, 2), warm(0.4)),
    )


# --- what must not pass a gradient -----------------------------------------------------------------------------------


def test_strength_compensation_and_codes_pass_none():
    user, item = leaf(0, 5, 3), leaf(1, 3, 3)
    preference = mean_preference(user, torch.tensor([0, 1, 1, 2, 0]), 3)
    scores = leaf(2, 4, 3)
    outputs = {
        "mean_preference": preference,
        "strength": strength(user[:3], item),
        "compensation": compensation(leaf(3, 4)),
        "sinkhorn": sinkhorn(scores),
        "sinkhorn of logarithms": sinkhorn(scores * 1000),
        "nearest_prototype": nearest_prototype(scores),
    }
    assert not [name for name, value in outputs.items() if value.requires_grad]


def gradient(loss, tensor):
    (outputs,) = torch.autograd.grad(loss, tensor, retain_graph=True, allow_unused=True)
    return torch.zeros_like(tensor) if outputs is None else outputs


def test_targets_of_the_item_level_pass_none():
    aligned, target = leaf(0, 2, 3), {"a": leaf(1, 4, 3), "b": leaf(2, 4, 3)}
    loss = item_level_loss({("a", "b"): aligned}, target, {("a", "b"): torch.tensor([0, 3])}, temperature=0.2)
    assert gradient(loss, aligned).abs().sum() > 0
    for vectors in target.values():
        assert (gradient(loss, vectors) == 0).all()


def test_strengths_and_users_of_the_tuning_pass_none():
    aligned, preference = leaf(0, 2, 3), leaf(1, 4, 3)
    strengths = {"a": leaf(2, 4), "b": leaf(3, 4)}
    loss = direction_tuning_loss({("a", "b"): aligned}, preference, strengths, {("a", "b"): torch.tensor([0, 3])})
    assert gradient(loss, aligned).abs().sum() > 0
    for held in (preference, *strengths.values()):
        assert (gradient(loss, held) == 0).all()


@pytest.mark.parametrize("rule", ["dynamic", "one_way", "bidirectional", "topmost"])
def test_users_learn_from_clusters_alone(rule):
    case = make(2, direction=rule, zeros=False)
    user = case.reps.user_UL.requires_grad_()
    case.reps.item_IL.requires_grad_()
    terms = case.terms()
    for name in ("item", "tuning", "neighbor", "cluster_items"):
        assert (gradient(terms[name], user) == 0).all(), name
    assert gradient(terms["cluster_users"], user).abs().sum() > 0


def test_a_modality_that_is_only_a_target_is_not_moved():
    # every item's id pleases its user and its other modality does not: one-way, all directions lead to the id
    case = make(1, projected=(), unprojected=("touch",), direction="one_way", users=3, items=3, zeros=False)
    user = randn(5, 3, 3)
    home = user.clone().requires_grad_()
    away = (-user).requires_grad_()
    case.reps = Representations(user, home, {"touch": away})
    case.batch = type(case.batch)(torch.arange(3), torch.arange(3))
    terms = case.terms()
    for name in ("item", "tuning"):
        assert (gradient(terms[name], home) == 0).all(), name
        assert gradient(terms[name], away).abs().sum() > 0, name


@pytest.mark.parametrize(("start", "moves"), [(0.0005, False), (0.3, True), (0.7, False)])
def test_lambda_f_is_clamped(start, moves):
    case = make(4, lambda_f=start)
    parameter = case.cross.lambda_f
    terms = case.terms()
    assert (gradient(terms["item"], parameter).item() != 0) is moves
    with torch.no_grad():
        parameter.clamp_(0.001, 0.5)
    close(terms["item"], case.terms()["item"])


@pytest.mark.parametrize(("start", "moves"), [(0.001, False), (0.3, True), (1.7, False)])
def test_lambda_c_is_clamped(start, moves):
    case = make(4, lambda_c=start)
    parameter = case.cross.lambda_c
    before = case.terms()
    for name in ("cluster_items", "cluster_users"):
        assert (gradient(before[name], parameter).item() != 0) is moves
    with torch.no_grad():
        parameter.clamp_(0.01, 0.99)
    after = case.terms()
    for name in ("cluster_items", "cluster_users"):
        close(before[name], after[name])
