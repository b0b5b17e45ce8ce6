"""DA-MRS, the backbone and the alignment, against loops written from its definition.

What rests on stored graph values, which are float32, is compared to 1e-6.
"""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from crossrec.alignment.config import DamrsAlignmentConfig
from crossrec.alignment.damrs import DamrsAlignment
from crossrec.graph import agreed_knn_graph
from crossrec.losses import graded_neighbor_loss
from crossrec.ops.vectors import l2_normalize
from crossrec.types import Representations

from . import reference as ref
from .backbone_worlds import BATCH, EDGE_T, EDGES, FEATURES, ITEMS, USERS, backbone, dense, expected_bpr
from .worlds import close, numbers, randn

USER_B, ITEM_B, NEGATIVE_B = (t.tolist() for t in (BATCH.user_B, BATCH.item_B, BATCH.negative_B))
OF_BATCH = sorted(set(ITEM_B))


def add(*vectors):
    return [math.fsum(values) for values in zip(*vectors, strict=True)]


def scaled(factor, vector):
    return [factor * x for x in vector]


def logistic(x):
    return 1 / (1 + math.exp(-x))


def agreed_graphs(k, features=FEATURES):
    """The binary kNN graph of each modality without the edges below any modality's mean cosine, normalised."""
    tables = [numbers(f) for f in features.values()]
    pairs = [(i, j) for i in range(ITEMS) for j in range(ITEMS)]
    cosines = [{(i, j): ref.cosine(t[i], t[j]) for i, j in pairs} for t in tables]
    means = [ref.mean(cosine.values()) for cosine in cosines]
    graphs = []
    for m, table in enumerate(tables):
        graph = [[0.0] * ITEMS for _ in range(ITEMS)]
        for i, j in pairs:
            near = j in ref.knn(table, k, i) and cosines[m][i, j] > 0
            agreed = all(cosine[i, j] >= mean for cosine, mean in zip(cosines, means, strict=True))
            graph[i][j] = float((near and agreed) or (i == j and j in ref.knn(table, k, i)))
        graphs.append(symmetric_by_rows(graph))
    return graphs


def symmetric_by_rows(matrix):
    root = [math.sqrt(sum(row)) for row in matrix]
    return [[x / (root[i] * root[j]) for j, x in enumerate(row)] for i, row in enumerate(matrix)]


def common_users():
    users = [{u for u, j in EDGES if j == i} for i in range(ITEMS)]
    counts = [[float(len(users[i] & users[j])) if i != j else 1.0 for j in range(ITEMS)] for i in range(ITEMS)]
    return symmetric_by_rows(counts)


def neighbor_loss(tables, count, temperature, items=OF_BATCH):
    total = []
    for i in items:
        others = [j for j in range(len(tables[0])) if j != i]
        logits = [{j: ref.cosine(t[i], t[j]) / temperature for j in others} for t in tables]
        shares = []
        for logit in logits:
            top = ref.logsumexp(list(logit.values()))
            shares.append({j: math.exp(x - top) for j, x in logit.items()})
        value = 0.0
        for logit, share in zip(logits, shares, strict=True):
            summed = {j: sum(s[j] for s in shares) + share[j] for j in others}
            positive = sorted(others, key=lambda j: -summed[j])[:count]
            following = sorted((j for j in others if j not in positive), key=lambda j: -logit[j])[:count]
            e = {j: math.exp(x) for j, x in logit.items()}
            everything, near = sum(e.values()), sum(e[j] for j in positive)
            value += -math.log(near / everything) - math.log(sum(e[j] for j in following) / (everything - near))
        total.append(value)
    return ref.mean(total)


def divergence(user, item, other):
    """mean of KL(p‖q) + KL(q‖p), p = σ(u · i/‖i‖) and q with the other items, over distinct users × items."""
    values = []
    for u, i in itertools.product(sorted(set(USER_B)), sorted(set(ITEM_B))):
        p, q = (logistic(ref.dot(user[u], ref.unit(t[i]))) for t in (item, other))
        values.append(p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q)))
        values[-1] += q * math.log(q / p) + (1 - q) * math.log((1 - q) / (1 - p))
    return ref.mean(values)


def test_damrs():
    model, state = backbone("damrs", knn=3, neighbor_items=2, neighbor_weight=0.3, kl=0.6, neighbor_temperature=0.5)
    everything = ref.propagate_mean(ref.adjacency(EDGES, USERS, ITEMS), state["user"] + state["item"], 2)
    user, behavior = everything[:USERS], everything[USERS:]
    graph_items = [ref.multiply(graph, state["item"]) for graph in (*agreed_graphs(3), common_users())]
    mean_items = [scaled(1 / 3, add(*rows)) for rows in zip(*graph_items, strict=True)]
    item = [add(a, b) for a, b in zip(behavior, mean_items, strict=True)]
    reps = model.propagate()
    close(reps.user_UL, user, 1e-6)
    close(reps.item_IL, item, 1e-6)
    for name, table in zip(FEATURES, graph_items, strict=False):
        close(reps.modality_IL[name], table, 1e-6)

    def preferences(index):
        return [
            [logistic(ref.dot(user[u], ref.unit(t[i]))) for t in graph_items]
            for u, i in zip(USER_B, index, strict=True)
        ]

    positive = preferences(ITEM_B)
    means = [ref.mean(row) for row in positive]
    variances = [ref.mean([(x - mean) ** 2 for x in row]) for row, mean in zip(positive, means, strict=True)]
    bound = ref.mean([ref.mean(row) for row in preferences(NEGATIVE_B)])
    assert any(mean < bound for mean in means)
    assert any(mean >= bound for mean in means)
    losses = []
    for b, (u, i, j) in enumerate(zip(USER_B, ITEM_B, NEGATIVE_B, strict=True)):
        margin = ref.dot(user[u], item[i]) - ref.dot(user[u], item[j])
        reverse = max(means) - means[b] if means[b] < bound else 0.0
        losses.append(means[b] * math.exp(-2 * variances[b]) * ref.logsumexp([0, -margin]))
        losses[-1] += reverse * ref.logsumexp([0, margin])
    terms = model.losses(reps, BATCH)
    close(terms["bpr"], ref.mean(losses), 1e-6)
    close(terms["neighbors"], 0.3 * neighbor_loss(graph_items, 2, 0.5), 1e-6)
    close(terms["kl"], 0.6 * divergence(user, behavior, mean_items), 1e-6)


def test_damrs_weights_carry_no_gradient_and_can_be_left_out():
    model, _ = backbone("damrs", knn=3, neighbor_weight=0.0, kl=0.0, denoise=False)
    reps = model.propagate()
    terms = model.losses(reps, BATCH)
    assert list(terms) == ["bpr"]
    close(terms["bpr"], expected_bpr(numbers(reps.user_UL), numbers(reps.item_IL)), 1e-6)


@pytest.mark.parametrize("names", [(), ("sound",), ("sound", "scent")])
def test_the_alignment_around_any_recommender(names):
    features = {name: FEATURES[name] for name in names}
    config = DamrsAlignmentConfig(
        relation_knn=3, relation_items=2, relation_temperature=0.5, relation_weight=0.3, preference_weight=0.6
    )
    alignment = DamrsAlignment(3, features=features, interactions=tuple(EDGE_T), num_items=ITEMS, config=config)
    user, item = randn(3, USERS, 3).requires_grad_(), randn(4, ITEMS, 3).requires_grad_()
    users, items = numbers(user), numbers(item)
    graph_items = [ref.multiply(graph, items) for graph in (*agreed_graphs(3, features), common_users())]
    mean_items = [scaled(1 / len(graph_items), add(*rows)) for rows in zip(*graph_items, strict=True)]
    expected = {
        "item_relations": neighbor_loss(graph_items, 2, 0.5),
        "user_preference": divergence(users, items, mean_items),
    }
    terms = alignment(Representations(user, item), BATCH)
    assert list(terms) == list(expected)
    for name, value in expected.items():
        close(terms[name], value, 1e-6)
    total = alignment.total(terms)
    close(total, 0.3 * expected["item_relations"] + 0.6 * expected["user_preference"], 1e-6)
    torch.autograd.gradcheck(lambda u, i: alignment.total(alignment(Representations(u, i), BATCH)), (user, item))
    assert alignment.modalities == ("id", *names)
    assert not list(alignment.parameters())


@pytest.mark.parametrize(("size", "count", "used"), [(5, 1, 1), (5, 2, 2), (5, 7, 2), (6, 2, 2), (6, 9, 2), (3, 10, 1)])
@pytest.mark.parametrize("graphs", [1, 2])
def test_graded_neighbors_of_any_number_of_items(size, count, used, graphs):
    """At most as many as leave as many for the next ones: half of the others."""
    tables = [l2_normalize(randn(seed, size, 3)) for seed in range(graphs)]
    items = list(range(0, size, 2))
    actual = graded_neighbor_loss(tables, torch.tensor(items), count, 0.5)
    close(actual, neighbor_loss([numbers(t) for t in tables], used, 0.5, items))


@pytest.mark.parametrize(("size", "items"), [(5, []), (2, [0, 1]), (1, [0])])
def test_graded_neighbors_of_too_few_items_are_a_differentiable_zero(size, items):
    table = randn(0, size, 3).requires_grad_()
    loss = graded_neighbor_loss([table], torch.tensor(items, dtype=torch.int64), 2, 0.5)
    assert loss.item() == 0
    loss.backward()
    assert not table.grad.any()


def test_the_alignment_without_interactions():
    nothing = torch.zeros(0, dtype=torch.int64)
    alignment = DamrsAlignment(3, features={}, interactions=(nothing, nothing), num_items=ITEMS)
    close(dense(alignment.item_graphs[-1]), torch.eye(ITEMS))


def test_agreed_edges_at_the_very_mean():
    # items that are all alike: every cosine is the mean, and every edge stays
    alike = torch.tensor([[1.0, 0.0]]).repeat(4, 1)
    close(dense(agreed_knn_graph([alike], 4)[0]), torch.full((4, 4), 1 / 4), 1e-6)
    # opposite items: the mean is 0, and so is the cosine of the second nearest, which is no edge
    cross = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    close(dense(agreed_knn_graph([cross], 2)[0]), torch.eye(4))
    # an item without the feature keeps its loop
    missing = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 0.0]])
    close(dense(agreed_knn_graph([missing], 2)[0]), [[0.5, 0.5, 0], [0.5, 0.5, 0], [0, 0, 1]], 1e-6)


def test_all_of_its_parameters_learn_at_the_rate_of_the_backbone():
    nothing = torch.zeros(0, dtype=torch.int64)
    alignment = DamrsAlignment(3, features={"a": randn(1, ITEMS, 4)}, interactions=(nothing, nothing), num_items=ITEMS)
    assert alignment.parameter_groups() == [{"params": list(alignment.parameters()), "lr_factor": 1.0}]
