"""Graphs and the backbones of this package against the slow reference. Graph values are float32, so to 1e-6."""

from __future__ import annotations

import math

import pytest
import scipy.sparse as sp
import torch
from sklearn.neighbors import NearestNeighbors

from crossrec import graph
from crossrec.backbones.freedom import item_graph
from crossrec.graph import (
    agreed_knn_graph,
    bipartite_adjacency,
    co_interaction_graph,
    co_occurrence_graph,
    co_occurrence_neighbors,
    degree_sensitive_sample,
    edge_drop,
    interaction_adjacency,
    knn,
    knn_graph,
    mean_adjacency,
    propagate_mean,
    sum_adjacency,
    unit_columns,
)
from crossrec.ops.sparse import SparseMatrix

from . import reference as ref
from .backbone_worlds import (
    BATCH,
    EDGE_T,
    EDGES,
    FEATURES,
    ITEMS,
    USERS,
    backbone,
    dense,
    expected_bpr,
    expected_norm,
)
from .worlds import close, double, generator, numbers, randn

EDGES_OF_USER = [sum(u == n for u, _ in EDGES) for n in range(USERS)]
EDGES_OF_ITEM = [sum(i == n for _, i in EDGES) for n in range(ITEMS)]


def test_adjacency():
    expected = ref.adjacency(EDGES, USERS, ITEMS)
    matrix = bipartite_adjacency(*EDGE_T, USERS, ITEMS)
    assert matrix.shape == (USERS + ITEMS, USERS + ITEMS)
    close(dense(matrix), expected, 1e-6)
    twice = torch.cat([EDGE_T, EDGE_T[:, :3]], dim=1)
    close(dense(bipartite_adjacency(*twice, USERS, ITEMS)), expected, 1e-6)


def test_adjacency_by_hand():
    # users a, b; items x, y; edges ax, ay, bx: degrees a 2, b 1, x 2, y 1, so ax 1/2, ay 1/√2, bx 1/√2
    matrix = dense(bipartite_adjacency(torch.tensor([0, 0, 1]), torch.tensor([0, 1, 0]), 2, 2))
    h = 0.5**0.5
    close(matrix, [[0, 0, 0.5, h], [0, 0, h, 0], [0.5, h, 0, 0], [h, 0, 0, 0]], 1e-6)


@pytest.mark.parametrize("layers", [0, 1, 3])
def test_propagation(layers):
    ego = randn(0, USERS + ITEMS, 3)
    expected = ref.propagate_mean(ref.adjacency(EDGES, USERS, ITEMS), numbers(ego), layers)
    close(propagate_mean(bipartite_adjacency(*EDGE_T, USERS, ITEMS), ego, layers), expected, 1e-6)


def test_gradient_of_a_product_that_is_not_symmetric():
    matrix = item_graph(FEATURES, 2, {"sound": 0.9, "scent": 0.1})
    table, weight = randn(3, ITEMS, 2).requires_grad_(), randn(4, ITEMS, 2)
    ((matrix @ table) * weight).sum().backward()
    written = dense(matrix)
    assert not torch.equal(written, written.T)
    close(table.grad, written.T @ weight, 1e-6)


@pytest.mark.parametrize("block", [2, 1024])
def test_knn(block):
    table = randn(5, 9, 3)
    index, cosine = knn(table, 3, block=block)
    for i, (row, values) in enumerate(zip(index.tolist(), numbers(cosine), strict=True)):
        assert row == ref.knn(numbers(table), 3, i)
        close(values, [ref.cosine(numbers(table)[i], numbers(table)[j]) for j in row])
    distance, other = NearestNeighbors(n_neighbors=3, metric="cosine").fit(table.numpy()).kneighbors(table.numpy())
    assert index.tolist() == other.tolist()
    close(cosine, 1 - distance, 1e-7)


def test_knn_of_some_items():
    feature = randn(3, 9, 4)
    feature[2] = 0
    rows = torch.tensor([7, 2, 0])
    index, cosine = knn(feature, 3)
    some_index, some_cosine = knn(feature, 3, rows=rows, block=2)
    assert torch.equal(some_index, index[rows])
    close(some_cosine, cosine[rows])


@pytest.mark.parametrize("k", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("block", [3, 1024])
def test_knn_with_ties(k, block):
    """An item before its doubles, then the lower index: cosines of 0, 0.6, 0.8 and 1, exact in a float."""
    rows = [[1, 0], [0, 1], [1, 0], [3, 4], [0, 2], [4, 0], [3, 4], [-1, 0], [0, 5]]
    index, cosine = knn(double(rows), k, block=block)
    for i, (row, values) in enumerate(zip(index.tolist(), numbers(cosine), strict=True)):
        assert row == ref.knn(rows, k, i)
        assert row[0] == i
        close(values, [ref.cosine(rows[i], rows[j]) for j in row])


def test_knn_of_more_doubles_than_neighbours():
    index, cosine = knn(torch.ones(30, 2), 4)
    for i, row in enumerate(index.tolist()):
        assert row == [i, *[j for j in range(5) if j != i][:3]]
    close(cosine, torch.ones(30, 4), 1e-6)


@pytest.mark.parametrize("in_memory", [1, 20, 40])
def test_knn_of_few_rows_at_a_time(in_memory, monkeypatch):
    table = randn(5, 9, 3)
    expected = knn(table, 3)
    monkeypatch.setattr("crossrec.graph._KNN_NUMBERS", in_memory)
    assert torch.equal(knn(table, 3)[0], expected[0])


def test_knn_without_the_feature():
    table = randn(6, 5, 3)
    table[2] = 0
    index, cosine = knn(table, 3)
    assert index[2].tolist() == [2, 2, 2]
    assert cosine[2].tolist() == [0, 0, 0]
    for i in (0, 1, 3, 4):
        assert index[i].tolist() == ref.knn(numbers(table), 3, i)


@pytest.mark.parametrize("missing", [0, 1, 3])
def test_item_graph(missing):
    # with 3 of 5 items missing, an item has fewer than k = 3 others to be near to: its row still is a binary graph's,
    # divided by its degree
    features = {name: table.clone() for name, table in FEATURES.items()}
    features["sound"][:missing] = 0
    shares = {"sound": 0.3, "scent": 0.7}
    expected = ref.item_graph({name: numbers(table) for name, table in features.items()}, 3, shares)
    close(dense(item_graph(features, 3, shares)), expected, 1e-6)


def test_pruning_keeps_edges_by_their_degrees():
    edges = EDGES[:6]
    user, item = torch.tensor(edges).T.contiguous()
    draw, rounds = generator(0), 4000
    draws = torch.zeros(6)
    for _ in range(rounds):
        edge_index = degree_sensitive_sample(user, item, 1 / 3, draw)
        assert len(set(edge_index.tolist())) == 2
        draws[edge_index] += 1
    expected = double(ref.kept_probabilities(edges, 2))
    # four standard errors of a share of 4,000 draws
    assert ((draws / rounds - expected).abs() < 4 * (expected * (1 - expected) / rounds).sqrt()).all()
    assert expected.max() - expected.min() > 0.1, "the test would see an even draw"


def test_bpr():
    model, state = backbone("bpr", reg=0.3)
    terms = model.losses(model.propagate(), BATCH)
    expected = expected_bpr(state["user"], state["item"]) + 0.3 * expected_norm(state["user"], state["item"])
    close(sum(terms.values()), expected)


@pytest.mark.parametrize("layers", [0, 2])
def test_lightgcn(layers):
    model, state = backbone("lightgcn", layers=layers, reg=0.3)
    reps = model.propagate()
    everything = ref.propagate_mean(ref.adjacency(EDGES, USERS, ITEMS), state["user"] + state["item"], layers)
    user, item = everything[:USERS], everything[USERS:]
    close(reps.user_UL, user, 1e-6)
    close(reps.item_IL, item, 1e-6)
    expected = expected_bpr(user, item) + 0.3 * expected_norm(state["user"], state["item"])
    close(sum(model.losses(reps, BATCH).values()), expected, 1e-6)


def test_vbpr():
    model, state = backbone("vbpr", reg=0.3)
    reps = model.propagate()
    raw = [a + b for a, b in zip(numbers(FEATURES["sound"]), numbers(FEATURES["scent"]), strict=True)]
    content = [[x + b for x, b in zip(ref.apply(state["weight"], row), state["bias"], strict=True)] for row in raw]
    item = [a + b for a, b in zip(state["item"], content, strict=True)]
    close(reps.item_IS, item)
    close(reps.user_UL, [row[:3] for row in state["user"]])
    close(reps.item_IL, state["item"])
    expected = expected_bpr(state["user"], item) + 0.3 * expected_norm(state["user"], item)
    close(sum(model.losses(reps, BATCH).values()), expected)


def test_freedom():
    model, state = backbone(
        "freedom", knn=2, layers=2, item_layers=1, reg=0.3, modality_weights={"sound": 1, "scent": 9}
    )
    raw = {name: state[f"content.{name}_feat.feature_ID"] for name in FEATURES}

    def expected(edges):
        everything = ref.propagate_mean(ref.adjacency(edges, USERS, ITEMS), state["user"] + state["item"], 2)
        # the graph is frozen: made of the features as they were given
        graph = ref.item_graph({n: numbers(t) for n, t in FEATURES.items()}, 2, {"sound": 0.1, "scent": 0.9})
        similar = ref.multiply(graph, state["item"])
        item = [[x + h for x, h in zip(*both, strict=True)] for both in zip(everything[USERS:], similar, strict=True)]
        return everything[:USERS], item

    model.eval()
    user, item = expected(EDGES)
    reps = model.propagate()
    close(reps.user_UL, user, 1e-6)
    close(reps.item_IL, item, 1e-6)
    total = expected_bpr(user, item)
    for name in FEATURES:
        weight, bias = state[f"content.{name}_feat.weight"], state[f"content.{name}_feat.bias"]
        content = [[x + b for x, b in zip(ref.apply(weight, row), bias, strict=True)] for row in raw[name]]
        close(reps.modality_IL[name], content)
        total += 0.3 * expected_bpr(user, content)
    close(sum(model.losses(reps, BATCH).values()), total, 1e-6)
    # an epoch's pruned graph is normalised by its own degrees
    model.train()
    model.before_epoch(1, generator(3))
    edge_index = degree_sensitive_sample(*EDGE_T, 1 - 0.8, generator(3)).tolist()
    user, item = expected([EDGES[at] for at in edge_index])
    close(model.propagate().user_UL, user, 1e-6)
    close(model.propagate().item_IL, item, 1e-6)


GRAPHS = {
    "bipartite": lambda: bipartite_adjacency(*EDGE_T, USERS, ITEMS),
    "bipartite with items": lambda: bipartite_adjacency(
        *EDGE_T, USERS, ITEMS, item_edges=(torch.tensor([0, 3]), torch.tensor([2, 1]))
    ),
    "sum": lambda: sum_adjacency(*EDGE_T, USERS, ITEMS),
    "mean": lambda: mean_adjacency(*EDGE_T, USERS, ITEMS),
    "interactions": lambda: interaction_adjacency(*EDGE_T, USERS, ITEMS),
    "knn": lambda: knn_graph(FEATURES["sound"], 2),
    "agreed knn": lambda: agreed_knn_graph(list(FEATURES.values()), 2)[0],
    "common users": lambda: co_occurrence_graph(*EDGE_T, USERS, ITEMS),
    "common items": lambda: co_interaction_graph(*EDGE_T, USERS, ITEMS, 1),
    "item graph": lambda: item_graph(FEATURES, 2, {"sound": 0.9, "scent": 0.1}),
}


@pytest.mark.parametrize("build", GRAPHS.values(), ids=GRAPHS)
def test_the_backward_pass_has_the_transpose(build):
    matrix = build()
    rows, columns = matrix.shape
    assert matrix.transposed.shape == (columns, rows)
    close(dense(matrix.transposed), dense(matrix).T)


def test_a_matrix_has_small_types():
    """Values of float32 and, for fewer than 2^31 entries, indices of int32; on the CPU unless given another device."""
    matrix = SparseMatrix.from_scipy(sp.identity(100), symmetric=True)
    assert (matrix.indptr.dtype, matrix.indices.dtype, matrix.values.dtype) == (torch.int32, torch.int32, torch.float32)
    assert matrix.values.device.type == "cpu"


def test_columns_of_interactions_have_length_1():
    user, item = torch.tensor([0, 1, 1, 2, 2, 2]), torch.tensor([0, 0, 1, 1, 3, 3])
    h = 0.5**0.5
    close(unit_columns(user, item, 5).toarray().T, [[h, h, 0], [0, h, h], [0, 0, 0], [0, 0, 1], [0, 0, 0]])
    assert unit_columns(user[:0], item[:0], 5).shape == (0, 5)


@pytest.mark.parametrize("k", [0, -1])
def test_no_neighbours_asked_for(k):
    assert co_occurrence_neighbors(*EDGE_T, ITEMS, k).shape == (ITEMS, 0)


def test_pruning_draws_by_gumbel_top_k():
    """The largest log w - log(-log u) of uniform draws u in float64; at least one edge."""
    user, item = EDGE_T
    weight = [1 / math.sqrt(EDGES_OF_USER[u] * EDGES_OF_ITEM[i]) for u, i in EDGES]
    for seed, keep in ((0, 0.5), (1, 0.3), (2, 0.01), (3, 1.0)):
        uniform = torch.rand(len(EDGES), generator=generator(seed), dtype=torch.float64).tolist()
        key = [math.log(w) - math.log(-math.log(u)) for w, u in zip(weight, uniform, strict=True)]
        expected = sorted(sorted(range(len(EDGES)), key=lambda e: -key[e])[: max(1, round(keep * len(EDGES)))])
        assert degree_sensitive_sample(user, item, keep, generator(seed)).tolist() == expected


@pytest.mark.parametrize(("drop", "left"), [(0.0, 10), (0.3, 7), (0.94, 1), (0.99, 1), (1.0, 1)])
def test_edge_drop_leaves_one_edge(drop, left):
    assert len(edge_drop(torch.arange(10), drop, generator(0))) == left


def test_users_with_a_thousand_items_in_common():
    """exp(1000) is no float; the softmax of 1,000 and 998 is that of 2 and 0."""
    user = torch.cat([torch.zeros(1000), torch.ones(1000), torch.full((998,), 2)]).long()
    item = torch.cat([torch.arange(1000), torch.arange(1000), torch.arange(998)])
    share = 1 / (1 + math.exp(-2))
    expected = [[0, share, 1 - share], [share, 0, 1 - share], [0.5, 0.5, 0]]
    close(dense(co_interaction_graph(user, item, 3, 1000, 2)), expected, 1e-6)


def test_pruning_follows_from_the_generator_alone():
    def drawn(seed, global_seed):
        torch.manual_seed(global_seed)
        return degree_sensitive_sample(*EDGE_T, 0.5, generator(seed)).tolist()

    assert drawn(1, 0) == drawn(1, 99)
    assert any(drawn(seed, 0) != drawn(1, 0) for seed in (2, 3, 4))


def test_a_graph_does_not_depend_on_how_many_rows_are_worked_on_at_a_time(monkeypatch):
    draw = generator(0)
    user, item = torch.randint(60, (700,), generator=draw), torch.randint(40, (700,), generator=draw)
    whole = bipartite_adjacency(user, item, 60, 40), co_occurrence_neighbors(user, item, 40, 4)
    monkeypatch.setattr(graph, "_BLOCK_ROWS", 7)
    assert torch.equal(bipartite_adjacency(user, item, 60, 40).values, whole[0].values)
    assert torch.equal(co_occurrence_neighbors(user, item, 40, 4), whole[1])


def test_a_pair_that_is_repeated_often_counts_once():
    """256 in 8 bits is 0."""
    user, item = torch.tensor([0] * 256 + [1, 1]), torch.tensor([0] * 256 + [0, 1])
    root = 1 / math.sqrt(2)
    expected = [[0, 0, root, 0], [0, 0, 0.5, root], [root, 0.5, 0, 0], [0, root, 0, 0]]
    close(dense(bipartite_adjacency(user, item, 2, 2)), expected, 1e-6)
    close(unit_columns(user, item, 2).toarray(), [[root, 0], [root, 1]], 1e-6)
