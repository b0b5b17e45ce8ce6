"""Batches: every pair once an epoch, negatives uniform over the items without an interaction of the user."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings, strategies as st
from scipy.stats import chisquare

from crossrec.errors import DataError
from crossrec.randomness import torch_generator
from crossrec.sampling import Sampler
from crossrec.types import TrainingSet


def training_set(pairs, users=6, items=9):
    return TrainingSet(users, items, torch.tensor([u for u, _ in pairs]), torch.tensor([i for _, i in pairs]))


SMALL = [(0, 0), (0, 1), (1, 2), (2, 3), (2, 0), (2, 2), (4, 5), (5, 1), (5, 7)]
"""Items 4, 6 and 8 are not seen in training, user 3 has no interaction."""


def epoch(sampler, seed=0):
    return list(sampler.epoch(torch_generator(seed, "sampling")))


@given(
    pairs=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 8)), min_size=1, max_size=40, unique=True),
    batch_size=st.integers(1, 50),
    seed=st.integers(0, 5),
)
@settings(max_examples=60, deadline=None)
@pytest.mark.filterwarnings("ignore:.*users who know every item")
def test_batches_of_any_data(pairs, batch_size, seed):
    positives, seen = set(pairs), {item for _, item in pairs}
    usable = sorted((u, i) for u, i in pairs if {j for v, j in pairs if v == u} != seen)
    if not usable:
        with pytest.raises(DataError, match="every user has interacted with every item"):
            Sampler(training_set(pairs), batch_size)
        return
    batches = epoch(Sampler(training_set(pairs), batch_size), seed)
    drawn = [
        triple
        for b in batches
        for triple in zip(*map(torch.Tensor.tolist, (b.user_B, b.item_B, b.negative_B)), strict=True)
    ]
    assert sorted((user, item) for user, item, _ in drawn) == usable
    assert all(negative in seen and (user, negative) not in positives for user, _, negative in drawn)
    assert [len(b) for b in batches[:-1]] == [batch_size] * (len(batches) - 1)
    assert 1 <= len(batches[-1]) <= batch_size


def test_repeated_pairs_are_sampled_as_often():
    batches = epoch(Sampler(training_set([*SMALL, (0, 0)]), 100))
    pairs = list(zip(batches[0].user_B.tolist(), batches[0].item_B.tolist(), strict=True))
    assert sorted(pairs) == sorted([*SMALL, (0, 0)])


def test_negatives_are_uniform():
    sampler = Sampler(training_set(SMALL), 100)
    generator = torch_generator(1, "sampling")
    for user, allowed in ((0, [2, 3, 5, 7]), (2, [1, 5, 7]), (1, [0, 1, 3, 5, 7])):
        drawn = sampler.negatives(torch.full((6000,), user), generator)
        count = torch.bincount(drawn, minlength=9)
        assert set(drawn.tolist()) == set(allowed)
        assert chisquare(count[allowed].numpy()).pvalue > 1e-4


def test_the_order_is_uniform():
    # position of the first pair in the shuffled epoch
    sampler, generator = Sampler(training_set(SMALL), 100), torch_generator(2, "sampling")
    positions = []
    for _ in range(1800):
        (batch,) = sampler.epoch(generator)
        positions.append(int(((batch.user_B == 0) & (batch.item_B == 0)).nonzero()))
    assert chisquare(torch.bincount(torch.tensor(positions), minlength=len(SMALL)).numpy()).pvalue > 1e-4


def test_equal_generators_give_equal_batches():
    def flat(seed):
        return torch.cat([torch.stack([b.user_B, b.item_B, b.negative_B]) for b in epoch(sampler, seed)], dim=1)

    sampler = Sampler(training_set(SMALL), 4)
    torch.manual_seed(0)
    first = flat(0)
    torch.manual_seed(1)
    assert torch.equal(first, flat(0))
    assert not torch.equal(first, flat(1))
    generator = torch_generator(0, "sampling")
    one, two = (torch.cat([b.negative_B for b in sampler.epoch(generator)]) for _ in range(2))
    assert not torch.equal(one, two), "every epoch is the same"


def test_a_user_with_every_item_is_left_out_with_a_warning():
    pairs = [(0, 0), (0, 1), (0, 2), (1, 1), (2, 0)]
    with pytest.warns(UserWarning, match="3 training pairs of users who know every item"):
        sampler = Sampler(training_set(pairs), 10)
    (batch,) = epoch(sampler)
    assert sorted(zip(batch.user_B.tolist(), batch.item_B.tolist(), strict=True)) == [(1, 1), (2, 0)]


def test_repeated_pairs_count_once_towards_every_item():
    # three interactions of user 0, but only two distinct items of three
    sampler = Sampler(training_set([(0, 0), (0, 0), (0, 1), (1, 2)]), 10)
    (batch,) = epoch(sampler)
    assert len(batch) == 4


def test_no_user_with_a_possible_negative_is_an_error():
    with pytest.raises(DataError, match="add interactions"):
        Sampler(training_set([(0, 0), (0, 1), (1, 0), (1, 1)]), 10)
