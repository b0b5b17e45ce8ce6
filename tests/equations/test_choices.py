"""Choices of docs/deviations.md that no other test holds: initial values, prototypes, weight decay, equal shares."""

from __future__ import annotations

import math

import pytest
import torch

from crossrec.alignment import Cross, CrossConfig
from crossrec.alignment.config import default_prototypes
from crossrec.backbones.base import xavier_table
from crossrec.backbones.slmrec import SLMRecConfig
from crossrec.graph import co_interaction_graph
from crossrec.objective import Objective
from crossrec.training import TrainingConfig, fit
from crossrec.types import TrainingSet

from . import reference as ref
from .backbone_worlds import EDGE_T, FEATURES, ITEMS, USERS, backbone, dense
from .worlds import close, generator, numbers


@pytest.mark.parametrize("num_items", [1, 2048, 2896, 2897, 7050, 20_000, 185_000, 10**6, 10**8])
def test_prototypes_are_the_power_of_two_nearest_to_a_32nd_of_the_items(num_items):
    powers = [2**e for e in range(30)]
    nearest = min(powers, key=lambda power: abs(math.log(power) - math.log(num_items / 32)))
    assert default_prototypes(num_items) == min(10_240, max(64, nearest))


def uniform_within(table, bound):
    """The values look uniform in ± bound: their range, mean and variance."""
    values = table.double().flatten()
    assert 0.97 * bound < values.abs().max() <= bound * (1 + 1e-6)
    assert values.mean().abs() < 5 * bound / math.sqrt(3 * len(values))
    close(values.var(), bound**2 / 3, 0.1)


def test_initial_values_are_xavier_uniform():
    uniform_within(xavier_table(90, 40, generator(0)).detach(), math.sqrt(6 / (90 + 40)))
    feature = torch.ones(4, 70)
    cross = Cross(30, features={"sound": feature}, interactions=(torch.tensor([0, 1]), torch.tensor([2, 3])))
    state = cross.state_dict()
    uniform_within(state["projections.sound_feat.weight"], math.sqrt(6 / (30 + 70)))
    for name in ("aligners.id->sound.weight", "aligners.sound->id.weight"):
        uniform_within(state[name], math.sqrt(6 / (30 + 30)))
    assert state["lambda_f"] == pytest.approx(0.1)
    assert state["lambda_c"] == pytest.approx(0.2)


def test_rows_of_codebooks_have_every_direction():
    """Normal rows scaled to length 1: coordinates have mean 0 and variance 1/L."""
    book = Cross(8, num_items=10, config=CrossConfig(terms=("cluster_items",), prototypes_itv=4000)).codebook_itv
    assert book is not None
    close(book.detach().norm(dim=1), torch.ones(4000), 1e-6)
    assert book.mean(0).abs().max() < 5 / math.sqrt(8 * 4000)
    close(book.detach().var(0), [1 / 8] * 8, 0.15)


def test_weight_decay_acts_on_the_backbone_alone(monkeypatch):
    groups = []
    monkeypatch.setattr(torch.optim.Adam, "step", lambda self, *_, **__: groups.append(self.param_groups))
    monkeypatch.setattr("crossrec.training.validate", lambda *_: {})
    data = TrainingSet(USERS, ITEMS, *EDGE_T, {name: f.float() for name, f in FEATURES.items()})
    config = SLMRecConfig(dim=4, weight_decay=0.25, learning_rate=0.5)
    objective = Objective(config, CrossConfig(), data, 0)
    fit(objective, data, None, TrainingConfig(epochs=1, batch_size=100, device="cpu"))
    of_backbone, of_alignment = groups[0]
    assert [id(p) for p in of_backbone["params"]] == [id(p) for p in objective.backbone.parameters()]
    assert [id(p) for p in of_alignment["params"]] == [id(p) for p in objective.cross.parameters()]
    assert (of_backbone["weight_decay"], of_alignment["weight_decay"]) == (0.25, 0.0)
    assert (of_backbone["lr"], of_alignment["lr"]) == (0.5, 0.5)


@pytest.mark.parametrize("name", ["freedom", "pgl"])
def test_modalities_weigh_the_same_in_an_item_graph_unless_given(name):
    model, _ = backbone(name, knn=2)
    tables = {modality: numbers(feature) for modality, feature in FEATURES.items()}
    close(dense(model.item_graph), ref.item_graph(tables, 2, {"sound": 0.5, "scent": 0.5}), 1e-6)


def test_dualgnn_joins_a_user_with_forty_others():
    """Fifty users with one item in common: forty neighbours each, of equal weight."""
    user = torch.arange(50)
    graph = dense(co_interaction_graph(user, torch.zeros(50, dtype=torch.int64), 50, 1, 40))
    assert (graph > 0).sum(1).tolist() == [40] * 50
    assert graph.diagonal().tolist() == [0.0] * 50
    close(graph[graph > 0], [1 / 40] * 2000, 1e-6)
    config = backbone("dualgnn")[0].config
    assert (config.user_neighbors, config.aggregation) == (40, "sym")
