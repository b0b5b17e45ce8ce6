"""Distances between modalities, cosines of users with items, and t-SNE."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from crossrec.experiments.analysis.embedding_metrics import cosines, distances, tsne


def table(*rows):
    return torch.tensor(rows, dtype=torch.float32)


def test_distances_by_hand():
    vectors = {
        "id": table([3, 4], [0, 2], [1, 0], [0, 0]),
        "image": table([3, 0], [0, -1], [0, 0], [5, 5]),
        "text": table([6, 8], [2, 0], [0, 3], [1, 1]),
    }
    raw = distances(vectors, normalised=False)
    assert raw["id", "image"] == pytest.approx((4 + 3) / 2), "the third item has no image, the fourth no id"
    assert raw["id", "text"] == pytest.approx((5 + math.sqrt(8) + math.sqrt(10)) / 3)
    unit = distances(vectors, normalised=True)
    # (0.6, 0.8) to (1, 0), and (0, 1) to (0, -1); then 0, and twice a right angle
    assert unit["id", "image"] == pytest.approx((math.sqrt(0.16 + 0.64) + 2) / 2)
    assert unit["id", "text"] == pytest.approx((0 + 2 * math.sqrt(2)) / 3)
    assert list(unit) == [("id", "image"), ("id", "text"), ("image", "text")]
    assert distances({"id": vectors["id"]}, normalised=True) == {}
    assert math.isnan(distances({"a": table([1, 0], [0, 0]), "b": table([0, 0], [1, 1])}, normalised=True)["a", "b"])


def test_cosines_by_hand(monkeypatch):
    user = table([1, 0], [1, 1])
    vectors = {"id": table([2, 0], [0, 1], [-1, 0]), "sound": table([0, 3], [0, 0], [1, 1])}
    pairs = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 2, 0])
    diagonal = math.sqrt(0.5)
    for block in (1 << 18, 3):
        monkeypatch.setattr("crossrec.experiments.analysis.embedding_metrics.PAIRS", block)
        cosine = cosines(user, vectors, *pairs)
        assert cosine["id"] == pytest.approx((1 + 0 - diagonal + diagonal) / 4)
        assert cosine["sound"] == pytest.approx((0 + 1 + diagonal) / 3), "the second item makes no sound"
    nothing = torch.empty(0, dtype=torch.int64)
    assert math.isnan(cosines(user, vectors, nothing, nothing)["id"])


def test_tsne_keeps_apart_what_is_apart():
    near = torch.Generator().manual_seed(0)
    one, other = (torch.randn(20, 3, generator=near) * 0.05 + torch.tensor(at) for at in ([1.0, 0, 0], [0, 1.0, 0]))
    placed = tsne({"one": one, "other": other}, 0)
    centres = [placed[name].mean(axis=0) for name in ("one", "other")]
    spread = max(
        np.linalg.norm(placed[name] - centre, axis=1).max() for name, centre in zip(placed, centres, strict=True)
    )
    assert np.linalg.norm(centres[0] - centres[1]) > 2 * spread
