"""Groups of items and users: by hand, against slow loops, with empty groups and users without a value."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from crossrec.errors import ConfigError, DataError
from crossrec.evaluation import HeldOut, Ranks, per_user, rank_held_out
from crossrec.evaluation.groups import (
    HEAD,
    GroupMean,
    activity_groups,
    activity_quantiles,
    by_item_group,
    by_user_group,
    group_means,
    popularity_groups,
)

degrees = st.lists(st.integers(0, 6), min_size=1, max_size=60)


def random_ranks(seed=0, users=50, items=40):
    rng = np.random.default_rng(seed)
    train = rng.integers(0, users, 3 * users), (items * rng.random(3 * users) ** 3).astype(int)
    held = rng.integers(0, users, 4 * users), rng.integers(0, items, 4 * users)
    split = HeldOut.build(*train, *held, users, items)
    vectors = torch.tensor(rng.standard_normal((users + items, 4))).float()
    return rank_held_out(vectors[:users], vectors[users:], split), np.bincount(train[1], minlength=items)


def test_items_by_hand():
    """Ten items, head 2, tail 8 in four pairs; of the three with 5 interactions the last is the least popular."""
    groups = popularity_groups([5, 0, 9, 1, 5, 2, 2, 30, 3, 5])
    assert groups.names == ("Tail 1", "Tail 2", "Tail 3", "Tail 4", "Head")
    members = {name: np.flatnonzero(groups.members(name)).tolist() for name in groups.names}
    assert members == {"Tail 1": [1, 3], "Tail 2": [5, 6], "Tail 3": [8, 9], "Tail 4": [0, 4], "Head": [2, 7]}
    assert groups.size_G.tolist() == [2, 2, 2, 2, 2]
    assert groups.interactions_G.tolist() == [1, 4, 8, 10, 39]
    assert {groups.group_N.dtype, groups.size_G.dtype, groups.interactions_G.dtype} == {np.dtype(np.int64)}
    assert groups.share_G.tolist() == [1 / 62, 4 / 62, 8 / 62, 10 / 62, 39 / 62]


@settings(deadline=None)
@given(degrees, st.sampled_from([0.0, 0.2, 0.5, 1.0]), st.integers(1, 5))
def test_items_sorted_one_by_one(degree, head, tails):
    groups = popularity_groups(degree, head=head, tails=tails)
    order = sorted(range(len(degree)), key=lambda i: (degree[i], -i))
    cut = len(degree) - round(head * len(degree))
    expected, at = {}, 0
    for tail in range(tails):
        size = cut // tails + (tail < cut % tails)
        expected |= dict.fromkeys(order[at : at + size], tail)
        at += size
    expected |= dict.fromkeys(order[cut:], tails)
    assert groups.group_N.tolist() == [expected[item] for item in range(len(degree))]
    assert groups.interactions_G.sum() == sum(degree)
    assert groups.size_G.sum() == len(degree)


def test_shares_without_interactions_are_nan():
    groups = popularity_groups([0, 0])
    assert groups.size_G.tolist() == [1, 1, 0, 0, 0]  # a head of 20 % of two items is none
    assert np.isnan(groups.share_G).all()


@pytest.mark.parametrize("seed", range(3))
def test_item_groups_against_a_slow_loop(seed):
    ranks, degree = random_ranks(seed)
    groups = popularity_groups(degree)
    per_group = by_item_group(ranks, groups, (5, 20))
    hits, held = np.zeros(len(ranks.user_E)), np.zeros(len(ranks.user_E))
    for group, name in enumerate(groups.names):
        for row in range(len(ranks.user_E)):
            ranks_in_group = [
                int(rank)
                for user_row, item, rank in zip(ranks.row_P, ranks.item_P, ranks.rank_P, strict=True)
                if user_row == row and groups.group_N[item] == group
            ]
            value, gain = per_group[name]["recall@5"][row], per_group[name]["ndcg@20"][row]
            if not ranks_in_group:
                assert np.isnan([value, gain]).all()
                continue
            assert value == pytest.approx(sum(rank < 5 for rank in ranks_in_group) / len(ranks_in_group))
            ideal = sum(1 / np.log2(n + 2) for n in range(min(20, len(ranks_in_group))))
            assert gain == pytest.approx(sum(1 / np.log2(rank + 2) for rank in ranks_in_group if rank < 20) / ideal)
            hits[row], held[row] = hits[row] + value * len(ranks_in_group), held[row] + len(ranks_in_group)
        present = per_group[name]["recall@5"][~np.isnan(per_group[name]["recall@5"])]
        mean = group_means(per_group)[name]
        assert mean.users == len(present) > 0
        assert mean.means["recall@5"] == pytest.approx(present.mean())
    np.testing.assert_allclose(hits / held, per_user(ranks, (5,))["recall@5"])  # groups share out every hit


def test_item_groups_by_hand():
    """Two users. The second has no held-out item of the head; no user has one of Tail 2."""
    groups = popularity_groups([9, 1, 0, 2], head=0.25, tails=2)
    assert groups.group_N.tolist() == [2, 0, 0, 1]
    ranks = Ranks(np.array([4, 7]), np.array([0, 0, 1]), np.array([0, 1, 2]), np.array([1, 3, 0]))
    per_group = by_item_group(ranks, groups, (2,))
    assert per_group[HEAD]["recall@2"][0] == 1.0
    assert per_group[HEAD]["ndcg@2"][0] == pytest.approx(1 / np.log2(3))  # ranked among all: it stands second
    assert np.isnan(per_group[HEAD]["recall@2"][1])
    assert per_group["Tail 1"]["recall@2"].tolist() == [0.0, 1.0]
    means = group_means(per_group)
    assert (means[HEAD].users, means[HEAD].means["recall@2"]) == (1, 1.0)
    assert (means["Tail 1"].users, means["Tail 1"].means["recall@2"]) == (2, 0.5)
    assert means["Tail 2"].users == 0
    assert all(np.isnan(value) for value in means["Tail 2"].means.values())


def test_users_by_hand():
    groups = activity_groups([5, 6, 0, 11, 10, 21, 20], (5, 10, 11, 20))
    assert groups.names == ("≤5", "6–10", "11", "12–20", ">20")
    assert groups.group_N.tolist() == [0, 1, 0, 2, 1, 4, 3]
    assert groups.interactions_G.tolist() == [5, 16, 11, 20, 21]
    values = {"recall@10": np.array([0.5, 1.0, 0.0])}
    per_group = by_user_group(np.array([3, 0, 2]), values, groups)
    assert per_group["≤5"]["recall@10"].tolist() == pytest.approx([np.nan, 1.0, 0.0], nan_ok=True)
    assert group_means(per_group)["≤5"] == GroupMean(2, {"recall@10": 0.5})
    assert group_means(per_group)["11"] == GroupMean(1, {"recall@10": 0.5})
    assert group_means(per_group)[">20"].users == 0


def test_the_mean_is_the_weighted_mean_of_user_groups():
    ranks, _ = random_ranks(1)
    values = per_user(ranks, (10,))
    groups = activity_groups(np.arange(50) % 9, (2, 4))
    means = group_means(by_user_group(ranks.user_E, values, groups))
    assert sum(mean.users for mean in means.values()) == len(ranks.user_E)
    total = sum(mean.users * mean.means["ndcg@10"] for mean in means.values())
    assert total / len(ranks.user_E) == pytest.approx(values["ndcg@10"].mean())


@settings(deadline=None)
@given(degrees, st.integers(2, 6))
def test_quantiles_equal_numpy(degree, parts):
    bounds = activity_quantiles(degree, parts)
    shares = [n / parts for n in range(1, parts)]
    expected = {int(bound) for bound in np.quantile(degree, shares, method="inverted_cdf")} - {max(degree)}
    assert bounds == (tuple(sorted(expected)) or (max(degree),))
    groups = activity_groups(degree, bounds)
    assert groups.size_G[0] > 0
    assert (groups.size_G[:-1] > 0).all()


def test_quantiles_by_hand():
    assert activity_quantiles([1, 2, 3, 4, 5, 6, 7, 8]) == (2, 4, 6)
    assert activity_quantiles([3, 3, 3, 3, 3, 9]) == (3,)
    assert activity_quantiles([7, 7]) == (7,)


def test_wrong_arguments_of_groups_are_refused():
    for bounds in ((), (5, 5), (5, 3), (-1, 2)):
        with pytest.raises(ConfigError, match="rising whole numbers"):
            activity_groups([1, 2], bounds)
    for options in ({"head": 1.5}, {"tails": 0}):
        with pytest.raises(ConfigError, match="0 <= head <= 1"):
            popularity_groups([1, 2], **options)
    with pytest.raises(ConfigError, match="at least 2"):
        activity_quantiles([1], 1)
    with pytest.raises(DataError, match="no users"):
        activity_quantiles([])
    for make in (popularity_groups, activity_groups, activity_quantiles):
        with pytest.raises(DataError, match="whole numbers >= 0"):
            make([1, -1])
    with pytest.raises(ConfigError, match="unknown group 'Tail 9': there are Tail 1,"):
        popularity_groups([1]).members("Tail 9")
