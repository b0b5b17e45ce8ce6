"""The distinctive steps of GRCN, DualGNN, SLMRec and LATTICE against loops written from their definitions.

What rests on stored graph values, which are float32, is compared to 1e-6, all else to 1e-10.
"""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from crossrec.backbones import BACKBONES
from crossrec.backbones.lattice import LATTICEConfig
from crossrec.graph import co_interaction_graph
from crossrec.objective import Objective
from crossrec.training import TrainingConfig, fit
from crossrec.types import TrainingSet

from . import reference as ref
from .backbone_worlds import BATCH, EDGE_T, EDGES, FEATURES, ITEMS, USERS, backbone, dense, expected_bpr, score
from .worlds import close, generator, numbers, randn

USER_B, ITEM_B, NEGATIVE_B = (t.tolist() for t in (BATCH.user_B, BATCH.item_B, BATCH.negative_B))
ITEMS_OF = {u: [i for v, i in EDGES if v == u] for u in range(USERS)}
USERS_OF = {i: [u for u, j in EDGES if j == i] for i in range(ITEMS)}


def leaky(vector):
    return [x if x > 0 else 0.01 * x for x in vector]


def add(*vectors):
    return [math.fsum(values) for values in zip(*vectors, strict=True)]


def scaled(factor, vector):
    return [factor * x for x in vector]


def side_by_side(vectors):
    return [x for vector in vectors for x in vector]


def softmax(values):
    top = ref.logsumexp(values) if values else 0.0
    return [math.exp(v - top) for v in values]


def affine(state, name, vector):
    return add(ref.apply(state[f"{name}.weight"], vector), state[f"{name}.bias"])


def mean_square(rows):
    return ref.mean(x * x for row in rows for x in row)


def combined(weights, vectors, dim):
    return add([0.0] * dim, *(scaled(w, v) for w, v in zip(weights, vectors, strict=True)))


# --- GRCN ------------------------------------------------------------------------------------------------------------


def attended(user, item, routing, activation=leaky):
    """x of users and items, and the attention of users to items and of items to users by (who, whom)."""
    dim = len(user[0])
    for _ in range(routing):
        moved = []
        for u in range(USERS):
            shares = softmax([ref.dot(user[u], item[i]) for i in ITEMS_OF[u]])
            moved.append(ref.unit(add(user[u], combined(shares, [item[i] for i in ITEMS_OF[u]], dim))))
        user = moved
    of_user, of_item, user_m, item_m = {}, {}, [], []
    for u in range(USERS):
        shares = softmax([ref.dot(user[u], item[i]) for i in ITEMS_OF[u]])
        of_user |= {(u, i): a for i, a in zip(ITEMS_OF[u], shares, strict=True)}
        user_m.append(add(user[u], activation(combined(shares, [item[i] for i in ITEMS_OF[u]], dim))))
    for i in range(ITEMS):
        shares = softmax([ref.dot(item[i], user[u]) for u in USERS_OF[i]])
        of_item |= {(i, u): a for u, a in zip(USERS_OF[i], shares, strict=True)}
        item_m.append(add(item[i], activation(combined(shares, [user[u] for u in USERS_OF[i]], dim))))
    return user_m, item_m, of_user, of_item


@pytest.mark.parametrize(("routing", "activation"), [(0, None), (3, None), (3, "leaky_relu"), (0, "none")])
@pytest.mark.parametrize("names", [("sound",), ("sound", "scent")])
def test_grcn(routing, activation, names):
    features = {name: FEATURES[name] for name in names}
    model, state = backbone("grcn", features, routing=routing, activation=activation, reg=0.3)
    activate = list if activation == "none" else leaky
    dim, parts = 3, []
    for m, name in enumerate(names):
        user = [ref.unit(row) for row in state[f"preference.{m}"]]
        item = [ref.unit(leaky(affine(state, f"content.{m}.maps.0", row))) for row in numbers(FEATURES[name])]
        parts.append(attended(user, item, routing, activate))
    trust = state["confidence"]
    # the weight of an edge is that of who is listened to
    to_user = {e: max(0.0, *(p[2][e] * trust[USERS + e[1]][m] for m, p in enumerate(parts))) for e in parts[0][2]}
    to_item = {e: max(0.0, *(p[3][e] * trust[e[1]][m] for m, p in enumerate(parts))) for e in parts[0][3]}
    assert 0 < sum(w == 0 for w in [*to_user.values(), *to_item.values()]) < 2 * len(EDGES), "some edges are pruned"
    user, item = ([ref.unit(row) for row in state[kind]] for kind in ("user", "item"))
    users, items = [user], [item]
    for _ in range(2):
        old_user, old_item = users[-1], items[-1]
        users.append(
            [
                combined([to_user[u, i] for i in ITEMS_OF[u]], [old_item[i] for i in ITEMS_OF[u]], dim)
                for u in range(USERS)
            ]
        )
        items.append(
            [
                combined([to_item[i, u] for u in USERS_OF[i]], [old_user[u] for u in USERS_OF[i]], dim)
                for i in range(ITEMS)
            ]
        )
    user, item = ([add(*rows) for rows in zip(*stack, strict=True)] for stack in (users, items))
    wide_user = [side_by_side([user[u], *(p[0][u] for p in parts)]) for u in range(USERS)]
    wide_item = [side_by_side([item[i], *(p[1][i] for p in parts)]) for i in range(ITEMS)]
    reps = model.propagate()
    close(reps.user_UL, user)
    close(reps.item_IL, item)
    close(reps.user_US, wide_user)
    close(reps.item_IS, wide_item)
    for name, part in zip(names, parts, strict=True):
        close(reps.modality_IL[name], part[1])
    ids = mean_square([state["user"][u] for u in USER_B])
    ids += mean_square([state["item"][i] for i in ITEM_B + NEGATIVE_B])
    preferences = sum(mean_square([state[f"preference.{m}"][u] for u in USER_B]) for m in range(len(names)))
    expected = expected_bpr(wide_user, wide_item) + 0.3 * (ids + preferences + mean_square(trust))
    close(sum(model.losses(reps, BATCH).values()), expected)


def test_grcn_without_routing_is_routing_over_edges_that_lead_to_items():
    """Rounds of routing in which no edge leads to a user: p ← unit(p + an empty sum)."""
    model, state = backbone("grcn", {"scent": FEATURES["scent"]}, routing=0, activation="none")
    users = [ref.unit(row) for row in state["preference.0"]]
    for _ in range(3):
        users = [ref.unit(add(row, combined([], [], 3))) for row in users]
    items = [ref.unit(leaky(affine(state, "content.0.maps.0", row))) for row in numbers(FEATURES["scent"])]
    users, _, _, _ = attended(users, items, 0, list)
    close(model.propagate().user_US[:, 3:], users)


def test_grcn_learns_its_edge_weights():
    model, _ = backbone("grcn")
    inputs = [model.preference[0], model.content[0].maps[0].weight, model.confidence]
    assert torch.autograd.gradcheck(lambda *_: model.propagate().item_IL, inputs)


# --- DualGNN ---------------------------------------------------------------------------------------------------------


def test_user_graph():
    user = torch.tensor([0, 0, 0, 1, 1, 2, 2, 2, 3, 4, 0])
    item = torch.tensor([0, 1, 2, 0, 1, 1, 2, 3, 3, 4, 0])  # user 4 shares nothing; the last row is a repetition
    common = [[2, 2, 0, 0], [2, 1, 0, 0], [2, 1, 1, 0], [1, 0, 0, 0]]
    neighbours = {0: {1: 2, 2: 2}, 1: {0: 2, 2: 1}, 2: {0: 2, 1: 1, 3: 1}, 3: {2: 1}, 4: {}}
    assert [sorted(neighbours[u].values(), reverse=True) for u in range(4)] == [[c for c in row if c] for row in common]
    expected = [[0.0] * 5 for _ in range(5)]
    for u, others in neighbours.items():
        for (v, _), share in zip(others.items(), softmax(list(others.values())), strict=True):
            expected[u][v] = share
    close(dense(co_interaction_graph(user, item, 5, 5, 40)), expected, 1e-6)
    # with two neighbours each, user 2 keeps user 0 and one of the equal ones
    graph = dense(co_interaction_graph(user, item, 5, 5, 2))
    close(graph[[0, 1, 3, 4]], [expected[u] for u in (0, 1, 3, 4)], 1e-6)
    high, low = softmax([2, 1])
    close(graph[2, 0], high, 1e-6)
    close(sorted(graph[2].tolist())[-2:], [low, high], 1e-6)


def test_user_graph_keeps_the_largest_counts():
    observed = torch.rand(30, 40, generator=generator(0)) < 0.3
    user, item = observed.nonzero().T.contiguous()
    counts = numbers(observed.double() @ observed.double().T)
    graph = numbers(dense(co_interaction_graph(user, item, 30, 40, 4)))
    for u, row in enumerate(graph):
        chosen = [v for v, weight in enumerate(row) if weight]
        others = [counts[u][v] for v in range(30) if v != u]
        assert sorted((counts[u][v] for v in chosen), reverse=True) == sorted(others, reverse=True)[:4]
        close([row[v] for v in chosen], softmax([counts[u][v] for v in chosen]), 1e-6)


@pytest.mark.parametrize("aggregation", ["sym", "sum"])
@pytest.mark.parametrize("names", [("scent",), ("sound", "scent")])
def test_dualgnn(aggregation, names):
    model, state = backbone("dualgnn", {name: FEATURES[name] for name in names}, aggregation=aggregation, reg=0.3)
    matrix = ref.adjacency(EDGES, USERS, ITEMS)
    if aggregation == "sum":
        matrix = [[float(x > 0) for x in row] for row in matrix]
    parts = []
    for m, name in enumerate(names):
        user = [ref.unit(row) for row in state[f"preference.{m}"]]
        hidden = [leaky(affine(state, f"content.{m}.maps.0", row)) for row in numbers(FEATURES[name])]
        assert len(hidden[0]) == 4 * 3
        item = [ref.unit(affine(state, f"content.{m}.maps.1", row)) for row in hidden]
        stack = [user + item]
        for _ in range(2):
            stack.append(ref.multiply(matrix, stack[-1]))
        parts.append([add(*rows) for rows in zip(*stack, strict=True)])
    item = [add(*(p[USERS + i] for p in parts)) for i in range(ITEMS)]
    fused = [combined(state["fusion"][u], [p[u] for p in parts], 3) for u in range(USERS)]
    graph = numbers(dense(co_interaction_graph(*EDGE_T, USERS, ITEMS, 40)))
    user = [add(fused[u], combined(graph[u], fused, 3)) for u in range(USERS)]
    reps = model.propagate()
    close(reps.user_UL, user, 1e-6)
    close(reps.item_IL, item, 1e-6)
    for name, part in zip(names, parts, strict=True):
        close(reps.modality_IL[name], part[USERS:], 1e-6)
    positive, negative = (
        score(user, item, BATCH.user_B, BATCH.item_B),
        score(user, item, BATCH.user_B, BATCH.negative_B),
    )
    log2 = ref.mean(-math.log2(1 / (1 + math.exp(n - p))) for p, n in zip(positive, negative, strict=True))
    squares = mean_square(state["fusion"])
    squares += sum(mean_square([state[f"preference.{m}"][u] for u in USER_B]) for m in range(len(names)))
    close(sum(model.losses(reps, BATCH).values()), log2 + 0.3 * squares, 1e-6)


def test_fusion_weights_start_as_a_softmax():
    kind = BACKBONES["dualgnn"]
    model = kind(kind.config_type(dim=3), TrainingSet(USERS, ITEMS, *EDGE_T, FEATURES), generator(0))
    close(model.fusion.sum(1), [1.0] * USERS, 1e-6)
    assert (model.fusion > 0).all()


# --- SLMRec ----------------------------------------------------------------------------------------------------------


def matched(left, right, temperature):
    """mean_n InfoNCE of row n of one against the same row of the other, by cosine."""
    return ref.mean(ref.cross_entropy([ref.cosine(x, y) / temperature for y in right], n) for n, x in enumerate(left))


def slmrec_parts(state, names):
    matrix, stacks = ref.adjacency(EDGES, USERS, ITEMS), []
    for m, name in enumerate(("id", *names)):
        item = state["item"]
        if name != "id":
            item = [affine(state, f"content.{m - 1}.maps.0", ref.unit(row)) for row in numbers(FEATURES[name])]
        stacks.append(ref.propagate_mean(matrix, state["user"] + item, 3))
    wide = [side_by_side(stack[n] for stack in stacks) for n in range(USERS + ITEMS)]
    user = [affine(state, "fuse_user", row) for row in wide[:USERS]]
    return user, [affine(state, "fuse_item", row) for row in wide[USERS:]], [stack[USERS:] for stack in stacks]


@pytest.mark.parametrize("names", [("scent",), ("sound", "scent")])
def test_slmrec_fine_and_coarse(names):
    model, state = backbone(
        "slmrec", {name: FEATURES[name] for name in names}, dim=4, ssl=0.3, temperature=0.2, ssl_temperature=0.5
    )
    user, item, parts = slmrec_parts(state, names)
    reps = model.propagate()
    close(reps.user_UL, user, 1e-5)
    close(reps.item_IL, item, 1e-5)
    for name, part in zip(names, parts[1:], strict=True):
        close(reps.modality_IL[name], part, 1e-5)
    terms = model.losses(reps, BATCH)
    close(terms["contrast"], matched([user[u] for u in USER_B], [item[i] for i in ITEM_B], 0.2), 1e-5)
    distinct, total = sorted(set(ITEM_B)), 0.0
    fused = [parts[0][i] for i in distinct]
    for s, part in enumerate(parts[1:]):
        fused = [affine(state, f"chain.{s}", row) for row in fused]
        other = [affine(state, f"side.{s}", part[i]) for i in distinct]
        assert len(fused[0]) == len(other[0]) == (2 if s == len(names) - 1 else 4)
        total += matched(fused, other, 0.5)
    close(terms["ssl"], 0.3 * total, 1e-5)


@pytest.mark.parametrize("task", ["fd", "fm"])
@pytest.mark.parametrize("names", [("scent",), ("sound", "scent")])
def test_slmrec_views(task, names):
    settings = {"task": task, "dropout": 0.4, "ssl": 0.3, "ssl_temperature": 0.5}
    model, state = backbone("slmrec", {name: FEATURES[name] for name in names}, dim=4, **settings)
    _, _, parts = slmrec_parts(state, names)
    distinct = sorted(set(ITEM_B))
    wide = [side_by_side(part[i] for part in parts) for i in distinct]
    views, fuse = [], model.fuse_item.forward
    model.before_epoch(1, generator(3))
    reps = model.propagate()
    model.fuse_item.forward = lambda view: (views.append(numbers(view)), fuse(view))[1]
    value = model.losses(reps, BATCH)["ssl"]
    assert len(views) == 2
    for view in views:
        for row, whole in zip(view, wide, strict=True):
            close(row[:4], whole[:4], 1e-5)  # the id is never touched
    if task == "fd":
        for view in views:
            shares = [
                x / w for row, whole in zip(view, wide, strict=True) for x, w in zip(row[4:], whole[4:], strict=True)
            ]
            assert all(share == 0 or abs(share - 1 / 0.6) < 1e-4 for share in shares)
            assert 0 < shares.count(0) < len(shares)
        assert views[0] != views[1]
    else:
        close(views[0], wide, 1e-5)
        for row, whole in zip(views[1], wide, strict=True):
            blocks = [row[4 * m + 4 : 4 * m + 8] for m in range(len(names))]
            assert sum(not any(block) for block in blocks) == 1, "one modality is masked"
            for m, block in enumerate(blocks):
                if any(block):
                    close(block, whole[4 * m + 4 : 4 * m + 8], 1e-5)
    model.fuse_item.forward = fuse
    left, right = ([affine(state, "fuse_item", row) for row in view] for view in views)
    close(value, 0.3 * matched(left, right, 0.5))
    # every step has views of its own, unless there is one modality to mask, and an epoch's follow from its generator
    later = [model.losses(reps, BATCH)["ssl"] for _ in range(4)]
    assert (task, len(names)) == ("fm", 1) or any(other != value for other in later)
    model.before_epoch(2, generator(3))
    assert model.losses(reps, BATCH)["ssl"] == value


# --- LATTICE ---------------------------------------------------------------------------------------------------------


def symmetric(matrix):
    """D^-1/2 S D^-1/2 with the row sums D."""
    root = [math.sqrt(sum(row)) for row in matrix]
    return [
        [x / (root[i] * root[j]) if x and root[i] and root[j] else 0.0 for j, x in enumerate(row)]
        for i, row in enumerate(matrix)
    ]


def similar(table, k):
    """The k largest cosines of every item, negative ones zero."""
    graph = [[0.0] * ITEMS for _ in range(ITEMS)]
    for i in range(ITEMS):
        if ref.norm(table[i]):
            for j in ref.knn(table, k, i):
                graph[i][j] = max(0.0, ref.cosine(table[i], table[j]))
    return graph


def weighted(shares, graphs):
    """Σ_m w_m S^m."""
    return [add(*(scaled(w, row) for w, row in zip(shares, rows, strict=True))) for rows in zip(*graphs, strict=True)]


def projected(state, features):
    """Linear(feature), and zero for an item without the feature."""
    return [
        [affine(state, f"content.{m}.maps.0", row) if any(row) else [0.0] * 3 for row in numbers(features[name])]
        for m, name in enumerate(features)
    ]


def lattice_graph(model, state, features, k, mix, normalization="sum"):
    shares = softmax(state["modality_logit"])
    learned = symmetric(weighted(shares, [similar(table, k) for table in projected(state, features)]))
    graphs = [similar(numbers(f), k) for f in features.values()]
    if normalization == "modality":
        original = weighted(shares, [symmetric(graph) for graph in graphs])
    else:
        original = symmetric(weighted(shares, graphs))
    return [
        [(1 - mix) * a + mix * b for a, b in zip(*rows, strict=True)] for rows in zip(learned, original, strict=True)
    ]


def written(model):
    """The item graph of the next step, dense."""
    index, value = model.mixed_graph(model._content())
    assert index.shape == value.shape
    empty = torch.zeros(ITEMS, ITEMS, dtype=value.dtype)
    return empty.scatter_add(1, index, value)


@pytest.mark.parametrize("missing", [0, 1, 3])
@pytest.mark.parametrize(("mix", "tolerance"), [(0.0, 1e-10), (0.9, 1e-6), (1.0, 1e-6)])
@pytest.mark.parametrize("normalization", [None, "sum", "modality"])
def test_lattice_graph(missing, mix, tolerance, normalization):
    features = {name: table.clone() for name, table in FEATURES.items()}
    features["sound"][:missing] = 0
    model, state = backbone("lattice", features, knn=3, original=mix, original_normalization=normalization)
    expected = lattice_graph(model, state, features, 3, mix, normalization)
    close(written(model), expected, tolerance)
    other = lattice_graph(model, state, features, 3, mix, "sum" if normalization == "modality" else "modality")
    assert (other == expected) == (mix == 0), "the order counts"


def test_lattice_trains_the_raw_features():
    """The features move with the projections, the graph of the raw features stays as it was."""
    model, state = backbone("lattice", knn=3, original=0.3, trainable_features=True)
    assert {name for name, _ in model.named_parameters() if "feature" in name} == {
        "content.0.feature_matrix",
        "content.1.feature_matrix",
    }
    trained = {name: torch.tensor(state[f"content.{m}.feature_matrix"]) for m, name in enumerate(FEATURES)}
    assert not any(torch.equal(trained[name], FEATURES[name]) for name in FEATURES)
    for name, table in trained.items():
        number = list(FEATURES).index(name)
        content = [affine(state, f"content.{number}.maps.0", row) for row in numbers(table)]
        close(model.propagate().modality_IL[name], content)
    shares = softmax(state["modality_logit"])
    learned = symmetric(weighted(shares, [similar(table, 3) for table in projected(state, trained)]))
    original = symmetric(weighted(shares, [similar(numbers(f), 3) for f in FEATURES.values()]))
    close(written(model), weighted([0.7, 0.3], [learned, original]), 1e-6)
    inputs = [content.feature_matrix for content in model.content]
    assert torch.autograd.gradcheck(lambda *_: model.mixed_graph(model._content())[1], inputs)


def test_features_start_as_they_were_given():
    data = TrainingSet(USERS, ITEMS, *EDGE_T, {name: f.float() for name, f in FEATURES.items()})
    kind = BACKBONES["lattice"]
    model = kind(kind.config_type(dim=3, trainable_features=True), data, generator(1))
    assert all(torch.equal(c.feature_matrix, f) for c, f in zip(model.content, data.features.values(), strict=True))
    with torch.no_grad():
        model.content[0].feature_matrix += 1
    assert torch.equal(data.features["sound"], FEATURES["sound"].float()), "the data set keeps its own"


def test_lattice_graph_is_differentiable():
    model, _ = backbone("lattice", knn=3, original=0.3)
    inputs = [model.modality_logit, model.content[0].maps[0].weight, model.content[1].maps[0].bias]
    assert torch.autograd.gradcheck(lambda *_: model.mixed_graph(model._content())[1], inputs)


@pytest.mark.parametrize("item_layers", [1, 2])
def test_lattice(item_layers):
    model, state = backbone("lattice", knn=3, original=0.9, item_layers=item_layers, reg=0.3)
    model.train()
    model.before_epoch(1, generator(0))
    near = state["item"]
    for _ in range(item_layers):
        near = ref.multiply(lattice_graph(model, state, FEATURES, 3, 0.9), near)
    plain = [[float(x > 0) for x in row] for row in ref.adjacency(EDGES, USERS, ITEMS)]
    looped = [[x + (a == b) for b, x in enumerate(row)] for a, row in enumerate(plain)]
    everything = ref.propagate_mean([scaled(1 / sum(row), row) for row in looped], state["user"] + state["item"], 2)
    user = everything[:USERS]
    item = [add(x, ref.unit(h)) for x, h in zip(everything[USERS:], near, strict=True)]
    for again in range(2):  # the step that learns the graph, and the steps that use it
        reps = model.propagate()
        assert model.rebuild is False, again
        close(reps.user_UL, user, 1e-6)
        close(reps.item_IL, item, 1e-6)
    for number, name in enumerate(FEATURES):
        close(reps.modality_IL[name], [affine(state, f"content.{number}.maps.0", r) for r in numbers(FEATURES[name])])
    chosen = [user[u] for u in USER_B] + [item[i] for i in ITEM_B + NEGATIVE_B]
    lengths = 0.5 * math.fsum(x * x for row in chosen for x in row) / len(USER_B)
    close(sum(model.losses(reps, BATCH).values()), expected_bpr(user, item) + 0.3 * lengths, 1e-6)


def test_lattice_learns_the_graph_in_the_first_step_of_an_epoch():
    model, _ = backbone("lattice", knn=3)
    model.train()
    learnt = [model.modality_logit, *model.content.parameters()]
    for epoch, step in itertools.product((1, 2), (1, 2, 3)):
        if step == 1:
            model.before_epoch(epoch, generator(0))
            before = written(model)
        model.zero_grad(set_to_none=True)
        sum(model.losses(model.propagate(), BATCH).values()).backward()
        if step == 1:
            assert all(p.grad is not None and p.grad.any() for p in learnt)
        else:
            assert all(p.grad is None for p in learnt)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += 0.3 * randn(epoch * 10 + step, *parameter.shape)
        close(dense(model.frozen), before, 1e-10)
        assert not torch.allclose(written(model), before)
    # between epochs, without gradient, nothing is rebuilt
    model.before_epoch(3, generator(0))
    with torch.no_grad():
        model.propagate()
    model.eval().propagate()
    assert model.rebuild


def test_lattice_recommends_after_reloading_as_in_the_epoch():
    model, _ = backbone("lattice", knn=3)
    model.train()
    model.before_epoch(1, generator(0))
    model.propagate()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 1
    expected = model.eval().propagate().item_IL
    other, _ = backbone("lattice", knn=2)
    with pytest.raises(RuntimeError, match="graph_index"):
        other.load_state_dict(model.state_dict())
    other, _ = backbone("lattice", knn=3)
    with torch.no_grad():
        other.content[0].maps[0].weight += 3
    other.load_state_dict(model.state_dict())
    assert torch.equal(other.eval().propagate().item_IL, expected)


def test_lattice_lowers_its_learning_rate(monkeypatch):
    config = LATTICEConfig(dim=4, learning_rate=0.5, decay_epochs=2)
    expected = [0.5, 0.5, 0.48, 0.48, 0.4608]
    close([config.learning_rate_at(epoch) for epoch in range(1, 6)], expected)
    used, step = [], torch.optim.Adam.step

    def watched(self, *arguments, **named):
        used.append([group["lr"] for group in self.param_groups])
        return step(self, *arguments, **named)

    monkeypatch.setattr(torch.optim.Adam, "step", watched)
    monkeypatch.setattr("crossrec.training.validate", lambda *_: {})
    data = TrainingSet(USERS, ITEMS, *EDGE_T, {name: f.float() for name, f in FEATURES.items()})
    fit(Objective(config, None, data, 0), data, None, TrainingConfig(epochs=5, batch_size=100, device="cpu"))
    close(used, [[rate] for rate in expected])
