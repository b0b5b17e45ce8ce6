"""Strengths by rank and by z-score: one scale for all modalities."""

from __future__ import annotations

import pytest
import torch

from crossrec.alignment import Cross, CrossConfig, strength as module
from crossrec.alignment.strength import mean_preference, strength, strength_by_rank, strength_by_zscore
from crossrec.ops.vectors import l2_normalize
from crossrec.runs import RunConfig
from crossrec.types import Batch, Representations

from . import reference as ref
from .worlds import close, generator, keyed, randn


def batch(seed=0, users=7, items=5, pairs=20, dim=3):
    draw = generator(seed)
    user = l2_normalize(randn(seed, users, dim))
    item = l2_normalize(randn(seed + 1, items, dim))
    item[1] = 0  # no content
    index_B = torch.cat([torch.arange(items), torch.randint(items, (pairs - items,), generator=draw)])
    user_B = torch.cat([torch.arange(users), torch.randint(users, (pairs - users,), generator=draw)])
    return user, item, index_B, user_B


def listed(user_B, index_B):
    return list(zip(user_B.tolist(), index_B.tolist(), strict=True))


@pytest.mark.parametrize("numbers", [1 << 22, 15])
def test_rank_by_the_formula_whatever_the_block(monkeypatch, numbers):
    monkeypatch.setattr(module, "_RANK_NUMBERS", numbers)
    user, item, index_B, user_B = batch()
    expected = ref.strength_by_rank(listed(user_B, index_B), keyed(user), keyed(item))
    actual = strength_by_rank(user, item, index_B, user_B)
    close(actual, list(expected.values()))
    assert actual[1] == 0
    assert 0 < actual.max() < 1


def test_many_users_are_represented_by_evenly_spaced_ones(monkeypatch):
    monkeypatch.setattr(module, "RANKED_USERS", 3)
    user, item, index_B, user_B = batch()
    others = [0, 3, 6]
    expected = torch.zeros(5).double()
    for u, i in listed(user_B, index_B):
        below = sum(v != u and bool(user[v] @ item[i] < user[u] @ item[i]) for v in others)
        expected[i] += below / 3 / int((index_B == i).sum())
    close(strength_by_rank(user, item, index_B, user_B), expected)


def test_zscore_by_the_formula():
    user, item, index_B, user_B = batch()
    plain = strength(mean_preference(user, index_B, 5, user_index_B=user_B), item)
    actual = strength_by_zscore(user, item, plain)
    close(actual, list(ref.strength_by_zscore(listed(user_B, index_B), keyed(user), keyed(item)).values()))
    assert actual[1] == 0
    assert (strength_by_zscore(user[:1], item, plain) == 0).all()


def test_zscore_of_two_users_by_hand():
    # cosines of the item with the two users: 1 and 0, mean 1/2, standard deviation √(1/4 + 1/4)
    user, item = torch.eye(2).double(), torch.tensor([[1.0, 0.0]]).double()
    close(strength_by_zscore(user, item, torch.tensor([1.0]).double()), [0.5 / 0.5**0.5])


def test_rank_of_single_pairs_by_hand():
    # item 0 is of user 0, the nearer of two; item 1 of user 1, the farther; item 2 of both
    user = torch.tensor([[1.0, 0.0], [0.6, 0.8]]).double()
    item = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]]).double()
    index, users = torch.tensor([0, 1, 2, 2]), torch.tensor([0, 1, 0, 1])
    close(strength_by_rank(user, item, index, users), [0.5, 0.0, 0.25])


@pytest.mark.parametrize("scale", ["rank", "zscore"])
def test_a_modality_close_to_all_users_has_no_advantage(scale):
    # the id vectors are near every user, the sound says who takes the item: by cosine id is stronger everywhere
    user = l2_normalize(torch.tensor([[1.0, 0.1], [1.0, -0.1]]))
    item = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    sound = torch.tensor([[0.5, 1.0], [0.5, -1.0]])
    reps, pairs = Representations(user, item, {"sound": sound}), Batch(torch.tensor([0, 1]), torch.tensor([0, 1]))

    def strengths(scale):
        config = CrossConfig(terms=("item",), direction="one_way", strength_scale=scale)
        return Cross(2, modalities=("sound",), num_items=2, config=config).strengths(reps, pairs)

    (of_id, of_sound), supported = strengths(None)
    assert (of_id > of_sound).all()
    assert supported[1, 0].all()
    (of_id, of_sound), supported = strengths(scale)
    assert (of_sound > of_id).all()
    assert supported[0, 1].all()
    assert not supported[1, 0].any()


def test_the_papers_scale_is_the_default_and_names_no_other_run():
    assert RunConfig(alignment=CrossConfig(strength_scale="cosine")).digest() == RunConfig().digest()
    assert RunConfig(alignment=CrossConfig(strength_scale="rank")).digest() != RunConfig().digest()


def test_weights_may_be_of_another_type_than_the_vectors():
    user, item, index_B, user_B = batch()
    weight_B = torch.arange(1.0, len(index_B) + 1, dtype=torch.float64)
    vectors = user.float(), item.float(), index_B, user_B
    assert torch.equal(strength_by_rank(*vectors, weight_B), strength_by_rank(*vectors, weight_B.float()))
