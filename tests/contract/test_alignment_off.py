"""With weight zero, CROSS or a term of it leaves the training bit for bit as it is without."""

from __future__ import annotations

import math

import pytest
import torch

import crossrec.alignment.cross as cross_module
import crossrec.alignment.damrs as damrs_module
from crossrec.alignment import ALIGNMENTS, CrossConfig
from crossrec.alignment.config import DamrsAlignmentConfig
from crossrec.backbones import BACKBONES
from crossrec.objective import Objective
from crossrec.training import TrainingConfig, fit
from crossrec.types import Batch

from .worlds import objective, same, train, world

ZERO = {"alpha": 0, "beta": 0, "gamma": 0}
every = pytest.mark.parametrize("name", BACKBONES)


def weights(model: Objective) -> dict[str, torch.Tensor]:
    return {key: value.clone() for key, value in model.backbone.state_dict().items()}


@every
@pytest.mark.parametrize("kind", [k for k in ALIGNMENTS.values() if k is not None])
def test_weights_of_zero_do_not_change_training(name, kind):
    data = world()
    plain = objective(name, data, None)
    weights_of_zero = {"relation_weight": 0, "preference_weight": 0} if kind.name == "damrs" else ZERO
    zero = objective(name, data, kind(**weights_of_zero, content_graph=0))
    assert same(weights(plain), weights(zero))
    assert train(plain, data) == train(zero, data)
    assert same(plain.state_dict(), zero.state_dict())


@every
def test_a_backbone_starts_the_same_with_and_without_alignment(name):
    data = world()
    plain, aligned = objective(name, data, None), objective(name, data, CrossConfig(alpha=1, beta=1, gamma=1))
    assert same(weights(plain), weights(aligned))
    train(plain, data, epochs=1)
    train(aligned, data, epochs=1)
    assert not same(weights(plain), weights(aligned)), "the alignment has no effect at all"


@every
@pytest.mark.parametrize("weight", ["relation_weight", "preference_weight"])
def test_a_term_of_damrs_of_weight_zero_is_not_computed(name, weight, monkeypatch):
    data = world()
    off = {"relation_weight": "graded_neighbor_loss", "preference_weight": "symmetric_kl"}
    one = objective(name, data, DamrsAlignmentConfig(**{weight: 0}))
    monkeypatch.setattr(damrs_module, off[weight], lambda *_, **__: torch.tensor(float("nan")))
    [term] = DamrsAlignmentConfig(**{weight: 0}).active
    steps = train(one, data, epochs=1)
    assert all(math.isfinite(step["loss"]) and step[term] > 0 for step in steps)
    assert not set(DamrsAlignmentConfig().active) - {term} & set(steps[0])


OFF = {
    "alpha": ("item", "tuning"),
    "beta": ("cluster_items", "cluster_users"),
    "gamma": ("neighbor",),
}
COMPUTE = {
    "item": "item_level_loss",
    "tuning": "direction_tuning_loss",
    "cluster_items": "item_cluster_loss",
    "cluster_users": "user_cluster_loss",
    "neighbor": "neighbor_loss",
}


@every
@pytest.mark.parametrize("weight", OFF)
def test_a_term_of_weight_zero_has_no_effect(name, weight, monkeypatch):
    data = world()
    without = objective(name, data, CrossConfig(terms=tuple(t for t in CrossConfig().terms if t not in OFF[weight])))
    zero = objective(name, data, CrossConfig(**{weight: 0}))
    expected = train(without, data)
    # no effect even if its function returns NaN, because it is never called
    for term in OFF[weight]:
        monkeypatch.setattr(cross_module, COMPUTE[term], lambda *_, **__: torch.tensor(float("nan")))
    assert train(zero, data) == expected
    assert same(without.state_dict(), zero.state_dict())


@every
def test_alignment_changes_no_draw_of_the_sampler(name, monkeypatch):
    data = world()
    drawn: list[list[Batch]] = []
    forward = Objective.forward

    def recording(self: Objective, batch: Batch):
        drawn[-1].append(batch)
        return forward(self, batch)

    monkeypatch.setattr(Objective, "forward", recording)
    monkeypatch.setattr("crossrec.training.validate", lambda *_: {})
    for alignment in (None, CrossConfig()):
        drawn.append([])
        fit(objective(name, data, alignment), data, None, TrainingConfig(epochs=2, batch_size=16, device="cpu"))
    plain, aligned = drawn
    assert len(plain) == len(aligned) > 4
    for left, right in zip(plain, aligned, strict=True):
        assert torch.equal(left.user_B, right.user_B)
        assert torch.equal(left.item_B, right.item_B)
        assert torch.equal(left.negative_B, right.negative_B)
