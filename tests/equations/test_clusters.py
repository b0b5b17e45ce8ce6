"""Equations 10 to 12: codes, item and user cluster losses."""

from __future__ import annotations

import math

import pytest
import torch

from crossrec.alignment.clusters import (
    cluster_codes,
    item_cluster_loss,
    item_cluster_loss_reference,
    nearest_prototype,
    sinkhorn,
    user_cluster_loss,
    user_cluster_loss_reference,
)

from . import reference as ref
from .worlds import close, double, generator, numbers, randn

NAMES = ("id", "sound", "scent", "touch")


def cosines(seed: int, samples: int, prototypes: int) -> torch.Tensor:
    return randn(seed, samples, prototypes).tanh()


@pytest.mark.parametrize(("samples", "prototypes"), [(1, 1), (1, 4), (4, 1), (5, 3), (3, 7)])
@pytest.mark.parametrize("rounds", [0, 1, 3])
def test_sinkhorn(samples, prototypes, rounds):
    scores = cosines(samples, samples, prototypes)
    expected = ref.sinkhorn(numbers(scores), rounds)
    close(sinkhorn(scores, rounds=rounds), expected)


@pytest.mark.parametrize("scale", [1e-3, 3.0, 30.0, 1000.0])
def test_sinkhorn_of_any_range(scale):
    scores = cosines(3, 5, 4) * scale
    close(sinkhorn(scores), ref.sinkhorn(numbers(scores)))
    close(sinkhorn(scores, epsilon=0.5), ref.sinkhorn(numbers(scores), epsilon=0.5))


@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_sinkhorn_weights_equal_repeats(scale):
    scores = cosines(4, 4, 3) * scale
    repeats = torch.tensor([1, 3, 2, 1])
    written = torch.repeat_interleave(scores, repeats, dim=0)
    expected = ref.sinkhorn(numbers(written))
    close(sinkhorn(written), expected)
    merged = sinkhorn(scores, weight_N=repeats.double())
    close(torch.repeat_interleave(merged, repeats, dim=0), expected)


def test_sinkhorn_by_hand():
    # ε = 1 and scores log 1, log 2, log 3, log 4: q = [1 2 / 3 4]; one round. Columns sum to 4 and 6 and are scaled to
    # 1/2 each: [1/8 2/12 / 3/8 4/12]; rows then in proportion 1/8 : 1/6 = 3 : 4 and 3/8 : 1/3 = 9 : 8.
    scores = double([[0.0, math.log(2)], [math.log(3), math.log(4)]])
    close(sinkhorn(scores, rounds=1, epsilon=1.0), [[3 / 7, 4 / 7], [9 / 17, 8 / 17]])
    # without a round, the plain softmax
    close(sinkhorn(scores, rounds=0, epsilon=1.0), [[1 / 3, 2 / 3], [3 / 7, 4 / 7]])


def test_codes_are_those_of_three_rounds_of_sinkhorn_unless_given():
    scores = cosines(2, 5, 4)
    close(cluster_codes(scores), ref.sinkhorn(numbers(scores), 3))
    close(cluster_codes(scores, rounds=1), ref.sinkhorn(numbers(scores), 1))
    close(cluster_codes(scores, clusterer="kmeans"), ref.nearest(numbers(scores)))


def test_nearest_prototype():
    scores = cosines(1, 6, 4)
    close(nearest_prototype(scores), ref.nearest(numbers(scores)))
    assert nearest_prototype(torch.zeros(2, 3)).sum(dim=1).tolist() == [1, 1]


@pytest.mark.parametrize("clusterer", ["sinkhorn", "kmeans"])
@pytest.mark.parametrize("size", [1, 2, 3, 4])
@pytest.mark.parametrize(("batch", "prototypes"), [(1, 3), (6, 4), (3, 9)])
def test_item_cluster_loss(clusterer, size, batch, prototypes):
    index = torch.randint(3, (batch,), generator=generator(batch))
    item = {name: randn(seed, 3, 2) for seed, name in enumerate(NAMES[:size])}
    item["id"][0] = 0
    codebook = randn(20, prototypes, 2)
    vectors = {name: numbers(table[index]) for name, table in item.items()}
    book = numbers(codebook)
    codes = {name: ref.codes(rows, book, clusterer) for name, rows in vectors.items()}
    expected = ref.item_cluster(vectors, codes, book, 0.3)
    written = [table[index] for table in item.values()]
    for loss in (item_cluster_loss, item_cluster_loss_reference):
        close(loss(written, codebook, temperature=0.3, clusterer=clusterer), expected)
    distinct, count = torch.unique(index, return_counts=True)
    merged = [table[distinct] for table in item.values()]
    for loss in (item_cluster_loss, item_cluster_loss_reference):
        close(loss(merged, codebook, temperature=0.3, weight_N=count.double(), clusterer=clusterer), expected)


@pytest.mark.parametrize("clusterer", ["sinkhorn", "kmeans"])
@pytest.mark.parametrize("rounds", [0, 3])
@pytest.mark.parametrize(("batch", "prototypes"), [(1, 3), (6, 4), (3, 9)])
def test_user_cluster_loss(clusterer, rounds, batch, prototypes):
    draw = generator(batch)
    user, item, codebook = randn(1, 3, 2), randn(2, 4, 2), randn(3, prototypes, 2)
    user[1] = 0
    user_B, item_B = torch.randint(3, (batch,), generator=draw), torch.randint(4, (batch,), generator=draw)
    users, items, book = numbers(user[user_B]), numbers(item[item_B]), numbers(codebook)
    how = (clusterer, rounds)
    expected = ref.user_cluster(users, items, ref.codes(users, book, *how), ref.codes(items, book, *how), book, 0.3)
    options = {"temperature": 0.3, "clusterer": clusterer, "rounds": rounds}
    for loss in (user_cluster_loss, user_cluster_loss_reference):
        close(loss(user[user_B], item[item_B], codebook, **options), expected)
    distinct, user_index = torch.unique(user_B, return_inverse=True)
    distinct_item, item_index = torch.unique(item_B, return_inverse=True)
    for loss in (user_cluster_loss, user_cluster_loss_reference):
        close(loss(user[distinct], item[distinct_item], codebook, pairs=(user_index, item_index), **options), expected)


def test_cluster_losses_by_hand():
    # k-means codes; prototypes (1, 0) and (0, 1), λ = .5. One pair. a = (.6, .8) belongs to the second, b = (.8, .6) to
    # the first. a predicts b's code: -log softmax(.6/.5, .8/.5)_1, and b a's: -log softmax(.8/.5, .6/.5)_2
    a, b, codebook = double([[3.0, 4.0]]), double([[8.0, 6.0]]), double([[2.0, 0.0], [0.0, 1.0]])
    one = math.log(math.exp(0.6 / 0.5) + math.exp(0.8 / 0.5)) - 0.6 / 0.5
    close(item_cluster_loss([a, b], codebook, temperature=0.5, clusterer="kmeans"), (one + one) / 2)
    close(user_cluster_loss(a, b, codebook, temperature=0.5, clusterer="kmeans"), (one + one) / 2)
    # two equal views: each is scored against its own code
    own_code = math.log(math.exp(0.6 / 0.5) + math.exp(0.8 / 0.5)) - 0.8 / 0.5
    close(item_cluster_loss([a, a], codebook, temperature=0.5, clusterer="kmeans"), own_code)


def test_one_modality_is_a_differentiable_zero():
    item, codebook = randn(0, 3, 2).requires_grad_(), randn(1, 4, 2).requires_grad_()
    loss = item_cluster_loss([item], codebook, temperature=0.3)
    assert loss.item() == 0
    loss.backward()
