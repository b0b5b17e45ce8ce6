"""Full ranking and top-K lists: masking, ties, chunks; against slow loops written from the definition."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from crossrec.errors import ConfigError, DataError, TrainingError
from crossrec.evaluation import HeldOut, rank_held_out, ranking, top_k
from crossrec.evaluation.ranking import NEVER, rank_scores, rank_together


def one_user(scores, train, held):
    """Vectors and HeldOut for a single user with the given score per item."""
    item_IS = torch.tensor(scores, dtype=torch.float32)[:, None]
    split = HeldOut.build([0] * len(train), train, [0] * len(held), held, 1, len(scores))
    return torch.ones(1, 1), item_IS, split


def random_case(seed, users=40, items=30, width=4, levels=None):
    """Random vectors and pairs; ``levels`` makes the entries small integers, so that many scores are equal."""
    rng = np.random.default_rng(seed)
    shapes = (users, width), (items, width)
    if levels is None:
        user_US, item_IS = (rng.standard_normal(shape) for shape in shapes)
    else:
        user_US, item_IS = (rng.integers(0, levels, shape) for shape in shapes)
    train = rng.integers(0, users, 4 * users), rng.integers(0, items, 4 * users)
    held = rng.integers(0, users, 3 * users), rng.integers(0, items, 3 * users)
    return torch.tensor(user_US).float(), torch.tensor(item_IS).float(), train, held


def slow_ranks(user_US, item_IS, train, held):
    """{(user, item): rank} by sorting each user's unmasked items, one loop per definition."""
    trained = set(zip(*(part.tolist() for part in train), strict=True))
    ranks = {}
    for user, item in set(zip(*(part.tolist() for part in held), strict=True)):
        if not any(owner == user for owner, _ in trained):
            continue
        score = {j: float(user_US[user] @ item_IS[j]) for j in range(len(item_IS)) if (user, j) not in trained}
        order = sorted(score, key=lambda j: (-score[j], j))
        ranks[user, item] = order.index(item) if item in score else NEVER
    return ranks


def as_dict(ranks):
    return dict(
        zip(
            zip(ranks.user_E[ranks.row_P].tolist(), ranks.item_P.tolist(), strict=True),
            ranks.rank_P.tolist(),
            strict=True,
        )
    )


@pytest.mark.parametrize("seed", range(4))
def test_ranks_of_several_splits_equal_those_of_each_alone(seed):
    user_US, item_IS, train, held = random_case(seed, levels=3)
    _, _, _, other = random_case(seed + 100)
    parts = [HeldOut.build(*train, *pairs, len(user_US), len(item_IS)) for pairs in (held, other, ([], []))]
    for part, together in zip(parts, rank_together(user_US, item_IS, parts), strict=True):
        alone = rank_held_out(user_US, item_IS, part)
        assert as_dict(together) == as_dict(alone)
        assert together.user_E is part.user_E
    with pytest.raises(DataError, match="different data sets"):
        rank_together(user_US, item_IS, [parts[0], HeldOut.build([0], [0], [0], [1], 1, 2)])


@pytest.mark.parametrize("seed", range(2))
def test_splits_that_leave_out_different_items_of_a_user(seed):
    user_US, item_IS, train, held = random_case(seed, levels=3)
    more = np.concatenate([train[0], [*range(20)]]), np.concatenate([train[1], [*range(20)]])
    _, _, _, other = random_case(seed + 100)
    parts = [HeldOut.build(*train, *held, 40, 30), HeldOut.build(*more, *other, 40, 30)]
    first, second = rank_together(user_US, item_IS, parts)
    assert as_dict(first) == slow_ranks(user_US, item_IS, train, held)
    assert as_dict(second) == slow_ranks(user_US, item_IS, more, other)
    assert as_dict(second) != slow_ranks(user_US, item_IS, train, other)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 2, 3, 9]), st.integers(1, 40), st.integers(1, 40))
def test_ranks_equal_a_sorted_list_with_many_ties(seed, levels, users, items):
    """Small integers have exact products, so equal scores are equal to the bit."""
    user_US, item_IS, train, held = random_case(seed, users, items, levels=levels)
    split = HeldOut.build(*train, *held, users, items)
    assert as_dict(rank_held_out(user_US, item_IS, split)) == slow_ranks(user_US, item_IS, train, held)


@pytest.mark.parametrize("items", [30, 2000])
def test_ranks_of_real_vectors_equal_a_sorted_list(items):
    user_US, item_IS, train, held = random_case(0, items=items)
    split = HeldOut.build(*train, *held, 40, items)
    assert as_dict(rank_held_out(user_US, item_IS, split)) == slow_ranks(user_US, item_IS, train, held)


def test_lower_index_first_among_equal_scores():
    user_US, item_IS, split = one_user([5.0, 1.0, 5.0, 5.0, 7.0, 1.0], train=[0], held=[1, 2, 3, 5])
    assert rank_held_out(user_US, item_IS, split).rank_P.tolist() == [3, 1, 2, 4]


def test_training_items_are_masked_and_other_held_out_items_are_not():
    user_US, item_IS, split = one_user([9.0, 8.0, 7.0, 6.0], train=[0, 2], held=[1, 3])
    assert rank_held_out(user_US, item_IS, split).rank_P.tolist() == [0, 1]


def test_a_held_out_training_item_is_in_no_list():
    user_US, item_IS, split = one_user([9.0, 8.0, 7.0], train=[0], held=[0, 1])
    assert split.trained_P.tolist() == [True, False]
    assert rank_held_out(user_US, item_IS, split).rank_P.tolist() == [NEVER, 0]


@pytest.mark.parametrize("items", [90, 2000])
@pytest.mark.parametrize("chunk", [1, 128, 129, 300, 1000])
def test_ranks_do_not_depend_on_the_chunk(chunk, items):
    user_US, item_IS, train, held = random_case(1, users=700, items=items, width=192)
    user_US[::3] = user_US[0]
    item_IS[-40:-30] = item_IS[:10]
    split = HeldOut.build(*train, *held, 700, items)
    assert np.array_equal(
        rank_held_out(user_US, item_IS, split, chunk).rank_P, rank_held_out(user_US, item_IS, split, 10_000).rank_P
    )
    lists = [top_k(user_US, item_IS, np.arange(700), *train, 20, size) for size in (chunk, 10_000)]
    assert np.array_equal(lists[0][0], lists[1][0])
    assert np.array_equal(lists[0][1], lists[1][1])


@pytest.mark.parametrize("levels", [2, None])
@pytest.mark.parametrize(("items", "depth"), [(30, 0), (30, 1), (30, 5), (30, 30), (300, 1), (300, 20), (300, 50)])
def test_depth_keeps_the_ranks_below_it(items, depth, levels):
    user_US, item_IS, train, held = random_case(2, items=items, levels=levels)
    split = HeldOut.build(*train, *held, 40, items)
    exact = rank_held_out(user_US, item_IS, split).rank_P
    short = rank_held_out(user_US, item_IS, split, depth=depth).rank_P
    assert np.array_equal(short[exact < depth], exact[exact < depth])
    assert (short[exact >= depth] >= depth).all()


def test_no_user_to_rank_gives_no_ranks():
    split = HeldOut.build([], [], [0], [1], 2, 3)
    assert len(split.user_E) == 0
    assert len(rank_held_out(torch.ones(2, 2), torch.ones(3, 2), split).rank_P) == 0


@pytest.mark.parametrize(("value", "message"), [(torch.nan, "user vectors .* NaN or inf"), (-torch.inf, "NaN or inf")])
def test_vectors_that_are_not_finite_are_refused(value, message):
    user_US, item_IS, train, held = random_case(3)
    split = HeldOut.build(*train, *held, 40, 30)
    user_US[split.user_E[0], 1] = value
    with pytest.raises(TrainingError, match=message):
        rank_held_out(user_US, item_IS, split)
    with pytest.raises(TrainingError, match=message):
        top_k(user_US, item_IS, split.user_E, *train, 3)


def test_item_vectors_that_are_not_finite_or_overflow_are_refused():
    user_US, item_IS, split = one_user([1.0, torch.nan, 2.0], train=[0], held=[2])
    with pytest.raises(TrainingError, match=r"item vectors .* NaN or inf"):
        rank_held_out(user_US, item_IS, split)
    user_US, item_IS, split = one_user([1.0, -1e20, 2.0], train=[0], held=[2])
    with pytest.raises(TrainingError, match="overflow"):
        rank_held_out(user_US * 1e20, item_IS, split)


def test_vectors_with_a_gradient_are_ranked_and_left_alone():
    user_US, item_IS, split = one_user([1.0, 3.0, 2.0], train=[0], held=[2])
    user_US.requires_grad_()
    assert rank_held_out(user_US, item_IS, split).rank_P.tolist() == [1]
    assert torch.equal(user_US, torch.ones(1, 1))


def test_wrong_shapes_and_settings_are_refused():
    split = HeldOut.build([0], [0], [0], [1], 2, 3)
    with pytest.raises(DataError, match="cannot rank 3 items for 2 users"):
        rank_held_out(torch.ones(2, 2), torch.ones(4, 2), split)
    with pytest.raises(DataError, match="cannot rank"):
        rank_held_out(torch.ones(2, 2), torch.ones(3, 1), split)
    with pytest.raises(ConfigError, match="chunk = 0"):
        rank_held_out(torch.ones(2, 2), torch.ones(3, 2), split, chunk=0)
    with pytest.raises(ConfigError, match="k = 0"):
        top_k(torch.ones(2, 2), torch.ones(3, 2), [0], [], [], 0)
    with pytest.raises(DataError, match="asked-for user 2"):
        top_k(torch.ones(2, 2), torch.ones(3, 2), [2], [], [], 1)
    with pytest.raises(DataError, match="training item 3"):
        top_k(torch.ones(2, 2), torch.ones(3, 2), [0], [1], [3], 1)
    with pytest.raises(DataError, match="cannot rank 3 items for 2 users"):
        top_k(torch.ones(2, 2), torch.ones(3, 1), [0], [], [], 1)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 2, 9]), st.integers(1, 20), st.integers(1, 25))
def test_lists_equal_a_sort_and_hold_no_training_item(seed, levels, items, k):
    user_US, item_IS, (train_user, train_item), _ = random_case(seed, users=12, items=items, levels=levels)
    users = np.random.default_rng(seed).integers(0, 12, 9)  # any order, repeats allowed
    item_EK, score_EK = top_k(user_US, item_IS, users, train_user, train_item, k)
    assert item_EK.shape == score_EK.shape == (9, k)
    for position, user in enumerate(users):
        score = user_US[user] @ item_IS.T
        left = [j for j in range(items) if j not in set(train_item[train_user == user].tolist())]
        best = sorted(left, key=lambda j: (-float(score[j]), j))[:k]
        missing = k - len(best)
        assert item_EK[position].tolist() == best + [-1] * missing
        assert score_EK[position].tolist() == [float(score[j]) for j in best] + [-np.inf] * missing


def test_lists_and_ranks_agree():
    user_US, item_IS, train, held = random_case(5, users=200, items=60, width=16)
    split = HeldOut.build(*train, *held, 200, 60)
    ranks = rank_held_out(user_US, item_IS, split)
    item_EK, _ = top_k(user_US, item_IS, split.user_E, *train, 60)
    for row, item, rank in zip(ranks.row_P, ranks.item_P, ranks.rank_P, strict=True):
        assert (item not in item_EK[row]) if rank == NEVER else (item_EK[row, rank] == item)


def test_a_scorer_is_ranked_as_vectors_are_whatever_the_chunk(monkeypatch):
    user_US, item_IS, train, held = random_case(3)

    class Product:
        shape = (len(user_US), len(item_IS))

        def scores(self, user_E):
            return user_US[torch.from_numpy(user_E)] @ item_IS.T

    split = HeldOut.build(*train, *held, *Product.shape)
    monkeypatch.setattr(ranking, "CHUNK", 7)
    assert as_dict(rank_scores(Product(), [split])[0]) == as_dict(rank_held_out(user_US, item_IS, split))


def test_a_process_that_has_all_columns_ranks_as_without_columns():
    user_US, item_IS, train, held = random_case(4)
    split = HeldOut.build(*train, *held, len(user_US), len(item_IS))
    divided = rank_together(user_US, item_IS, [split], columns=user_US.shape[1])[0]
    assert as_dict(divided) == as_dict(rank_held_out(user_US, item_IS, split))
