"""Recall, NDCG, precision and MAP: by hand, against a slow loop, and against the independent library ranx."""

from __future__ import annotations

import math

import numpy as np
import pytest
import ranx
import torch

from crossrec.errors import ConfigError, DataError
from crossrec.evaluation import HeldOut, Ranks, evaluate, mean_metrics, per_user, rank_held_out, top_k

# ranx is compiled when first used, and the compiler has remarks on its code.
pytestmark = pytest.mark.filterwarnings("ignore::numba.core.errors.NumbaWarning")

KS = (1, 3, 10, 20, 50)


def case(seed, users=60, items=45, width=6):
    """Vectors, training pairs and HeldOut with 1 … 30 held-out items a user; with odd seeds many scores are equal."""
    rng = np.random.default_rng(seed)
    user_US, item_IS = rng.standard_normal((users, width)), rng.standard_normal((items, width))
    if seed % 2:
        user_US, item_IS = user_US.round(), item_IS.round()
    train = rng.integers(0, users, 3 * users), rng.integers(0, items, 3 * users)
    held_user = np.repeat(np.arange(users), rng.geometric(0.2, users).clip(1, 30))
    held = held_user, rng.integers(0, items, len(held_user))
    return (
        torch.tensor(user_US).float(),
        torch.tensor(item_IS).float(),
        train,
        HeldOut.build(*train, *held, users, items),
    )


def slow_metrics(ranks_of_user, k):
    """The metrics of one user from the definitions, one loop each."""
    hits = sorted(rank for rank in ranks_of_user if rank < k)
    dcg = sum(1 / math.log2(rank + 2) for rank in hits)
    ideal = sum(1 / math.log2(n + 2) for n in range(min(k, len(ranks_of_user))))
    precisions = [sum(other <= rank for other in hits) / (rank + 1) for rank in hits]
    return {
        f"recall@{k}": len(hits) / len(ranks_of_user),
        f"ndcg@{k}": dcg / ideal,
        f"precision@{k}": len(hits) / k,
        f"map@{k}": sum(precisions) / len(ranks_of_user),
        f"hr@{k}": float(bool(hits)),
        f"mrr@{k}": 1 / (hits[0] + 1) if hits else 0.0,
    }


@pytest.mark.parametrize("seed", range(6))
def test_equal_to_a_slow_loop(seed):
    user_US, item_IS, _, held = case(seed)
    ranks = rank_held_out(user_US, item_IS, held)
    values = per_user(ranks, KS, ["recall", "ndcg", "precision", "map", "HR", "MRR"])
    assert len(values) == 6 * len(KS)
    for row in range(len(held.user_E)):
        for k in KS:
            for name, expected in slow_metrics(ranks.rank_P[ranks.row_P == row].tolist(), k).items():
                assert values[name][row] == pytest.approx(expected, rel=0, abs=1e-12)
    assert all(value.dtype == np.float64 and value.shape == held.user_E.shape for value in values.values())


def hits_within_k(hits):
    """A metric of one's own, in whole numbers: held-out items among the first K."""
    return np.bincount(hits.row_H, minlength=len(hits.count_E))


def test_values_of_a_metric_in_whole_numbers_are_floats():
    ranks = Ranks(np.arange(2), np.array([0, 0, 1]), np.array([3, 4, 3]), np.array([0, 2, 30]))
    values = per_user(ranks, (10,), [f"{__name__}:hits_within_k"])
    (value,) = values.values()
    assert value.dtype == np.float64
    assert value.tolist() == [2, 0]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.slow
def test_equal_to_ranx(seed):
    """ranx gets the lists of ``top_k``, which test_ranking checks, as strictly falling scores."""
    user_US, item_IS, train, held = case(seed)
    item_EK, _ = top_k(user_US, item_IS, held.user_E, *train, 45)
    names = [f"u{user:03d}" for user in held.user_E]
    qrels = ranx.Qrels(
        {name: {f"i{item}": 1 for item in held.item_P[held.row_P == row].tolist()} for row, name in enumerate(names)}
    )
    run = ranx.Run(
        {
            name: {f"i{item}": float(100 - rank) for rank, item in enumerate(item_EK[row].tolist()) if item >= 0}
            for row, name in enumerate(names)
        }
    )
    metrics = [f"{metric}@{k}" for metric in ("recall", "ndcg", "precision", "map") for k in KS if k <= 20]
    expected = ranx.evaluate(qrels, run, metrics, return_mean=False)
    order = np.argsort(names)  # ranx sorts users by name
    values = per_user(rank_held_out(user_US, item_IS, held), KS)
    for metric in metrics:
        np.testing.assert_allclose(values[metric][order], expected[metric], rtol=0, atol=1e-12)
    assert 0.05 < mean_metrics(values)["recall@10"] < 0.95


def test_by_hand():
    """Ranks 0 and 3 of three held-out items; the third is below every K."""
    ranks = Ranks(np.array([7]), np.array([0, 0, 0]), np.array([5, 6, 8]), np.array([3, 0, 99]))
    values = {name: value.tolist() for name, value in per_user(ranks, (2, 4)).items()}
    ideal_2, ideal_3 = 1 + 1 / math.log2(3), 1 + 1 / math.log2(3) + 1 / 2
    assert values["recall@2"] == [1 / 3]
    assert values["recall@4"] == [2 / 3]
    assert values["precision@4"] == [1 / 2]
    assert values["ndcg@2"] == pytest.approx([1 / ideal_2], abs=1e-15)
    assert values["ndcg@4"] == pytest.approx([(1 + 1 / math.log2(5)) / ideal_3], abs=1e-15)
    assert values["map@4"] == pytest.approx([(1 + 2 / 4) / 3], abs=1e-15)


def test_more_places_than_items():
    item_IS = torch.tensor([[3.0], [2.0], [1.0]])
    held = HeldOut.build([0, 1], [0, 1], [0, 0, 1], [0, 2, 0], 2, 3)
    values = evaluate(torch.ones(2, 1), item_IS, held, ks=(100,))
    assert values["recall@100"] == (1 / 2 + 1) / 2  # item 0 is a training item of user 0 and never counts
    assert values["precision@100"] == pytest.approx(0.01, abs=1e-15)


def test_evaluate_is_the_mean_over_users():
    user_US, item_IS, _, held = case(1)
    values = per_user(rank_held_out(user_US, item_IS, held), (5, 20))
    assert evaluate(user_US, item_IS, held, (5, 20), chunk=1) == {
        name: float(value.mean()) for name, value in values.items()
    }


def test_a_user_without_pairs_is_nan():
    ranks = Ranks(np.array([4, 5]), np.array([1]), np.array([0]), np.array([0]))
    for value in per_user(ranks, (10,)).values():
        assert np.isnan(value[0])
        assert value[1] > 0


def test_no_user_to_evaluate_is_an_error():
    held = HeldOut.build([0], [0], [], [], 1, 2)
    with pytest.raises(DataError, match="no user has both"):
        evaluate(torch.ones(1, 1), torch.ones(2, 1), held)


def test_k_below_one_is_refused():
    user_US, item_IS, _, held = case(0)
    with pytest.raises(ConfigError, match="K = 0"):
        evaluate(user_US, item_IS, held, ks=(0,))
