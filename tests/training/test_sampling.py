"""Batches: every pair once an epoch, negatives uniform over the items without an interaction of the user."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings, strategies as st
from scipy.stats import chisquare

from crossrec import sampling
from crossrec.errors import DataError
from crossrec.randomness import torch_generator
from crossrec.sampling import ROUNDS, Sampler
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


@pytest.mark.parametrize("lacking", [2, 7, 60])
def test_negatives_of_a_user_with_nearly_every_item_are_uniform(lacking):
    # user 0 lacks a few of 1,000 items, with odd numbers only, and user 1 has three of them
    absent = torch.randperm(1000, generator=torch.Generator().manual_seed(3))[:lacking].sort().values
    present = [item for item in range(1000) if item not in absent.tolist()]
    of_user_1 = [*absent.tolist(), present[5]]
    pairs = [(0, 2 * item + 1) for item in present] + [(1, 2 * item + 1) for item in of_user_1]
    sampler = Sampler(training_set(pairs, users=2, items=2001), 100)
    drawn = sampler.negatives(torch.tensor([0, 1] * 7000), torch_generator(5, "sampling"))
    torch.manual_seed(lacking)
    assert torch.equal(drawn, sampler.negatives(torch.tensor([0, 1] * 7000), torch_generator(5, "sampling")))
    assert not torch.equal(drawn, sampler.negatives(torch.tensor([0, 1] * 7000), torch_generator(6, "sampling")))
    count = torch.bincount(drawn[::2], minlength=2001)
    assert count.nonzero().squeeze(1).tolist() == (2 * absent + 1).tolist()
    assert chisquare(count[2 * absent + 1].numpy()).pvalue > 1e-3
    count = torch.bincount(drawn[1::2], minlength=2001)
    free = [2 * item + 1 for item in range(1000) if item not in of_user_1]
    assert int(count[free].sum()) == 7000
    assert chisquare(count[free].numpy()).pvalue > 1e-3


def test_a_user_with_nearly_every_item_takes_a_bounded_number_of_draws(monkeypatch):
    drawn, randint = [], torch.randint
    monkeypatch.setattr(torch, "randint", lambda *args, **options: drawn.append(args) or randint(*args, **options))
    pairs = [(0, item) for item in range(3999)] + [(1, 3999), (1, 0)]
    sampler = Sampler(training_set(pairs, users=2, items=4000), 512)
    batches = epoch(sampler)
    assert len(drawn) == ROUNDS + 1
    assert {n for b in batches for u, n in zip(b.user_B.tolist(), b.negative_B.tolist(), strict=True) if u == 0} == {
        3999
    }


def test_ordinary_data_draw_what_rejection_alone_draws():
    pairs = [(user, item) for user in range(30) for item in range(40) if (7 * user + item) % 5]  # 80 % of the items
    sampler = Sampler(training_set(pairs, users=30, items=40), 100)
    generator, user_T = torch_generator(0, "sampling"), torch.arange(30).repeat(4)
    drawn, undecided = torch.empty_like(user_T), torch.arange(len(user_T))
    while len(undecided):
        drawn[undecided] = torch.randint(40, (len(undecided),), generator=generator)
        undecided = undecided[[(int(user_T[n]), int(drawn[n])) in pairs for n in undecided]]
    assert torch.equal(sampler.negatives(user_T, torch_generator(0, "sampling")), drawn)


def test_an_epoch_does_not_depend_on_how_many_negatives_are_drawn_at_a_time(monkeypatch):
    pairs = [(user, item) for user in range(30) for item in range(40) if (7 * user + item) % 3]
    sampler = Sampler(training_set(pairs, users=30, items=40), 100)
    whole = epoch(sampler)
    monkeypatch.setattr(sampling, "DRAWS", 7)
    for batch, other in zip(whole, epoch(sampler), strict=True):
        for name in ("user_B", "item_B", "negative_B"):
            assert torch.equal(getattr(batch, name), getattr(other, name))
            assert getattr(batch, name).dtype == torch.int64


def test_a_negative_of_a_user_with_every_item_is_refused():
    with pytest.warns(UserWarning, match="users who know every item"):
        sampler = Sampler(training_set([(0, 0), (0, 1), (1, 1)], users=2, items=2), 10)
    with pytest.raises(ValueError, match="every item"):
        sampler.negatives(torch.tensor([1, 0, 1]), torch_generator(0, "sampling"))


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


@pytest.mark.parametrize(
    ("pairs", "weight", "problem"),
    [
        ([(0, 0), (6, 1)], None, "has user 6, but there are 6 users"),
        ([(0, 0), (1, 9)], None, "has item 9, but there are 9 items"),
        ([(0, 0), (-1, 1)], None, "has user -1"),
        ([(0, 0), (1, 1)], [1.0, 0.0], r"has the weight 0\.0: give numbers above 0"),
    ],
)
def test_pairs_that_a_set_cannot_have(pairs, weight, problem):
    data = training_set(pairs)
    data = data if weight is None else replace(data, weight_T=torch.tensor(weight))
    with pytest.raises(DataError, match=problem):
        Sampler(data, 10)


def test_no_pair_at_all_is_one_sentence():
    nothing = torch.zeros(0, dtype=torch.int64)
    with pytest.raises(DataError, match="no training pair has a possible negative"):
        Sampler(TrainingSet(3, 4, nothing, nothing), 2)
