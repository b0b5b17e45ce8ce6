"""The published facts of the paper's own data, where they are at hand."""

from __future__ import annotations

import numpy as np
import pytest

from crossrec.data import DataConfig, describe, load, validate


def test_tiktok_has_the_figures_of_the_papers_table_1(real):
    text = describe(DataConfig(data=str(real("tiktok"))))
    assert (text.users, text.items, text.interactions) == (9308, 6710, 68722)
    assert (text.train, text.valid, text.test) == (59541, 3051, 6130)
    assert f"{text.sparsity:.2%}" == "99.89%"
    assert text.mean_cosine["image"] == pytest.approx(0.8556, abs=5e-5)
    assert text.mean_cosine["audio"] == pytest.approx(0.1243, abs=5e-5)
    assert text.users_without_training == 10


def test_tiktok_warns_of_its_ten_users_and_is_scaled_to_unit_rows(real):
    config = DataConfig(data=str(real("tiktok")))
    [finding] = validate(config)
    assert finding.kind == "warning"
    assert "10 users have no training row" in finding.message
    for matrix in load(config).features.values():
        np.testing.assert_allclose(np.linalg.norm(matrix, axis=1), 1, atol=1e-5)


def test_baby_has_image_and_text_and_the_published_split_sizes(real):
    dataset = load(DataConfig(data=str(real("baby"))))
    assert (dataset.num_users, dataset.num_items, sorted(dataset.features)) == (19445, 7050, ["image", "text"])
    assert (len(dataset.train), len(dataset.valid), len(dataset.test)) == (118551, 20559, 21682)
