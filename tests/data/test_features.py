"""Scaling and mean cosine of features, compared with their definitions; reading of feature files."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra.numpy import arrays

from crossrec.data.io import features as module
from crossrec.data.io.features import Scaler, mean_pairwise_cosine, open_features

MATRICES = st.integers(2, 9).flatmap(
    lambda rows: arrays(np.float64, (rows, 3), elements=st.integers(-8, 8).map(lambda whole: whole / 4))
)


def by_definition(matrix, how):
    """Row by row and column by column."""
    out = np.zeros(matrix.shape)
    present = [row for row in range(len(matrix)) if any(matrix[row] != 0)]
    for row in present:
        out[row] = matrix[row]
    if "standardize" in how and present:
        for column in range(matrix.shape[1]):
            values = matrix[present, column]
            for row in present:
                out[row, column] = (matrix[row, column] - values.mean()) / values.std() if values.std() > 1e-9 else 0.0
    if "l2" in how:
        for row in present:
            length = np.linalg.norm(out[row])
            out[row] = out[row] / length if length > 1e-9 else 0.0
    return out


def scale(matrix, how):
    return Scaler.fit(matrix, how)(matrix)


@settings(deadline=None)
@given(matrix=MATRICES, how=st.sampled_from(["standardize_l2", "l2", "standardize", "none"]))
def test_scaling_agrees_with_its_definition(matrix, how):
    scaled = scale(matrix, how)
    assert scaled.dtype == np.float32
    assert scaled.flags.c_contiguous
    expected = by_definition(matrix, how)
    if how == "standardize_l2":  # rows that sit on the mean have no direction
        sure = np.linalg.norm(by_definition(matrix, "standardize"), axis=1) > 1e-6
        scaled, expected = scaled[sure], expected[sure]
    np.testing.assert_allclose(scaled, expected, atol=2e-6)


@pytest.mark.parametrize("how", ["standardize_l2", "l2", "standardize", "none"])
def test_missing_features_stay_zero_and_do_not_move_the_others(how):
    full = np.random.default_rng(0).normal(3, 2, (6, 4))
    holed = np.insert(full, [0, 3, 6], 0.0, axis=0)
    scaled = scale(holed, how)
    assert not scaled[[0, 4, 8]].any()
    np.testing.assert_array_equal(np.delete(scaled, [0, 4, 8], axis=0), scale(full, how))


def test_a_constant_column_becomes_zero_even_where_rounding_would_not_make_it_so():
    matrix = np.column_stack([np.full(7, 0.1), np.arange(7.0)])
    scaled = scale(matrix, "standardize")
    assert not scaled[:, 0].any()
    np.testing.assert_allclose(scaled[:, 1].std(), 1, rtol=1e-6)


def test_the_block_size_changes_nothing(monkeypatch):
    matrix = np.random.default_rng(0).normal(size=(23, 5))
    matrix[[3, 10]] = 0
    scaled, cosine = scale(matrix, "standardize_l2"), mean_pairwise_cosine(matrix)
    monkeypatch.setattr(module, "BLOCK", 4)
    np.testing.assert_allclose(scale(matrix, "standardize_l2"), scaled, atol=1e-7)
    assert mean_pairwise_cosine(matrix) == pytest.approx(cosine, abs=1e-12)


@given(matrix=MATRICES)
@settings(deadline=None)
def test_mean_cosine_agrees_with_the_matrix_of_all_pairs(matrix):
    rows = [row / np.linalg.norm(row) for row in matrix if row.any()]
    pairs = [float(a @ b) for i, a in enumerate(rows) for j, b in enumerate(rows) if i != j]
    if pairs:
        assert mean_pairwise_cosine(matrix) == pytest.approx(np.mean(pairs), abs=1e-12)
    else:
        assert np.isnan(mean_pairwise_cosine(matrix))


@pytest.mark.parametrize("kind", ["float16", "float32", "float64", "int8", ">f4"])
def test_numbers_of_any_width_and_order_of_memory_are_read(tmp_path, kind):
    matrix = np.asfortranarray(np.arange(12).reshape(4, 3).astype(kind))
    np.save(tmp_path / "x_feat.npy", matrix)
    np.testing.assert_array_equal(scale(open_features(tmp_path / "x_feat.npy"), "none"), matrix.astype(np.float32))
