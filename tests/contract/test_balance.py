"""Balance of the alignment's gradient against the backbone's, for every backbone."""

from __future__ import annotations

from itertools import chain

import pytest
import torch

from crossrec.alignment import Cross, CrossConfig
from crossrec.alignment.balance import balanced
from crossrec.backbones import BACKBONES
from crossrec.ops.gradients import total_norm, without_conflict
from crossrec.randomness import torch_generator
from crossrec.types import Batch, Representations

from .worlds import batches, objective, same, train, world

SIZES = {"prototypes_itv": 8, "prototypes_ui": 8}
every = pytest.mark.parametrize("name", BACKBONES)


def recommender(seed=0, users=7, items=9, dim=4):
    """Tables, vectors computed from them, a loss that reads both, and an alignment."""
    draw = torch.Generator().manual_seed(seed)
    tables = [torch.randn(n, dim, generator=draw).double().requires_grad_() for n in (users, items, items)]
    batch = Batch(torch.randint(users, (20,), generator=draw), torch.randint(items, (20,), generator=draw))
    reps = Representations(tables[0] * 2, tables[1].tanh(), {"sound": tables[2] * 3})
    user, item, sound = reps.user_UL[batch.user_B], reps.item_IL[batch.item_B], reps.modality_IL["sound"][batch.item_B]
    return tables, reps, batch, (user * item).sum(1).sigmoid().mean() + (user * sound).sum(1).cos().mean() * 0.3


def alignment(**settings):
    config = CrossConfig(alpha=0.7, beta=0.4, gamma=0.2, **SIZES, **settings)
    interactions = (torch.arange(9) % 7, torch.arange(9))
    draw = torch.Generator().manual_seed(3)
    return Cross(
        4, modalities=("sound",), num_items=9, interactions=interactions, config=config, generator=draw
    ).double()


def gradients(of, tensors):
    return torch.autograd.grad(of, tensors, retain_graph=True)


@pytest.mark.parametrize(
    "settings", [{"conflicts": "project"}, {"gradient_share": 0.3}, {"conflicts": "project", "gradient_share": 2.0}]
)
def test_the_gradient_by_the_formula(settings):
    tables, reps, batch, own_loss = recommender()
    plain, cross = alignment(), alignment(**settings)
    handed, parameters = [reps.user_UL, reps.item_IL, reps.modality_IL["sound"]], list(plain.parameters())
    expected_terms = plain(reps, batch)
    value = plain.total(expected_terms)
    g, h = gradients(value, handed), gradients(own_loss, handed)
    scale = settings["gradient_share"] * total_norm(h) / total_norm(g) if "gradient_share" in settings else 1
    moved = [scale * part for part in g]
    conflicts = sum(((a * b).sum(1) < 0).sum() for a, b in zip(moved, h, strict=True))
    if "conflicts" in settings:
        assert conflicts > 0
        moved = [without_conflict(a, b) for a, b in zip(moved, h, strict=True)]
    surrogate = sum((a * b.detach()).sum() for a, b in zip(handed, moved, strict=True))
    expected = [a + b for a, b in zip(gradients(surrogate, tables), gradients(own_loss, tables), strict=True)]

    terms, total = balanced(cross, reps, batch, own_loss)
    assert same({n: v.detach() for n, v in terms.items()}, {n: v.detach() for n, v in expected_terms.items()})
    torch.testing.assert_close(total, scale * value)
    own_parameters = list(cross.parameters())
    (own_loss + total).backward()
    torch.testing.assert_close([table.grad for table in tables], expected)
    full = [scale * part for part in gradients(value, parameters)]
    torch.testing.assert_close([p.grad for p in own_parameters], full)


def test_without_a_setting_it_is_the_plain_alignment():
    _, reps, batch, own_loss = recommender()
    cross = alignment()
    terms, total = balanced(cross, reps, batch, own_loss)
    assert torch.equal(total, cross.total(cross(reps, batch)))
    assert set(terms) == set(cross.config.active)


def test_a_loss_that_misses_the_vectors_leaves_the_alignment_as_it_is():
    tables, reps, batch, _ = recommender()
    cross = alignment(conflicts="project")
    _, total = balanced(cross, reps, batch, torch.zeros((), requires_grad=True).double())
    expected = gradients(cross.total(cross(reps, batch)), tables)
    torch.testing.assert_close(gradients(total, tables), expected)


def test_a_share_of_nothing_is_nothing():
    tables, reps, batch, own_loss = recommender()
    # an own loss without the vectors: nothing is compared
    _, total = balanced(alignment(gradient_share=0.5), reps, batch, torch.zeros((), requires_grad=True).double())
    assert total.item() == 0
    assert not any(gradient.any() for gradient in gradients(total, tables))
    # an alignment without a gradient: no item has a neighbour
    config = CrossConfig(terms=("neighbor",), gradient_share=0.5)
    empty = Cross(4, modalities=("sound",), neighbors=torch.full((9, 1), -1), config=config).double()
    _, total = balanced(empty, reps, batch, own_loss)
    assert total.item() == 0
    assert all(g is None or not g.any() for g in torch.autograd.grad(total, tables, allow_unused=True))


def test_vectors_that_the_alignment_does_not_read_stay_out():
    tables, reps, batch, own_loss = recommender()
    plain, cross = alignment(terms=("cluster_users",)), alignment(terms=("cluster_users",), gradient_share=0.3)
    handed = [reps.user_UL, reps.item_IL]
    g, h = gradients(plain.total(plain(reps, batch)), handed), gradients(own_loss, handed)
    _, total = balanced(cross, reps, batch, own_loss)
    moved = [0.3 * total_norm(h) / total_norm(g) * part for part in g]
    expected = torch.autograd.grad(handed, tables[:2], moved, retain_graph=True)
    torch.testing.assert_close(gradients(total, tables[:2]), expected)


@pytest.mark.parametrize("settings", [{"conflicts": "project"}, {"gradient_share": 0.3}])
def test_vectors_that_do_not_learn_are_not_compared(settings):
    tables, reps, batch, own_loss = recommender()
    fixed = Representations(reps.user_UL, reps.item_IL, {"sound": reps.modality_IL["sound"].detach()})
    plain, cross = alignment(), alignment(**settings)
    handed = [reps.user_UL, reps.item_IL]
    g, h = gradients(plain.total(plain(fixed, batch)), handed), gradients(own_loss, handed)
    if "conflicts" in settings:
        moved = [without_conflict(a, b) for a, b in zip(g, h, strict=True)]
    else:
        moved = [0.3 * total_norm(h) / total_norm(g) * part for part in g]
    expected = torch.autograd.grad(handed, tables[:2], moved, retain_graph=True)
    _, total = balanced(cross, fixed, batch, own_loss)
    torch.testing.assert_close(gradients(total, tables[:2]), expected)


@pytest.mark.parametrize("graph", [None, 1.0])
@every
def test_the_ranking_loss_of_a_backbone_is_compared_for_users_and_items(name, graph):
    data, rho = world(), 0.5
    model = objective(name, data, CrossConfig(content_graph=graph, gradient_share=rho, conflicts="project", **SIZES))
    model.train()
    model.before_epoch(1, torch_generator(0, "epoch"))
    batch = batches(data)[0]
    plain = model.backbone.propagate()
    reps = model._with_graph(plain)
    loss = next(iter(model.backbone.losses(reps, batch).values()))
    calls = []

    def recording(gradient, own):
        calls.append((gradient, own))
        return without_conflict(gradient, own)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("crossrec.alignment.balance.without_conflict", recording)
        balanced(model.cross, reps, batch, loss, plain=plain)
    lengths = [len(gradient) for gradient, _ in calls]
    assert lengths[:2] == [data.num_users, data.num_items]
    assert all(own[: len(own)].any() for _, own in calls[:2])
    torch.testing.assert_close(total_norm([g for g, _ in calls]), rho * total_norm([h for _, h in calls]))


@every
def test_a_training_with_both_settings_runs_and_differs(name):
    data = world()
    settings = CrossConfig(conflicts="project", gradient_share=0.5, content_graph=1.0, **SIZES)
    model, free = objective(name, data, settings), objective(name, data, CrossConfig(content_graph=1.0, **SIZES))
    train(model, data, epochs=1)
    train(free, data, epochs=1)
    values = chain(model.parameters(), model.backbone.parameters())
    assert all(value.isfinite().all() for value in values)
    assert not same(dict(model.backbone.state_dict()), dict(free.backbone.state_dict()))
