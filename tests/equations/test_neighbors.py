"""Equations 7 to 9: co-occurrence, neighbourhoods, neighbour-level loss."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.metrics.pairwise import cosine_similarity

from crossrec.alignment import Cross, CrossConfig
from crossrec.alignment.neighbors import fill_with_content, neighbor_loss, neighborhood
from crossrec.errors import ConfigError
from crossrec.graph import co_occurrence_neighbors

from . import reference as ref
from .worlds import close, double, generator, numbers, randn


def neighbors_of(pairs, num_items, k):
    columns = torch.tensor(pairs).T if pairs else torch.zeros(2, 0, dtype=torch.int64)
    table = co_occurrence_neighbors(columns[0].contiguous(), columns[1].contiguous(), num_items, k)
    assert table.dtype == torch.int64
    assert table.shape == (num_items, k)
    listed = []
    for row in table.tolist():
        real = [j for j in row if j != -1]
        assert row == real + [-1] * (k - len(real)), "-1 stands in the places left"
        assert len(set(real)) == len(real)
        listed.append(real)
    return listed


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("k", [1, 3, 9])
def test_co_occurrence_neighbors(seed, k):
    draw = generator(seed)
    pairs = [(int(u), int(i)) for u, i in torch.randint(6, (14, 2), generator=draw)]  # with repeats; item 6, 7 unseen
    pairs.append((5, 5))
    for i, actual in enumerate(neighbors_of(pairs, 8, k)):
        expected = ref.neighbors(pairs, 8, k, i)
        assert i not in actual
        # which of equals is taken is open; how similar the taken ones are is not, nor their order
        close([ref.co_occurrence(pairs, i, j) for j in actual], [ref.co_occurrence(pairs, i, j) for j in expected])
        if k == 9:
            assert sorted(actual) == sorted(expected)


def test_co_occurrence_by_hand():
    # item 0: users 0 1 2; item 1: users 0 1; item 2: user 2; item 3: user 9 alone; item 4: nobody
    # cos(0, 1) = 2/√6 = .816, cos(0, 2) = 1/√3 = .577, cos(1, 2) = 0
    pairs = [(0, 0), (1, 0), (2, 0), (0, 1), (1, 1), (2, 2), (9, 3)]
    assert neighbors_of(pairs, 5, 3) == [[1, 2], [0], [0], [], []]
    assert neighbors_of(pairs, 5, 1) == [[1], [0], [0], [], []]
    assert ref.co_occurrence(pairs, 0, 1) == pytest.approx(2 / math.sqrt(6))
    assert neighbors_of([*pairs, *pairs], 5, 3) == [[1, 2], [0], [0], [], []], "an interaction counts once"


def test_equal_neighbours_come_in_order_of_their_index():
    # items 5, 3, 1, 0 have the same two users; item 4 has one of them: cos 1/√2
    pairs = [(u, i) for i in (5, 3, 1, 0) for u in (7, 2)] + [(2, 4)]
    assert neighbors_of(pairs, 6, 5) == [[1, 3, 5, 4], [0, 3, 5, 4], [], [0, 1, 5, 4], [0, 1, 3, 5], [0, 1, 3, 4]]
    assert [ref.neighbors(pairs, 6, 5, i) for i in range(6)] == neighbors_of(pairs, 6, 5)


def test_no_interactions():
    assert neighbors_of([], 3, 2) == [[], [], []]


def test_co_occurrence_against_sklearn():
    draw = np.random.default_rng(0)
    matrix = (draw.random((40, 15)) < 0.15).astype(float)
    similarity = cosine_similarity(matrix.T)
    np.fill_diagonal(similarity, 0)
    pairs = [(int(u), int(i)) for u, i in np.argwhere(matrix)]
    for i, actual in enumerate(neighbors_of(pairs, 15, 4)):
        expected = np.sort(similarity[i])[::-1][:4]
        close([similarity[i, j] for j in actual], expected[expected > 0].tolist())


@pytest.mark.parametrize("seed", range(3))
def test_neighborhood(seed):
    table = randn(seed, 6, 3)
    table[2] = 0
    neighbor = torch.randint(-1, 6, (7, 3), generator=generator(seed))
    neighbor[0], neighbor[1] = -1, 2
    listed = numbers(table)
    for actual, row in zip(neighborhood(table, neighbor), neighbor.tolist(), strict=True):
        real = [listed[k] for k in row if k >= 0]
        close(actual, ref.neighborhood(real) if real else [0.0] * 3)


def test_neighborhood_by_hand():
    # (3, 4) → (.6, .8) and (0, 2) → (0, 1), mean (.3, .9): an item with two of three neighbours averages the two
    table = double([[3.0, 4.0], [0.0, 2.0]])
    close(neighborhood(table, torch.tensor([[0, 1, -1], [1, -1, -1]])), [[0.3, 0.9], [0.0, 1.0]])


@pytest.mark.parametrize("negatives", ["neighborhoods", "items"])
@pytest.mark.parametrize("count", [1, 2, 5])
def test_neighbor_loss(negatives, count):
    item, around = randn(count, count, 3), randn(count + 1, count, 3)
    if count > 2:
        item[0] = 0
        around[1] = 0
    for temperature in (0.2, 20.0):
        actual = neighbor_loss(item, around, temperature=temperature, negatives=negatives)
        close(actual, ref.neighbor_loss(numbers(item), numbers(around), temperature, negatives))


def test_neighbor_loss_by_hand():
    # items (1, 0), (0, 1); neighbourhoods (3, 4)/5 and (0, 1): cosines .6 .0 / .8 1.; λ = .5
    item, around = double([[2.0, 0.0], [0.0, 1.0]]), double([[0.3, 0.4], [0.0, 7.0]])
    first = math.log(math.exp(0.6 / 0.5) + math.exp(0.0)) - 0.6 / 0.5
    second = math.log(math.exp(0.8 / 0.5) + math.exp(1 / 0.5)) - 1 / 0.5
    close(neighbor_loss(item, around, temperature=0.5), (first + second) / 2)
    # as printed: the denominators hold the items, cosines 1 and 0 for both
    below = math.log(math.exp(1 / 0.5) + math.exp(0.0))
    close(neighbor_loss(item, around, temperature=0.5, negatives="items"), (2 * below - 0.6 / 0.5 - 1 / 0.5) / 2)


def test_neighbor_loss_without_items_and_with_unknown_negatives():
    item, around = randn(0, 0, 3).requires_grad_(), randn(1, 0, 3).requires_grad_()
    for negatives in ("neighborhoods", "items"):
        loss = neighbor_loss(item, around, temperature=0.2, negatives=negatives)
        assert loss.item() == 0
        loss.backward()
    with pytest.raises(ValueError, match="strangers"):
        neighbor_loss(randn(0, 2, 3), randn(1, 2, 3), temperature=0.2, negatives="strangers")


SHARES = {"sound": 0.2, "scent": 0.8}


def sparse_world(k=3, items=12):
    """Neighbours of which some are missing, and features of which some are missing."""
    features = {"sound": randn(1, items, 4), "scent": randn(2, items, 3)}
    features["sound"][4] = features["scent"][5] = 0
    for feature in features.values():
        feature[6] = 0
    table = torch.stack([torch.randperm(items, generator=generator(i))[:k] for i in range(items)])
    table[table == torch.arange(items).unsqueeze(1)] = items - 1
    table[items - 1] = torch.arange(k)
    table[torch.arange(k) >= (torch.arange(items) % (k + 1)).unsqueeze(1)] = -1
    return table, features


@pytest.mark.parametrize("shares", [None, SHARES])
@pytest.mark.parametrize("k", [1, 3])
def test_content_fills_missing_neighbors(k, shares):
    table, features = sparse_world(k)
    filled = fill_with_content(table, features, shares)
    shares = shares or dict.fromkeys(features, 0.5)
    listed = {m: numbers(feature) for m, feature in features.items()}
    for i, row in enumerate(table.tolist()):
        present = [j for j in row if j >= 0]
        expected = ref.filled_neighbors(present, listed, shares, k, i)
        assert filled[i].tolist() == expected + [-1] * (k - len(expected))
    assert (filled[6] == table[6]).all()  # no content
    has_content = torch.arange(12) != 6
    assert (filled[has_content, 0] >= 0).all()


def test_content_of_few_items_and_full_tables():
    two = {"sound": torch.tensor([[1.0, 0.0], [1.0, 1.0]])}
    assert fill_with_content(torch.full((2, 3), -1), two).tolist() == [[1, -1, -1], [0, -1, -1]]
    full = torch.tensor([[1], [0]])
    assert torch.equal(fill_with_content(full, two), full)
    opposite = {"sound": torch.tensor([[1.0, 0.0], [-1.0, 0.0]])}
    assert (fill_with_content(torch.full((2, 1), -1), opposite) == -1).all()


def test_items_without_similarity_fill_nothing():
    # items 0 and 1 have cosine 0, items 0 and 2 cosine .6, item 3 has no content
    content = {"sound": torch.tensor([[1.0, 0.0], [0.0, 1.0], [3.0, 4.0], [0.0, 0.0]])}
    assert fill_with_content(torch.full((4, 3), -1), content).tolist() == [
        [2, -1, -1],
        [2, -1, -1],
        [1, 0, -1],
        [-1, -1, -1],
    ]
    kept = fill_with_content(torch.tensor([[3, -1], [3, 2], [-1, -1], [0, -1]]), content)
    assert kept.tolist() == [[3, 2], [3, 2], [1, 0], [0, -1]]


def test_the_alignment_fills_neighbors_by_all_modalities():
    table, features = sparse_world()
    options = {"features": {m: f.float() for m, f in features.items()}, "neighbors": table, "modalities": ("scent",)}
    config = CrossConfig(fill_neighbors=True, content_shares=SHARES)
    assert torch.equal(Cross(4, config=config, **options).neighbor_IK, fill_with_content(table, features, SHARES))
    assert torch.equal(Cross(4, **options).neighbor_IK, table)
    with pytest.raises(ConfigError, match="--content-shares"):
        Cross(4, config=CrossConfig(fill_neighbors=True, content_shares={"sound": 1}), **options)
    without = Cross(4, config=config, neighbors=table)
    assert torch.equal(without.neighbor_IK, table)


def test_no_filling_is_the_default_and_names_no_other_run():
    from crossrec.runs import RunConfig

    digests = [RunConfig(alignment=CrossConfig(fill_neighbors=value)).digest() for value in (None, False, True)]
    assert digests[0] == digests[1] != digests[2]
