"""The built-in sets: the same everywhere, and of the kind the paper is about."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest

from crossrec.data import DataConfig, load
from crossrec.data.synthetic import RECIPES, generate


def interactions_hash(name):
    generated = generate(RECIPES[name])
    return hashlib.sha256(np.stack([generated.user_N, generated.item_N]).astype("<i8").tobytes()).hexdigest()[:16]


def split_hash(name):
    dataset = load(DataConfig(data=name))
    return hashlib.sha256(np.stack([dataset.test.user_N, dataset.test.item_N]).astype("<i8").tobytes()).hexdigest()[:16]


@pytest.mark.parametrize(
    ("name", "drawn", "held"),
    [("synthetic", "674ab212181c5c34", "073295b267e95803"), ("synthetic-tiny", "b772d7325b2485a7", "b55658a4255ee99d")],
)
def test_the_interactions_are_pinned(name, drawn, held):
    assert interactions_hash(name) == drawn
    assert split_hash(name) == held


def test_the_default_set_has_the_promised_size():
    dataset = load(DataConfig())
    total = len(dataset.train) + len(dataset.valid) + len(dataset.test)
    assert (dataset.name, dataset.num_users, dataset.num_items) == ("synthetic", 1500, 1000)
    assert 15_000 < total < 20_000
    assert len(dataset.train) / total == pytest.approx(0.8, abs=0.02)
    assert {name: matrix.shape[1] for name, matrix in dataset.features.items()} == {"image": 64, "text": 32}


def test_interactions_are_distinct_and_popularity_has_a_long_tail():
    generated = generate(RECIPES["synthetic"])
    assert len(np.unique(generated.user_N * 1000 + generated.item_N)) == len(generated.user_N)
    assert np.bincount(generated.user_N).min() >= 5
    count = np.sort(np.bincount(generated.item_N, minlength=1000))[::-1]
    assert 0.3 < count[:100].sum() / count.sum() < 0.7


def test_each_modality_tells_what_a_user_likes_and_taste_beats_popularity():
    """Recall@20 on the test split: profile from features above chance; latent factors of the training matrix on top."""
    dataset = load(DataConfig())
    shape = (dataset.num_users, dataset.num_items)
    seen, held = np.zeros(shape), np.zeros(shape)
    seen[dataset.train.user_N, dataset.train.item_N] = 1
    held[dataset.test.user_N, dataset.test.item_N] = 1

    def recall(score):
        top = np.argsort(np.where(seen > 0, -np.inf, score), axis=1)[:, -20:]
        return float((np.take_along_axis(held, top, axis=1).sum(axis=1) / held.sum(axis=1)).mean())

    popular = recall(np.broadcast_to(seen.sum(axis=0), shape))
    scaled = seen / np.sqrt(np.maximum(seen.sum(axis=1, keepdims=True), 1) * np.maximum(seen.sum(axis=0), 1))
    values, vectors = np.linalg.eigh(scaled.T @ scaled)
    factors = vectors[:, np.argsort(values)[-16:]]
    weight = np.sqrt(np.maximum(seen.sum(axis=0), 1))
    latent = recall((seen / weight) @ factors @ factors.T * weight)
    assert latent > 1.5 * popular
    for matrix in dataset.features.values():
        assert recall(seen @ matrix @ matrix.T) > 5 * 20 / dataset.num_items


def test_of_some_items_a_modality_says_nothing():
    """Each modality shows random factors on the promised share of items, drawn for itself; nothing else changes."""
    recipe = RECIPES["synthetic"]
    assert recipe.junk_share == 0.15
    with_junk, without = generate(recipe), generate(replace(recipe, junk_share=0.0))
    assert np.array_equal(with_junk.user_N, without.user_N)
    assert np.array_equal(with_junk.item_N, without.item_N)
    junk = {name: (with_junk.features[name] != without.features[name]).any(axis=1) for name in ("image", "text")}
    for name, junk_I in junk.items():
        assert junk_I.mean() == pytest.approx(0.15, abs=0.03)
        shown, true = (generated.features[name][junk_I].astype(float) for generated in (with_junk, without))
        assert np.corrcoef(shown.ravel(), true.ravel())[0, 1] < 0.5, "noise and an offset are all they share"
    assert (junk["image"] & junk["text"]).mean() == pytest.approx(0.15**2, abs=0.015)


def test_which_modality_is_right_differs_from_item_to_item():
    """Nearest neighbours by one modality share users on most items; on some, only the other modality's do."""
    dataset = load(DataConfig())
    seen = np.zeros((dataset.num_users, dataset.num_items))
    seen[dataset.train.user_N, dataset.train.item_N] = 1
    often = np.flatnonzero(seen.sum(axis=0) >= 20)
    unit = seen[:, often] / np.linalg.norm(seen[:, often], axis=0)
    together = unit.T @ unit
    np.fill_diagonal(together, 0)
    near = {}
    for name, matrix in dataset.features.items():
        cosine = matrix[often] @ matrix[often].T
        np.fill_diagonal(cosine, -1)
        near[name] = np.take_along_axis(together, np.argsort(-cosine, axis=1)[:, :5], axis=1).mean(axis=1)
    better = near["image"] - near["text"]
    assert min((better > 0.03).mean(), (better < -0.03).mean()) > 0.15
