"""The distinctive steps of SGL, DirectAU and NCL against loops written from their definitions.

Results of the normalised adjacency, whose values are float32, are compared to 1e-6, all others to 1e-10.
"""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from crossrec.backbones import BACKBONES
from crossrec.errors import ConfigError
from crossrec.graph import edge_drop, node_drop
from crossrec.losses import uniformity
from crossrec.ops.blockwise import rows_per_block
from crossrec.ops.vectors import l2_normalize
from crossrec.types import TrainingSet

from . import reference as ref
from .backbone_worlds import BATCH, EDGES, ITEMS, USERS, backbone, dense, expected_bpr, expected_norm
from .worlds import close, generator, numbers, randn

USER_B, ITEM_B = BATCH.user_B.tolist(), BATCH.item_B.tolist()


def info_nce(anchors, candidates, index, temperature):
    """Σ_b -log softmax_v(cos(a_b, c_v) / τ)_b."""
    logits = {b: [ref.cosine(anchors[b], c) / temperature for c in candidates] for b in set(index)}
    return math.fsum(ref.cross_entropy(logits[b], b) for b in index)


# --- SGL -------------------------------------------------------------------------------------------------------------


def test_edge_drop_is_even():
    user, rounds, draw = torch.arange(10), 2000, generator(0)
    edge_index = [edge_drop(user, 0.3, draw) for _ in range(rounds)]
    assert all(len(k) == 7 and k.tolist() == sorted(set(k.tolist())) for k in edge_index)
    share = torch.bincount(torch.cat(edge_index), minlength=10) / rounds
    assert ((share - 0.7).abs() < 4 * math.sqrt(0.3 * 0.7 / rounds)).all()


def test_node_drop_takes_all_edges_of_a_node():
    user, item = (t.flatten() for t in torch.meshgrid(torch.arange(10), torch.arange(20), indexing="ij"))
    draw = generator(0)
    for _ in range(20):
        edge_index = node_drop(user, item, 10, 20, 0.2, draw)
        users, items = user[edge_index].unique(), item[edge_index].unique()
        assert (len(users), len(items)) == (8, 16)
        # everything between those that stay is there
        assert len(edge_index) == 8 * 16
    # nodes without edges are drawn too
    assert len(node_drop(user, item, 10**6, 20, 0.0, draw)) == 200
    assert len(node_drop(user[:1], item[:1], 10, 20, 0.99, draw)) == 1


@pytest.mark.parametrize("augmentation", ["edge_drop", "node_drop", "random_walk"])
def test_views_follow_from_the_generator_alone(augmentation):
    def drawn(seed, global_seed):
        torch.manual_seed(global_seed)
        model, _ = backbone("sgl", augmentation=augmentation, dropout=0.4, layers=2)
        model.before_epoch(1, generator(seed))
        return [[numbers(dense(layer)) for layer in view] for view in model.views]

    assert drawn(1, 0) == drawn(1, 99)
    assert any(drawn(seed, 0) != drawn(1, 0) for seed in (2, 3, 4))


def graph_of(matrix):
    """The edges of an adjacency, after a check that it is normalised by the degrees it has."""
    edges = [(u, i) for u in range(USERS) for i in range(ITEMS) if dense(matrix)[u, USERS + i]]
    close(dense(matrix), ref.adjacency(edges, USERS, ITEMS), 1e-6)
    return edges


@pytest.mark.parametrize("augmentation", ["edge_drop", "node_drop", "random_walk"])
def test_views(augmentation):
    model, _ = backbone("sgl", augmentation=augmentation, dropout=0.4, layers=3)
    draw, seen = generator(2), []
    for epoch in (1, 2):
        model.before_epoch(epoch, draw)
        views = [[graph_of(layer) for layer in view] for view in model.views]
        assert [len(view) for view in views] == [3, 3]
        assert all(set(graph) < set(EDGES) for view in views for graph in view)
        if augmentation != "node_drop":
            assert all(len(graph) == round(0.6 * len(EDGES)) for view in views for graph in view)
        for view in views:
            distinct = len(set(map(tuple, view)))
            assert distinct > 1 if augmentation == "random_walk" else distinct == 1
        seen.append(views)
    assert seen[0] != seen[1], "drawn anew every epoch"
    assert seen[0][0] != seen[0][1], "two views"


@pytest.mark.parametrize("augmentation", ["edge_drop", "node_drop", "random_walk"])
def test_sgl(augmentation):
    model, state = backbone("sgl", augmentation=augmentation, dropout=0.4, layers=2, reg=0.3, ssl=0.7, temperature=0.2)
    model.before_epoch(1, generator(4))
    ego = state["user"] + state["item"]
    everything = ref.propagate_mean(ref.adjacency(EDGES, USERS, ITEMS), ego, 2)
    expected = expected_bpr(everything[:USERS], everything[USERS:])
    expected += 0.3 * expected_norm(state["user"], state["item"])
    views = []
    for view in model.views:
        stack = [ego]
        for layer in view:
            stack.append(ref.multiply(ref.adjacency(graph_of(layer), USERS, ITEMS), stack[-1]))
        views.append([[ref.mean(v) for v in zip(*rows, strict=True)] for rows in zip(*stack, strict=True)])
    one, two = views
    both = info_nce(one[:USERS], two[:USERS], USER_B, 0.2) + info_nce(one[USERS:], two[USERS:], ITEM_B, 0.2)
    terms = model.losses(model.propagate(), BATCH)
    close(terms["ssl"], 0.7 * both / len(USER_B), 1e-6)
    close(sum(terms.values()), expected + 0.7 * both / len(USER_B), 1e-6)
    # scores and BPR are of the whole graph
    close(model.propagate().user_UL, everything[:USERS], 1e-6)


def test_sgl_with_sums_weighs_the_norms_less():
    """Σ_b softplus + reg · EmbLoss + ssl · Σ_b InfoNCE, as the original adds: B times the loss with reg / B."""
    pairs, reg, ssl = len(USER_B), 0.3, 0.7
    model, state = backbone("sgl", layers=2, dropout=0.0, reg=reg / pairs, ssl=ssl, temperature=0.2)
    ego = state["user"] + state["item"]
    everything = ref.propagate_mean(ref.adjacency(EDGES, USERS, ITEMS), ego, 2)
    user, item = everything[:USERS], everything[USERS:]
    contrast = info_nce(user, user, USER_B, 0.2) + info_nce(item, item, ITEM_B, 0.2)
    summed = pairs * expected_bpr(user, item) + reg * expected_norm(state["user"], state["item"]) + ssl * contrast
    model.before_epoch(1, generator(0))
    close(pairs * sum(model.losses(model.propagate(), BATCH).values()), summed, 1e-6)


# --- DirectAU --------------------------------------------------------------------------------------------------------


def spread(vectors, sharpness=2.0):
    """log mean_{n≠m} exp(-t ‖x - y‖²)."""
    kernel = [
        math.exp(-sharpness * ref.norm([a - b for a, b in zip(x, y, strict=True)]) ** 2)
        for x, y in itertools.permutations(vectors, 2)
    ]
    return math.log(ref.mean(kernel))


@pytest.mark.parametrize("encoder", ["mf", "lightgcn"])
def test_directau(encoder):
    model, state = backbone("directau", encoder=encoder, layers=2, gamma_uniformity=0.6)
    table = state["user"] + state["item"]
    if encoder == "lightgcn":
        table = ref.propagate_mean(ref.adjacency(EDGES, USERS, ITEMS), table, 2)
    rows = [ref.unit(row) for row in table]
    users, items = [rows[u] for u in USER_B], [rows[USERS + i] for i in ITEM_B]
    apart = [ref.norm([a - b for a, b in zip(u, i, strict=True)]) ** 2 for u, i in zip(users, items, strict=True)]
    terms = model.losses(model.propagate(), BATCH)
    tolerance = 1e-10 if encoder == "mf" else 1e-6
    close(terms["closeness"], ref.mean(apart), tolerance)
    close(terms["uniformity"], 0.6 * (spread(users) + spread(items)) / 2, tolerance)
    reps = model.propagate()
    close(reps.item_IL, rows[USERS:], tolerance)
    close(reps.item_IS, table[USERS:], tolerance)


def test_directau_scores_by_cosine():
    model, state = backbone("directau", scores="cosine")
    close(model.propagate().user_US, [ref.unit(row) for row in state["user"]])


@pytest.mark.parametrize("length", [1.0, 3.0, 30.0])
def test_uniformity_of_any_vectors(length):
    """Far apart, only the nearest pair counts: exponents below -1000 are no 0 and no infinity."""
    table = (length * randn(0, 6, 3)).requires_grad_()
    model = uniformity(table)
    distances = torch.pdist(table).square()
    close(model, (torch.logsumexp(-2 * distances, 0) - math.log(len(distances))).item())
    model.backward()
    expected = torch.autograd.grad(torch.logsumexp(-2 * torch.pdist(table).square(), 0), table)[0]
    close(table.grad, expected)
    assert uniformity(randn(0, 1, 3).requires_grad_()).item() == 0


def test_uniformity_from_its_formula():
    table = randn(0, 6, 3)
    close(uniformity(table), spread(numbers(table)))


@pytest.mark.parametrize("width", [1, 3])
def test_uniformity_of_two_vectors(width):
    table = randn(0, 2, width)
    close(uniformity(table, sharpness=0.7), -0.7 * float((table[0] - table[1]).square().sum()))


@pytest.mark.parametrize("sharpness", [1.0, 40.0, 100.0, 1000.0])
def test_uniformity_of_any_sharpness_in_float32(sharpness):
    """exp(2 · 100) is no float32, the kernel of nearly equal vectors is: two pairs, far from each other."""
    table = l2_normalize(torch.tensor([[1.0, 0.0], [1.0, 0.01], [-1.0, 0.0], [-1.0, 0.02]]))
    exact = spread(numbers(table), sharpness)
    assert uniformity(table, sharpness=sharpness).item() == pytest.approx(exact, rel=1e-3)
    assert uniformity(table, sharpness=sharpness, normalized=True).item() == pytest.approx(exact, rel=1e-3)


@pytest.mark.parametrize("length", [1.0, 30.0])
def test_counts_of_vectors_are_exact(length):
    table = length * randn(0, 4, 3)
    count = torch.tensor([3, 7, 11, 13])
    close(uniformity(table, count), spread(numbers(table.repeat_interleave(count, dim=0))))


@pytest.mark.parametrize(("sharpness", "rows"), [(0.5, 1200), (2.0, 1200), (2.0, 1201), (2.0, 1217)])
def test_uniformity_in_blocks_of_rows(sharpness, rows):
    table, count = l2_normalize(randn(1, rows, 4)).detach().requires_grad_(), torch.arange(rows) % 3 + 1
    assert rows_per_block(table, len(table)) < len(table)
    model = uniformity(table, count, sharpness=sharpness)
    exponent = -sharpness * torch.pdist(table).square()
    i, j = torch.triu_indices(rows, rows, 1)
    same = (count * (count - 1)).sum()
    total = 2 * (exponent.exp() * count[i] * count[j]).sum() + same
    expected = (total / (count.sum() * (count.sum() - 1))).log()
    close(model, expected.item())
    close(torch.autograd.grad(3 * model, table)[0], torch.autograd.grad(3 * expected, table)[0])


def test_uniformity_of_unit_vectors_in_half_precision():
    table = l2_normalize(randn(0, 300, 8))
    model = uniformity(table.to(torch.bfloat16))
    assert model.dtype == torch.bfloat16
    close(model.float(), uniformity(table.to(torch.bfloat16).double()).item(), 1e-2)


def test_uniformity_of_repeated_vectors():
    table, count = randn(0, 5, 3).requires_grad_(), torch.tensor([1, 3, 1, 2, 1])
    repeated = table.repeat_interleave(count, dim=0)
    close(uniformity(table, count), spread(numbers(repeated)))
    (got,) = torch.autograd.grad(uniformity(table, count), table)
    (want,) = torch.autograd.grad(uniformity(repeated), table)
    close(got, want)
    alone = randn(0, 1, 3).requires_grad_()
    uniformity(alone, torch.tensor([4])).backward()
    assert not alone.grad.any()


# --- NCL -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hops", [1, 2])
def test_ncl(hops):
    settings = {"layers": 4, "reg": 0.3, "ssl": 0.7, "proto": 0.5, "item_share": 0.4, "temperature": 0.2}
    model, state = backbone("ncl", hops=hops, clusters=2, warm_up=1, **settings)
    matrix, ego = ref.adjacency(EDGES, USERS, ITEMS), state["user"] + state["item"]
    stack = [ego]
    for _ in range(4):
        stack.append(ref.multiply(matrix, stack[-1]))
    everything = ref.propagate_mean(matrix, ego, 4)
    plain = expected_bpr(everything[:USERS], everything[USERS:]) + 0.3 * expected_norm(state["user"], state["item"])
    far = stack[2 * hops]
    structure = info_nce(far[:USERS], state["user"], USER_B, 0.2)
    structure += 0.4 * info_nce(far[USERS:], state["item"], ITEM_B, 0.2)

    model.before_epoch(1, generator(0))
    terms = model.losses(model.propagate(), BATCH)
    assert "proto" not in terms, "the prototypes come after the warm-up"
    close(terms["ssl"], 0.7 * structure, 1e-6)
    close(sum(terms.values()), plain + 0.7 * structure, 1e-6)

    model.before_epoch(2, generator(0))
    terms = model.losses(model.propagate(), BATCH)
    total = 0.0
    for kind, index, (centroid, own) in zip(("user", "item"), (USER_B, ITEM_B), model.prototypes, strict=True):
        assert len(centroid) == 2
        table = state[kind]
        for n, row in enumerate(table):  # k-means has converged: own centroid nearest, and the mean of its cluster
            away = [ref.norm([a - b for a, b in zip(row, c, strict=True)]) for c in numbers(centroid)]
            assert own[n] == away.index(min(away))
        for p in range(2):
            members = [row for n, row in enumerate(table) if own[n] == p]
            close(centroid[p], [ref.mean(v) for v in zip(*members, strict=True)])
        logits = {b: [ref.cosine(table[b], c) / 0.2 for c in numbers(centroid)] for b in index}
        total += math.fsum(ref.cross_entropy(logits[b], int(own[b])) for b in index)
    close(terms["proto"], 0.5 * total)


def test_ncl_clusters_every_epoch():
    model, _ = backbone("ncl", clusters=2, warm_up=0)
    model.before_epoch(1, generator(0))
    before = model.prototypes[0][0].clone()
    with torch.no_grad():
        model.user += 1
    model.before_epoch(2, generator(0))
    close(model.prototypes[0][0], before + 1)


@pytest.mark.parametrize(("settings", "expected"), [({}, (130, 140)), ({"clusters": 120}, (120, 120))])
def test_ncl_makes_as_many_prototypes_as_asked_for(settings, expected):
    """1,000 unless given, and at most as many as there are users, or items."""
    user = torch.arange(140) % 130
    kind = BACKBONES["ncl"]
    config = kind.config_type(dim=2, warm_up=0, layers=2, **settings)
    assert config.clusters == settings.get("clusters", 1000)
    model = kind(config, TrainingSet(130, 140, user, torch.arange(140)), generator(0))
    model.before_epoch(1, generator(0))
    assert tuple(len(centroid) for centroid, _ in model.prototypes) == expected


def test_ncl_with_too_few_layers_raises():
    with pytest.raises(ConfigError, match=r"--hops 2 contrasts layer 4.*--layers 3"):
        backbone("ncl", hops=2, layers=3)
