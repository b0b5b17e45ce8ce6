"""MGCN, GUME and PGL against loops written from their definitions.

What rests on stored graph values, which are float32, is compared to 1e-6.
"""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from crossrec.backbones.gume import alike_items
from crossrec.graph import bipartite_adjacency, interaction_adjacency, knn_graph

from . import reference as ref
from .backbone_worlds import BATCH, EDGE_T, EDGES, FEATURES, ITEMS, USERS, backbone, dense, expected_bpr
from .worlds import close, generator, numbers, randn

USER_B, ITEM_B, NEGATIVE_B = (t.tolist() for t in (BATCH.user_B, BATCH.item_B, BATCH.negative_B))
NODES = USERS + ITEMS


def add(*vectors):
    return [math.fsum(values) for values in zip(*vectors, strict=True)]


def scaled(factor, vector):
    return [factor * x for x in vector]


def times(left, right):
    return [a * b for a, b in zip(left, right, strict=True)]


def sigmoid(vector):
    return [1 / (1 + math.exp(-x)) for x in vector]


def affine(state, name, vector):
    return add(ref.apply(state[f"{name}.weight"], vector), state[f"{name}.bias"])


def squares(*tables):
    return 0.5 * math.fsum(x * x for rows in tables for row in rows for x in row) / len(USER_B)


def batch_rows(user, item):
    return [user[u] for u in USER_B], [item[i] for i in ITEM_B], [item[i] for i in NEGATIVE_B]


def contrast(left, right, temperature):
    """mean_b -log softmax_c( cos(x_b, y_c) / τ )_b."""
    logits = [[ref.cosine(x, y) / temperature for y in right] for x in left]
    return ref.mean(ref.cross_entropy(row, b) for b, row in enumerate(logits))


def knn_laplacian(table, k):
    """D^-1/2 S D^-1/2 of the k largest cosines of every item, negative ones zero."""
    graph = [[0.0] * ITEMS for _ in range(ITEMS)]
    for i in range(ITEMS):
        if ref.norm(table[i]):
            for j in ref.knn(table, k, i):
                graph[i][j] = max(0.0, ref.cosine(table[i], table[j]))
    root = [math.sqrt(sum(row)) for row in graph]
    return [[x / (root[i] * root[j]) if x else 0.0 for j, x in enumerate(row)] for i, row in enumerate(graph)]


def symmetric(matrix):
    root = [math.sqrt(sum(row)) for row in matrix]
    return [[x / (root[i] * root[j]) if x else 0.0 for j, x in enumerate(row)] for i, row in enumerate(matrix)]


def interaction_matrix():
    """D_u^-1/2 Y D_i^-1/2."""
    of_user, of_item = (
        [sum(e[side] == n for e in EDGES) for n in range(size)] for side, size in ((0, USERS), (1, ITEMS))
    )
    return [
        [((u, i) in EDGES) / math.sqrt(of_user[u] * of_item[i]) if (u, i) in EDGES else 0.0 for i in range(ITEMS)]
        for u in range(USERS)
    ]


@pytest.mark.parametrize("missing", [0, 2])
def test_knn_graph(missing):
    feature = FEATURES["sound"].clone()
    feature[:missing] = 0
    close(dense(knn_graph(feature, 3)), knn_laplacian(numbers(feature), 3), 1e-6)


def test_interaction_adjacency():
    close(dense(interaction_adjacency(*EDGE_T, USERS, ITEMS)), interaction_matrix(), 1e-6)


def test_items_that_are_alike_in_every_modality_are_linked():
    pairs = set(zip(*(t.tolist() for t in alike_items(list(FEATURES.values()), 3)), strict=True))
    tables = [numbers(f) for f in FEATURES.values()]
    near = [
        {(i, j) for i in range(ITEMS) for j in ref.knn(t, 3, i) if i != j and ref.cosine(t[i], t[j]) > 0}
        for t in tables
    ]
    assert pairs == near[0] & near[1]
    assert pairs
    linked = [[0.0] * NODES for _ in range(NODES)]
    for u, i in EDGES:
        linked[u][USERS + i] = linked[USERS + i][u] = 1.0
    for i, j in pairs:
        linked[USERS + i][USERS + j] = linked[USERS + j][USERS + i] = 1.0
    edges = alike_items(list(FEATURES.values()), 3)
    close(dense(bipartite_adjacency(*EDGE_T, USERS, ITEMS, item_edges=edges)), symmetric(linked), 1e-6)


def side_of(state, id_path, blocks):
    """Side information of every node: what the blocks share, and what each adds as the id path prefers it."""
    side = []
    for node in range(NODES):
        rows = [block[node] for block in blocks]
        logits = [
            ref.dot(state["common.score"][0], [math.tanh(x) for x in affine(state, "common.hidden", row)])
            for row in rows
        ]
        top = ref.logsumexp(logits)
        common = add(*(scaled(math.exp(logit - top), row) for logit, row in zip(logits, rows, strict=True)))
        own = [
            times(sigmoid(affine(state, f"prefer.{m}", id_path[node])), add(row, scaled(-1, common)))
            for m, row in enumerate(rows)
        ]
        side.append(scaled(1 / (len(rows) + 1), add(common, *own)))
    return side


def explicit_blocks(state, item_layers, k=3):
    blocks = []
    for m, name in enumerate(FEATURES):
        gates = [
            sigmoid(affine(state, f"gated.{m}.gate", affine(state, f"gated.{m}.project", row)))
            for row in state[f"gated.{m}.feature"]
        ]
        item = [times(x, gate) for x, gate in zip(state["item"], gates, strict=True)]
        for _ in range(item_layers):
            item = ref.multiply(knn_laplacian(numbers(FEATURES[name]), k), item)
        blocks.append(ref.multiply(interaction_matrix(), item) + item)
    return blocks


@pytest.mark.parametrize("item_layers", [1, 2])
def test_mgcn(item_layers):
    model, state = backbone("mgcn", knn=3, item_layers=item_layers, reg=0.3, cl=0.7)
    id_path = ref.propagate_mean(ref.adjacency(EDGES, USERS, ITEMS), state["user"] + state["item"], 2)
    blocks = explicit_blocks(state, item_layers)
    side = side_of(state, id_path, blocks)
    scoring = [add(a, b) for a, b in zip(id_path, side, strict=True)]
    reps = model.propagate()
    close(reps.user_UL, id_path[:USERS], 1e-6)
    close(reps.item_IL, id_path[USERS:], 1e-6)
    close(reps.user_US, scoring[:USERS], 1e-6)
    close(reps.item_IS, scoring[USERS:], 1e-6)
    for name, block in zip(FEATURES, blocks, strict=True):
        close(reps.modality_IL[name], block[USERS:], 1e-6)
    user, positive, _ = batch_rows(side[:USERS], side[USERS:])
    id_user, id_positive, _ = batch_rows(id_path[:USERS], id_path[USERS:])
    expected = expected_bpr(scoring[:USERS], scoring[USERS:])
    expected += 0.3 * squares(*batch_rows(scoring[:USERS], scoring[USERS:]))
    expected += 0.7 * (contrast(user, id_user, 0.2) + contrast(positive, id_positive, 0.2))
    close(sum(model.losses(reps, BATCH).values()), expected, 1e-6)


def test_gume():
    settings = {
        "knn": 3,
        "item_layers": 2,
        "reg": 0.3,
        "cl": 0.7,
        "um": 0.2,
        "vt": 0.4,
        "extended_reg": 0.5,
        "noise": 0.0,
    }
    model, state = backbone("gume", **settings)
    model.train()
    model.before_epoch(1, generator(0))
    linked = [[0.0] * NODES for _ in range(NODES)]
    for u, i in EDGES:
        linked[u][USERS + i] = linked[USERS + i][u] = 1.0
    for i, j in zip(*(t.tolist() for t in alike_items(list(FEATURES.values()), 3)), strict=True):
        linked[USERS + i][USERS + j] = linked[USERS + j][USERS + i] = 1.0
    graph = symmetric(linked)
    id_path = ref.propagate_mean(graph, state["user"] + state["item"], 3)
    blocks = explicit_blocks(state, 2)
    side = side_of(state, id_path, blocks)
    scoring = [add(a, b) for a, b in zip(id_path, side, strict=True)]
    tables = [state[f"extended_user.{m}"] + block[USERS:] for m, block in enumerate(blocks)]
    layers = [ref.propagate_mean(graph, table, 3) for table in tables]
    extended = [scaled(1 / len(layers), add(*rows)) for rows in zip(*layers, strict=True)]
    reps = model.propagate()
    close(reps.user_US, scoring[:USERS], 1e-6)
    close(reps.item_IS, scoring[USERS:], 1e-6)
    close(reps.item_IL, id_path[USERS:], 1e-6)
    side_user, side_item, _ = batch_rows(side[:USERS], side[USERS:])
    id_user, id_item, _ = batch_rows(id_path[:USERS], id_path[USERS:])
    extended_user, extended_item, _ = batch_rows(extended[:USERS], extended[USERS:])
    apart = 0.0
    for left, right in itertools.combinations([[x for row in block for x in row] for block in blocks], 2):
        apart += abs(ref.variance(left) - ref.variance(right)) + abs(ref.mean(left) - ref.mean(right))
    users = contrast(extended_user, side_user, 0.1)
    users += contrast(side_user, side_user, 0.1) + contrast(extended_user, extended_user, 0.1)
    expected = {
        "bpr": expected_bpr(scoring[:USERS], scoring[USERS:]),
        "reg": 0.3 * squares(*batch_rows(scoring[:USERS], scoring[USERS:])),
        "cl": 0.7 * (contrast(side_user, id_user, 0.4) + contrast(side_item, id_item, 0.4)),
        "vt": 0.4 * apart,
        "um": 0.2 * users,
        "extended_reg": 0.5 * squares(extended_item),
    }
    terms = model.losses(reps, BATCH)
    assert list(terms) == list(expected)
    for name, value in expected.items():
        close(terms[name], value, 1e-5)
    model.eval()
    assert model.propagate().extended is None


def test_gume_noise_has_the_length_that_is_set():
    model, _ = backbone("gume", noise=0.3)
    model.before_epoch(1, generator(0))
    vector = randn(5, 7, 3)
    moved = model._noisy(vector) - vector
    close(moved.norm(dim=1), [0.3] * 7)
    assert bool((moved * vector > 0).all())
    assert not torch.equal(model._noisy(vector), model._noisy(vector))


@pytest.mark.parametrize("training", [False, True])
def test_pgl(training):
    shares = {"sound": 0.3, "scent": 0.7}
    model, state = backbone("pgl", knn=3, modality_weights=shares, ssl=0.0, pruned=0.5 if training else 0.0)
    model.train(training)
    model.before_epoch(1, generator(0))
    edges = EDGES
    if training:
        left = model.principal.indices.numel() // 2
        assert left == round(0.5 * len(EDGES))
        matrix = dense(model.principal)
        edges = [(u, i) for u, i in EDGES if matrix[u, USERS + i] > 0]
        assert len(edges) == left
    content = {
        name: [ref.unit(ref.apply(state[f"weight.{m}"], row)) for row in state[f"feature.{m}"]]
        for m, name in enumerate(FEATURES)
    }
    block = [[*a, *b] for a, b in zip(*content.values(), strict=True)]
    everything = ref.propagate_mean(ref.adjacency(edges, USERS, ITEMS), state["user"] + block, 2)
    tables = {name: numbers(f) for name, f in FEATURES.items()}
    similar = ref.multiply(ref.item_graph(tables, 3, shares), block)
    item = [add(x, h) for x, h in zip(everything[USERS:], similar, strict=True)]
    reps = model.propagate()
    close(reps.user_US, everything[:USERS], 1e-6)
    close(reps.item_IS, item, 1e-6)
    close(reps.item_IL, [scaled(0.5, add(row[:3], row[3:])) for row in item], 1e-6)
    close(reps.user_UL, [scaled(0.5, add(row[:3], row[3:])) for row in everything[:USERS]], 1e-6)
    for name in FEATURES:
        close(reps.modality_IL[name], content[name])
    close(model.losses(reps, BATCH)["bpr"], expected_bpr(everything[:USERS], item), 1e-6)


def test_pgl_contrasts_two_dropped_out_copies():
    model, _ = backbone("pgl", knn=3, ssl=0.7, dropout=0.0, pruned=0.0)
    reps = model.propagate()
    user, item, _ = batch_rows(numbers(reps.user_US), numbers(reps.item_IS))
    close(model.losses(reps, BATCH)["ssl"], 0.7 * (contrast(user, user, 0.2) + contrast(item, item, 0.2)), 1e-6)
    model, _ = backbone("pgl", knn=3, dropout=0.25)
    model.before_epoch(1, generator(0))
    ones = torch.ones(400, 6, dtype=torch.float64)
    dropped = model._dropped(ones)
    assert set(dropped.unique().tolist()) == {0.0, 1 / 0.75}
    close(dropped.mean(), 1.0, 0.05)
    assert not torch.equal(dropped, model._dropped(ones))
