"""Metrics of lists: by hand, against slow loops from other definitions, and with empty places."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from sklearn.metrics.pairwise import cosine_distances

from crossrec.errors import ConfigError, DataError
from crossrec.evaluation.lists import diversity, exposure, list_values

LISTS = np.array([[0, 1], [0, 3], [2, -1], [-1, -1]])
DEGREE = np.array([8, 4, 0, 4])
TAIL = np.array([False, True, True, True])


def random_lists(seed, users=40, items=30, k=8):
    rng = np.random.default_rng(seed)
    lists = np.stack([rng.permutation(items)[:k] for _ in range(users)])
    lists[::5, 5:] = -1
    lists[3] = -1
    return lists, rng.integers(0, 20, items), rng.random(items) < 0.6


def test_values_by_hand():
    """Probabilities 1/2, 1/4, -, 1/4 of 16 interactions; the untouched item counts as 1/16."""
    values = list_values(LISTS, DEGREE, TAIL, (1, 2))
    assert values["popularity@2"].tolist() == pytest.approx([6, 6, 0, np.nan], nan_ok=True)
    assert values["novelty@2"].tolist() == pytest.approx([1.5, 1.5, 4, np.nan], nan_ok=True)
    assert values["tail@2"].tolist() == pytest.approx([0.5, 0.5, 1, np.nan], nan_ok=True)
    assert values["novelty@1"].tolist() == pytest.approx([1, 1, 4, np.nan], nan_ok=True)


@pytest.mark.parametrize("seed", range(3))
def test_values_against_a_slow_loop(seed):
    lists, degree, tail = random_lists(seed)
    values = list_values(lists, degree, tail, (3, 8))
    for k in (3, 8):
        for row, items in enumerate(lists.tolist()):
            items = [item for item in items[:k] if item >= 0]
            if not items:
                assert all(np.isnan(values[f"{name}@{k}"][row]) for name in ("popularity", "novelty", "tail"))
                continue
            bits = [-math.log2(max(degree[item], 1) / degree.sum()) for item in items]
            assert values[f"popularity@{k}"][row] == pytest.approx(sum(degree[item] for item in items) / len(items))
            assert values[f"novelty@{k}"][row] == pytest.approx(sum(bits) / len(items))
            assert values[f"tail@{k}"][row] == pytest.approx(sum(tail[item] for item in items) / len(items))


def test_exposure_by_hand():
    """Counts 2, 1, 1, 1 of four items in order 1 1 1 2: (-3 - 1 + 1 + 2 · 3) / (4 · 5)."""
    values = exposure(LISTS, 4, (1, 2))
    assert values == {"coverage@1": 0.5, "gini@1": pytest.approx(7 / 12), "coverage@2": 1.0, "gini@2": 3 / 20}


@pytest.mark.parametrize("seed", range(3))
def test_exposure_against_other_definitions(seed):
    """Gini as half the mean absolute difference of two items' counts, over their mean."""
    lists, degree, _ = random_lists(seed, users=4)
    values = exposure(lists, len(degree), (3, 8))
    for k in (3, 8):
        listed = [item for row in lists[:, :k].tolist() for item in row if item >= 0]
        counts = [listed.count(item) for item in range(len(degree))]
        apart = [abs(one - other) for one, other in itertools.product(counts, repeat=2)]
        assert values[f"gini@{k}"] == pytest.approx(np.mean(apart) / (2 * np.mean(counts)))
        assert values[f"coverage@{k}"] == pytest.approx(len(set(listed)) / len(degree))


def test_extremes_of_coverage_and_gini():
    assert exposure(np.array([[0, 1], [2, 3]]), 4, (2,)) == {"coverage@2": 1.0, "gini@2": 0.0}
    assert exposure(np.zeros((9, 1), dtype=int), 5, (1,)) == {"coverage@1": 0.2, "gini@1": pytest.approx(0.8)}


def test_empty_lists():
    for lists in (np.full((2, 3), -1), np.empty((0, 3), dtype=int)):
        values = exposure(lists, 4, (3,))
        assert values["coverage@3"] == 0
        assert np.isnan(values["gini@3"])
        assert np.isnan(list_values(lists, DEGREE, TAIL, (3,))["novelty@3"]).all()
        assert np.isnan(diversity(lists, np.eye(4))).all()


@pytest.mark.parametrize("seed", range(3))
def test_diversity_is_the_mean_cosine_distance_of_pairs(seed):
    lists, degree, _ = random_lists(seed, users=600)
    vectors = np.random.default_rng(seed).standard_normal((len(degree), 5))
    vectors[::4] = 0
    values = diversity(lists, vectors)
    for row, items in enumerate(lists.tolist()):
        items = [item for item in items if item >= 0 and item % 4]
        pairs = cosine_distances(vectors[items])[np.triu_indices(len(items), 1)] if len(items) > 1 else [np.nan]
        assert values[row] == pytest.approx(np.mean(pairs), nan_ok=True)


def test_lists_of_wrong_shape_or_items_are_refused():
    for k in (0, 3):
        with pytest.raises(ConfigError, match="lists of 2 places at K = "):
            list_values(LISTS, DEGREE, TAIL, (k,))
        with pytest.raises(ConfigError, match="lists of 2 places at K = "):
            exposure(LISTS, 4, (k,))
    with pytest.raises(DataError, match="need one an item"):
        list_values(LISTS, DEGREE, TAIL[:3], (2,))
    for measure in (lambda: list_values(LISTS, DEGREE[:3], TAIL[:3], (2,)), lambda: exposure(LISTS, 3, (2,))):
        with pytest.raises(DataError, match="item 3 of a list is not among the 3"):
            measure()
    with pytest.raises(DataError, match="item 3"):
        diversity(LISTS, np.eye(3))
