"""The content graph against loops written from its definition, and around every backbone."""

from __future__ import annotations

import pytest
import torch
from tests.contract.worlds import ITEMS, USERS, world

from crossrec.alignment import CrossConfig
from crossrec.backbones import BACKBONES
from crossrec.content_graph import ContentGraph
from crossrec.errors import ConfigError
from crossrec.objective import Objective
from crossrec.types import Representations


def nearest(feature, i, k):
    """The ``k`` other items of highest cosine, of those that have the feature."""
    unit = torch.nn.functional.normalize(feature, dim=1)
    others = [j for j in range(len(feature)) if j != i and feature[j].any()]
    return sorted(others, key=lambda j: -float(unit[i] @ unit[j]))[:k] if feature[i].any() else []


def expected(features, item, k, weight, shares):
    rows = []
    for i in range(len(item)):
        means, mass = torch.zeros_like(item[i]), 0.0
        for name, feature in features.items():
            neighbors = nearest(feature, i, k)
            if neighbors:
                means += shares[name] * item[neighbors].mean(0)
                mass += shares[name]
        rows.append(item[i] + (weight * means / mass if mass else 0.0))
    return torch.stack(rows)


@pytest.mark.parametrize("k", [1, 3, 20])
def test_an_item_receives_the_mean_of_its_nearest(k):
    generator = torch.Generator().manual_seed(0)
    features = {name: torch.randn(9, 5, generator=generator, dtype=torch.float64) for name in ("image", "text")}
    features["image"][2] = features["image"][5] = features["text"][5] = 0.0
    item = torch.randn(9, 4, generator=generator, dtype=torch.float64).requires_grad_()
    graph = ContentGraph(features, weight=0.7, neighbors=k, shares={"image": 1, "text": 3})
    target = expected(features, item, k, 0.7, {"image": 0.25, "text": 0.75})
    torch.testing.assert_close(graph(item), target, atol=1e-6, rtol=1e-6)
    assert torch.equal(graph(item)[5], item[5]), "no content at all: its own vector"
    assert torch.autograd.gradcheck(lambda x: graph(x), item)


def test_equal_shares_unless_given():
    features = {"image": torch.eye(4) + 0.1, "text": torch.eye(4).flip(0) + 0.3}
    item = torch.arange(8.0).view(4, 2)
    equal = ContentGraph(features, shares={"image": 2, "text": 2})
    assert torch.equal(ContentGraph(features)(item), equal(item))


def test_shares_follow_the_training_feedback():
    """Each modality's share is in proportion to its lift above 1; loops from the definition."""
    generator = torch.Generator().manual_seed(1)
    features = {"image": torch.randn(12, 4, generator=generator), "text": torch.randn(12, 4, generator=generator)}
    users = [[i, nearest(features["text"], i, 1)[0]] for i in range(12)] + [[0, 5, 7], [3, 3, 9], [2, 8]]
    pairs = [(user, item) for user, items in enumerate(users) for item in items]
    interactions = tuple(torch.tensor(pairs).T)
    table = torch.zeros(len(users), 12, dtype=torch.float64)
    table[interactions] = 1.0
    unit = torch.nn.functional.normalize(table, dim=0)
    cosine = unit.T @ unit
    average = (cosine.sum() - cosine.trace()) / (12 * 11)
    excess = {}
    for name, feature in features.items():
        edges = [cosine[i, j] for i in range(12) for j in nearest(feature, i, 2)]
        excess[name] = max(float(sum(edges) / len(edges) / average) - 1, 0.0)
    graph = ContentGraph(features, neighbors=2, interactions=interactions)
    assert excess["text"] > excess["image"]
    assert graph.shares == pytest.approx({name: value / sum(excess.values()) for name, value in excess.items()})


def test_shares_are_equal_where_feedback_says_nothing():
    features = {"image": torch.eye(4) + 0.1, "text": torch.eye(4).flip(0) + 0.3}
    alone = (torch.arange(4), torch.arange(4))
    assert ContentGraph(features, interactions=alone).shares == {"image": 0.5, "text": 0.5}
    given = ContentGraph(features, interactions=alone, shares={"image": 1, "text": 3})
    assert given.shares == {"image": 0.25, "text": 0.75}


@pytest.mark.parametrize(
    ("features", "shares", "message"),
    [
        ({}, None, "at least one content modality"),
        ({"image": torch.eye(3)}, {"text": 1.0}, "--content-shares names"),
        ({"image": torch.eye(3)}, {"image": 0.0}, "not all zero"),
    ],
)
def test_wrong_modalities_are_refused(features, shares, message):
    with pytest.raises(ConfigError, match=message):
        ContentGraph(features, shares=shares)


def test_every_item_vector_that_scores_goes_through_it():
    features = {"image": torch.randn(5, 3, generator=torch.Generator().manual_seed(1))}
    graph = ContentGraph(features)
    user, item, wide = torch.ones(2, 4), torch.randn(5, 4), torch.randn(5, 8)
    plain = graph.apply(Representations(user, item, {"image": item}))
    assert torch.equal(plain.item_IS, graph(item))
    assert torch.equal(plain.modality_IL["image"], item)
    scoring = graph.apply(Representations(user, item, {}, (torch.ones(2, 8), wide)))
    assert torch.equal(scoring.item_IS, graph(wide))
    assert torch.equal(scoring.item_IL, graph(item))
    unit = torch.nn.functional.normalize(item)
    directions = graph.apply(Representations(user, unit, {}, (user, item), normalized=True))
    assert torch.equal(directions.item_IS, graph(item))
    torch.testing.assert_close(directions.item_IL, torch.nn.functional.normalize(graph(item)))


@pytest.mark.parametrize("name", BACKBONES)
def test_the_objective_puts_it_around_backbones_without_an_item_graph(name):
    data, config = world(), BACKBONES[name].config_type(dim=8)
    only_graph = CrossConfig(terms=(), content_graph=1.0)
    plain, graph = (Objective(config, alignment, data, 0).eval() for alignment in (None, only_graph))
    assert graph.cross is None
    assert (graph.content_graph is None) == BACKBONES[name].has_item_graph
    with torch.no_grad():
        before, after = plain.propagate(), graph.propagate()
        parts = graph.parts(after)
    assert type(after) is type(before)
    content = ContentGraph(data.features, interactions=(data.user_T, data.item_T))
    target = before.item_IS if graph.content_graph is None else content(before.item_IS)
    torch.testing.assert_close(after.item_IS, target)
    assert after.user_US.shape[0] == USERS
    if parts:
        torch.testing.assert_close(torch.stack(list(parts.values())).sum(0), after.item_IS)
        assert all(len(part) == ITEMS for part in parts.values())


@pytest.mark.parametrize("k", [1, 3, 20])
def test_an_item_that_is_removed_and_added_as_new_gets_the_same(k):
    generator = torch.Generator().manual_seed(3)
    features = {name: torch.randn(9, width, generator=generator) for name, width in (("image", 5), ("text", 3))}
    features["image"][2] = features["image"][5] = features["text"][5] = 0.0
    features["text"][7] = features["text"][1]  # equal cosines: the lower index comes first
    item, shares = torch.randn(9, 4, generator=generator), {"image": 1, "text": 3}
    whole = ContentGraph(features, weight=0.7, neighbors=k, shares=shares).matrix @ item
    for removed in range(9):
        others = [i for i in range(9) if i != removed]
        graph = ContentGraph({m: f[others] for m, f in features.items()}, weight=0.7, neighbors=k, shares=shares)
        new = graph.of_new_items({m: f[[removed]] for m, f in features.items()}, item[others])
        torch.testing.assert_close(new[0], whole[removed])
    assert not graph.of_new_items({"image": torch.zeros(2, 5)}, item[others]).any()


def test_a_new_item_with_one_modality_has_the_share_of_that_one():
    generator = torch.Generator().manual_seed(4)
    features = {name: torch.randn(6, 4, generator=generator) for name in ("image", "text")}
    item, new = torch.randn(6, 3, generator=generator), torch.randn(2, 4, generator=generator)
    graph = ContentGraph(features, neighbors=2, shares={"image": 0.1, "text": 0.9})
    alone = ContentGraph({"text": features["text"]}, neighbors=2)
    torch.testing.assert_close(graph.of_new_items({"text": new}, item), alone.of_new_items({"text": new}, item))
    assert graph.of_new_items({"text": new[:0]}, item).shape == (0, 3)


def test_many_new_items_are_compared_block_by_block(monkeypatch):
    generator = torch.Generator().manual_seed(5)
    graph = ContentGraph({"image": torch.randn(7, 4, generator=generator)}, neighbors=2)
    new, item = {"image": torch.randn(10, 4, generator=generator)}, torch.randn(7, 3, generator=generator)
    expected_rows = graph.of_new_items(new, item)
    monkeypatch.setattr("crossrec.content_graph._NUMBERS", 21)
    torch.testing.assert_close(graph.of_new_items(new, item), expected_rows)
