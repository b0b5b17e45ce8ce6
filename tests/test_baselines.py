"""Baselines without training against their definitions, on a small random world."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from crossrec import baselines
from crossrec.baselines import BASELINES, Baseline
from crossrec.errors import ConfigError, DataError
from crossrec.evaluation import HeldOut
from crossrec.evaluation.ranking import rank_scores, rank_together
from crossrec.memory import Available
from crossrec.types import TrainingSet

USERS, ITEMS = 30, 12


def world(features: bool = True) -> tuple[TrainingSet, HeldOut, np.ndarray]:
    """Training set, a validation split and the dense histories (U, I)."""
    draw = np.random.default_rng(3)
    taken = draw.random((USERS, ITEMS)) < 0.3
    taken[:, 0] |= draw.random(USERS) < 0.5
    taken[USERS - 1] = False
    user, item = taken.nonzero()
    held = draw.random(len(user)) < 0.2
    train = np.zeros((USERS, ITEMS))
    train[user[~held], item[~held]] = 1.0
    content = {
        "image": torch.from_numpy(draw.normal(size=(ITEMS, 3))),
        "text": torch.from_numpy(draw.normal(size=(ITEMS, 2))),
    }
    content["image"][4] = 0.0
    data = TrainingSet(
        USERS, ITEMS, torch.from_numpy(user[~held]), torch.from_numpy(item[~held]), content if features else {}
    )
    valid = HeldOut.build(user[~held], item[~held], user[held], item[held], USERS, ITEMS)
    return data, valid, train


def all_scores(baseline: Baseline) -> np.ndarray:
    return baseline.scores(np.arange(USERS)).numpy()


def test_popularity_counts_training_interactions():
    data, valid, history = world()
    np.testing.assert_array_equal(all_scores(baselines.popularity(data, valid)), np.tile(history.sum(0), (USERS, 1)))


def test_content_neighbors_compare_an_item_with_the_mean_of_the_history():
    data, valid, history = world()
    unit = [
        f.numpy() / np.maximum(np.linalg.norm(f.numpy(), axis=1, keepdims=True), 1e-12) for f in data.features.values()
    ]
    expected = np.zeros((USERS, ITEMS))
    for u in range(USERS):
        chosen = [i for i in range(ITEMS) if history[u, i]]
        for i in range(ITEMS):
            expected[u, i] = sum(float(x[j] @ x[i]) for x in unit for j in chosen) / max(len(chosen), 1)
    np.testing.assert_allclose(all_scores(baselines.content_neighbors(data, valid)), expected, atol=1e-5)
    with pytest.raises(ConfigError, match="no content modality"):
        baselines.content_neighbors(world(features=False)[0], valid)


@pytest.mark.parametrize(("neighbors", "shrinkage"), [(2, 0.0), (3, 10.0)])
def test_item_knn(monkeypatch, neighbors, shrinkage):
    monkeypatch.setattr(baselines, "NEIGHBORS", (neighbors,))
    monkeypatch.setattr(baselines, "SHRINKAGE", (shrinkage,))
    data, valid, history = world()
    degree = history.sum(0)
    similarity = np.zeros((ITEMS, ITEMS))
    for i in range(ITEMS):
        values = {
            j: sum(history[u, i] * history[u, j] for u in range(USERS)) / (math.sqrt(degree[i] * degree[j]) + shrinkage)
            for j in range(ITEMS)
            if j != i
        }
        for j in sorted(values, key=lambda j: (-values[j], j))[:neighbors]:
            similarity[i, j] = values[j]
    baseline = baselines.item_knn(data, valid)
    np.testing.assert_allclose(all_scores(baseline), history @ similarity, atol=1e-5)
    assert baseline.settings == {"neighbors": neighbors, "shrinkage": shrinkage}


def test_ease_solves_its_least_squares(monkeypatch):
    monkeypatch.setattr(baselines, "EASE_L2", (4.0,))
    data, valid, history = world()
    baseline = baselines.ease(data, valid)
    weight, gram = baseline.item, history.T @ history
    np.testing.assert_array_equal(np.diag(weight), 0.0)
    residual = (gram + 4.0 * np.eye(ITEMS)) @ weight - gram  # half the gradient; free on the diagonal alone
    np.testing.assert_allclose(residual - np.diag(np.diag(residual)), 0.0, atol=1e-9)
    np.testing.assert_allclose(all_scores(baseline), history @ weight, atol=1e-5)


def test_ease_refuses_what_is_not_available(monkeypatch):
    monkeypatch.setattr(baselines, "available_memory", lambda: Available(24 * 11**2, "ulimit -v"))
    with pytest.raises(ConfigError, match=r"12 items need .* memory for 11 items"):
        baselines.ease(*world()[:2])


def test_ease_refuses_what_memory_does_not_hold(monkeypatch):
    monkeypatch.setattr(baselines, "EASE_MEMORY", 24 * 11**2)
    with pytest.raises(ConfigError, match=r"12 items need .* memory for 11 items"):
        baselines.ease(*world()[:2])


def test_settings_are_chosen_on_validation(monkeypatch):
    data, valid, _ = world()

    def value(baseline: Baseline) -> float:
        [ranks] = rank_scores(baseline, [valid])
        hits = np.bincount(ranks.row_P, ranks.rank_P < 3, len(valid.user_E))
        return float((hits / valid.count_E).mean())

    monkeypatch.setattr(baselines, "SELECTION_K", 3)
    values = {}
    for l2 in (0.5, 5.0, 500.0):
        monkeypatch.setattr(baselines, "EASE_L2", (l2,))
        values[l2] = value(baselines.ease(data, valid))
    monkeypatch.setattr(baselines, "EASE_L2", (0.5, 5.0, 500.0))
    assert len(set(values.values())) > 1
    assert baselines.ease(data, valid).settings == {"l2": max(values, key=lambda l2: values[l2])}


@pytest.mark.parametrize("name", BASELINES)
def test_every_baseline_ranks_all_users_and_sees_no_validation_pair(name):
    data, valid, history = world()
    baseline = BASELINES[name](data, valid)
    assert baseline.shape == (USERS, ITEMS)
    scores = all_scores(baseline)
    assert np.isfinite(scores).all()
    without = HeldOut.build(*history.nonzero(), [], [], USERS, ITEMS)
    first = BASELINES[name](data, without)
    assert first.shape == baseline.shape
    [ranks] = rank_scores(baseline, [valid])
    assert len(ranks.rank_P) == len(valid.item_P)


def test_scores_are_ranked_as_vectors_are():
    _, valid, history = world()
    generator = torch.Generator().manual_seed(0)
    user, item = torch.randn(USERS, 4, generator=generator), torch.randn(ITEMS, 4, generator=generator)
    test = HeldOut.build(*history.nonzero(), [0, 1, 2], [3, 4, 5], USERS, ITEMS)
    by_vectors = rank_together(user, item, [valid, test])
    by_scores = rank_scores(Baseline(user.numpy(), item.T.numpy()), [valid, test])
    for left, right in zip(by_vectors, by_scores, strict=True):
        np.testing.assert_array_equal(left.rank_P, right.rank_P)
    with pytest.raises(DataError, match="cannot rank"):
        rank_scores(Baseline(user.numpy(), item[:5].T.numpy()), [valid])
