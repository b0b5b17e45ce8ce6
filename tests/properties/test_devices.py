"""Everything that is made on the way is on the device of the inputs.

Tests run on a CPU. Where the default device is another one ("meta", whose tensors have no numbers), a tensor that is
made without a device cannot be combined with the inputs.
"""

from __future__ import annotations

import pytest
import torch
from tests.equations.worlds import generator, make, randn

from crossrec.alignment.clusters import item_cluster_loss, item_cluster_loss_reference, user_cluster_loss
from crossrec.alignment.neighbors import fill_with_content, neighbor_loss, neighborhood
from crossrec.alignment.strength import strength_by_rank, strength_by_zscore
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
    node_drop,
    propagate_layers,
    propagate_mean,
    sum_adjacency,
)
from crossrec.losses import bpr, embedding_norm, info_nce, logsumexp_dot, uniformity
from crossrec.ops.kmeans import kmeans
from crossrec.ops.sparse import SparseMatrix, SparsePattern
from crossrec.ops.topk import exact_topk, stable_topk
from crossrec.ops.vectors import counts, gather_rows, l2_normalize, zero_like

USER_T, ITEM_T = torch.tensor([0, 0, 0, 1, 1, 2, 3]), torch.tensor([0, 1, 2, 1, 2, 1, 3])
EDGES = (USER_T, ITEM_T, 4, 5)
LEFT, RIGHT, LONG = randn(0, 6, 3), randn(1, 7, 3), 100 * randn(2, 6, 3)
UNIT, OTHER, BOOK = l2_normalize(LEFT), l2_normalize(randn(3, 6, 3)), randn(4, 5, 3)
WEIGHT = torch.tensor([1.0, 2.0, 1.0, 3.0, 1.0, 1.0], dtype=torch.float64)
INDEX = torch.tensor([0, 2, 2, 1, 5, 3])
TABLE = torch.tensor([[1, -1], [0, 2], [-1, -1], [3, 4], [-1, 0], [2, 1]])
FEATURES = {"sound": randn(5, 6, 4), "scent": randn(6, 6, 2)}
PATTERN = SparsePattern(torch.tensor([0, 0, 1, 3]), torch.tensor([1, 2, 0, 2]), 4, 3)
VALUES, DENSE, NODES = randn(7, 4), randn(8, 3, 2), randn(9, 9, 2)


def with_gradient(loss, *tensors):
    """The loss and its gradients."""
    leaves = [tensor.clone().requires_grad_() for tensor in tensors]
    value = loss(*leaves)
    return [value, *torch.autograd.grad(value, leaves)]


CALLS = {
    "bpr": lambda: [bpr(WEIGHT, WEIGHT.flip(0))],
    "norm": lambda: [embedding_norm(LEFT, RIGHT)],
    "info_nce": lambda: with_gradient(lambda a, c: info_nce(a, c, INDEX, temperature=0.2), LEFT, RIGHT),
    "info_nce of long vectors": lambda: with_gradient(lambda a: info_nce(a, RIGHT, INDEX, temperature=0.2), LONG),
    "info_nce in bfloat16": lambda: [info_nce(LEFT, RIGHT, INDEX, temperature=0.2, precision="bfloat16")],
    "logsumexp": lambda: with_gradient(lambda a, c: logsumexp_dot(a, c, WEIGHT), LEFT, RIGHT),
    "uniformity": lambda: with_gradient(uniformity, UNIT),
    "uniformity of long vectors": lambda: with_gradient(uniformity, LONG),
    "kmeans": lambda: [*kmeans(LEFT, 3, generator(0))],
    "stable_topk": lambda: [*stable_topk((LEFT @ RIGHT.T).round(), 3)],
    "exact_topk": lambda: [*exact_topk(LEFT.float(), RIGHT.float(), 3)],
    "vectors": lambda: [*with_gradient(lambda t: gather_rows(t, INDEX).sum(), LEFT), counts(INDEX, 6, torch.float64)],
    "zero": lambda: [zero_like(LEFT)],
    "pattern": lambda: with_gradient(lambda v, d: PATTERN.product(PATTERN.softmax(v), d).sum(), VALUES, DENSE),
    "propagation": lambda: with_gradient(lambda t: propagate_mean(bipartite_adjacency(*EDGES), t, 2).sum(), NODES),
    "layers": lambda: propagate_layers([mean_adjacency(*EDGES)] * 2, NODES),
    "edge drop": lambda: [edge_drop(USER_T, 0.4, generator(0))],
    "node drop": lambda: [node_drop(*EDGES, 0.4, generator(0))],
    "pruning": lambda: [degree_sensitive_sample(USER_T, ITEM_T, 0.5, generator(0))],
    "knn": lambda: [*knn(FEATURES["sound"], 3)],
    "agreed graph": lambda: [graph.values for graph in agreed_knn_graph(list(FEATURES.values()), 3)],
    "neighbours": lambda: [co_occurrence_neighbors(USER_T, ITEM_T, 5, 2)],
    "no neighbours": lambda: [co_occurrence_neighbors(USER_T[:0], ITEM_T[:0], 5, 2)],
    "filled neighbours": lambda: [fill_with_content(TABLE, FEATURES)],
    "neighbourhoods": lambda: with_gradient(lambda t: neighborhood(t, TABLE).square().sum(), LEFT),
    "neighbour loss": lambda: with_gradient(lambda a, b: neighbor_loss(a, b, temperature=0.2), LEFT, RIGHT[:6]),
    "item clusters": lambda: with_gradient(lambda a, c: item_cluster_loss([a, OTHER], c, temperature=0.2), UNIT, BOOK),
    "plain item clusters": lambda: [item_cluster_loss_reference([UNIT, OTHER], BOOK, temperature=0.2, weight_N=WEIGHT)],
    "k-means codes": lambda: [item_cluster_loss([UNIT, OTHER], BOOK, temperature=0.2, clusterer="kmeans")],
    "user clusters": lambda: [user_cluster_loss(UNIT, OTHER, BOOK, temperature=0.2)],
    "ranks": lambda: [strength_by_rank(UNIT, OTHER, INDEX, INDEX.flip(0))],
    "z-scores": lambda: [strength_by_zscore(UNIT, OTHER, WEIGHT)],
}


def numbers_of(call):
    torch.manual_seed(0)
    return [tensor.detach() for tensor in call()]


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_new_tensors_are_where_the_inputs_are(call):
    with torch.device("cpu"):
        expected = numbers_of(call)
    with torch.device("meta"):
        actual = numbers_of(call)
    for one, other in zip(actual, expected, strict=True):
        assert one.device.type == "cpu"
        assert torch.equal(one, other)


OPTIONS = [
    {},
    {"direction": "topmost", "aligner": "ffn", "clusterer": "kmeans", "negatives": "items"},
    {"direction": "one_way", "lambda_c": 0.01, "lambda_f": 0.01},
    {"direction": "bidirectional", "strength_scale": "rank"},
    {"strength_scale": "zscore", "precision": "bfloat16"},
]


@pytest.mark.parametrize("settings", OPTIONS, ids=str)
def test_the_terms_are_where_the_inputs_are(settings):
    case = make(0, **settings)
    expected = case.terms()
    with torch.device("meta"):
        actual = case.terms()
        total = case.cross.total(actual)
        total.backward()
        strengths, _ = case.cross.strengths(case.reps, case.batch)
    assert strengths.device.type == total.device.type == "cpu"
    for name, value in expected.items():
        assert torch.equal(actual[name], value), name


BUILDERS = {
    "bipartite": lambda: bipartite_adjacency(*EDGES),
    "bipartite with items": lambda: bipartite_adjacency(*EDGES, item_edges=(ITEM_T[:2], ITEM_T[1:3])),
    "sum": lambda: sum_adjacency(*EDGES),
    "mean": lambda: mean_adjacency(*EDGES),
    "interactions": lambda: interaction_adjacency(*EDGES),
    "knn": lambda: knn_graph(FEATURES["sound"], 2),
    "agreed knn": lambda: agreed_knn_graph(list(FEATURES.values()), 2),
    "common users": lambda: co_occurrence_graph(*EDGES),
    "common items": lambda: co_interaction_graph(*EDGES, 2),
}


@pytest.mark.parametrize("build", BUILDERS.values(), ids=BUILDERS)
def test_graphs_are_put_on_the_device_of_their_edges(build, monkeypatch):
    devices, from_scipy = [], SparseMatrix.from_scipy

    def watched(matrix, *, symmetric, device="not given"):
        devices.append(device)
        return from_scipy(matrix, symmetric=symmetric, device=device)

    monkeypatch.setattr(SparseMatrix, "from_scipy", watched)
    build()
    assert devices
    assert set(devices) == {torch.device("cpu")}
