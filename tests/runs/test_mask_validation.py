"""Validation items at test: in the ranking by default, left out with mask_validation."""

from __future__ import annotations

import numpy as np
import torch

from crossrec.data import DataConfig, load
from crossrec.evaluation import rank_held_out
from crossrec.evaluation.ranking import rank_together
from crossrec.runs.config import RunConfig
from crossrec.runs.execute import held_out


def test_validation_items_are_left_out_at_test_only():
    plain = load(DataConfig(data="synthetic-tiny"))
    masked = load(DataConfig(data="synthetic-tiny", mask_validation=True))
    draw = torch.Generator().manual_seed(0)
    user_US, item_IS = (torch.randn(n, 4, generator=draw) for n in (plain.num_users, plain.num_items))
    before = rank_held_out(user_US, item_IS, held_out(plain, plain.test))
    after = rank_held_out(user_US, item_IS, held_out(masked, masked.test))
    assert before.item_P.tolist() == after.item_P.tolist()
    score_UI = (user_US @ item_IS.T).numpy()
    valid = set(zip(plain.valid.user_N.tolist(), plain.valid.item_N.tolist(), strict=True))
    for user, item, rank, old in zip(
        before.user_E[before.row_P], before.item_P, after.rank_P, before.rank_P, strict=True
    ):
        better = [i for u, i in valid if u == user and score_UI[u, i] > score_UI[u, item]]
        assert rank == old - len(better)
    assert (before.rank_P != after.rank_P).any()
    at_validation = [rank_held_out(user_US, item_IS, held_out(d, d.valid)).rank_P for d in (plain, masked)]
    np.testing.assert_array_equal(*at_validation)


def test_splits_that_leave_out_other_items_are_ranked_apart():
    masked = load(DataConfig(data="synthetic-tiny", mask_validation=True))
    draw = torch.Generator().manual_seed(0)
    user_US, item_IS = (torch.randn(n, 4, generator=draw) for n in (masked.num_users, masked.num_items))
    splits = [held_out(masked, split) for split in (masked.valid, masked.test)]
    for parts in (splits, splits[::-1]):
        for together, part in zip(rank_together(user_US, item_IS, parts), parts, strict=True):
            np.testing.assert_array_equal(together.rank_P, rank_held_out(user_US, item_IS, part).rank_P)


def test_false_is_the_default():
    configs = [RunConfig(data=DataConfig(mask_validation=value)) for value in (None, False, True)]
    assert configs[0].digest() == configs[1].digest() != configs[2].digest()
