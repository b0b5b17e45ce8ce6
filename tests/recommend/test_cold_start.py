"""Vectors of new items against the formulas, and against what the backbone itself would compute."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from crossrec.errors import ConfigError, CrossrecError
from crossrec.recommend import Recommender
from crossrec.recommend.cold_start import ColdStart, replace_items
from crossrec.runs.execute import run

from .conftest import config, tiny_features


@pytest.mark.parametrize("how", ["ridge", "aligned", "neighbors", "blend"])
def test_new_items_are_recommended_and_have_neighbours(tiny, how):
    raw = tiny_features()
    extended = tiny.with_items([100, 101], {m: x[:2] for m, x in raw.items()}, how)
    assert extended.items.ids.to_list() == [*range(40), 100, 101]
    lists = extended.recommend([1], 42, exclude_seen=False)
    assert {100, 101} <= set(lists["item"])
    vector = tiny.item_from_features({m: x[0] for m, x in raw.items()}, how)
    score = float(vector @ tiny.vectors.user_US[1])
    assert dict(zip(lists["item"], lists["score"], strict=True))[100] == pytest.approx(score, abs=1e-6)
    near, weight = most_similar(tiny, 0)
    length = tiny.vectors.item_IS[near].norm(dim=1)
    assert float(vector.norm()) == pytest.approx(float((weight * length).sum() / weight.sum()))
    # item 100 has the features of item 0, which is therefore its nearest by content
    assert extended.similar([100], 1, by="image")["similar"].to_list() == [0]
    assert extended.similar([100], 3).height == 3
    assert tiny.recommend([1], 42, exclude_seen=False).height == 40
    assert extended.explain(1, 100)["score"] == pytest.approx(score, abs=1e-6)


def test_neighbors_are_the_mean_of_directions_and_blend_adds_a_ridge(tiny):
    near, weight = most_similar(tiny, 3)
    unit = torch.nn.functional.normalize(tiny.vectors.item_IS[near], dim=1)
    vectors = {how: tiny.item_from_features({m: x[3] for m, x in tiny_features().items()}, how) for how in METHODS}
    unit_vectors = {how: vector / vector.norm() for how, vector in vectors.items()}
    mean = (weight[:, None] * unit).sum(0)
    torch.testing.assert_close(unit_vectors["neighbors"], mean / mean.norm())
    both = unit_vectors["neighbors"] + unit_vectors["ridge"]
    torch.testing.assert_close(unit_vectors["blend"], both / both.norm())


METHODS = ("neighbors", "ridge", "blend")


def most_similar(tiny, item):
    """The 20 trained items most similar to an item in content, and their mean cosines."""
    tables = [torch.nn.functional.normalize(x, dim=1) for x in tiny.vectors.modality_IL.values()]
    cosine = torch.stack([x @ x[item] for x in tables]).mean(0)
    near = sorted((i for i in range(40) if tiny.vectors.degree_I[i] > 0), key=lambda i: -float(cosine[i]))[:20]
    return near, cosine[near].clamp_min(1e-6)


def test_a_higher_quantile_makes_vectors_of_new_items_longer(tiny):
    lengths = tiny.vectors.item_IS[tiny.vectors.degree_I > 0].norm(dim=1)
    median = tiny.item_from_features({"text": np.ones(8)})
    for quantile in (0.0, 0.9, 1.0):
        vector = tiny.item_from_features({"text": np.ones(8)}, quantile=quantile)
        ratio = lengths.quantile(quantile) / lengths.quantile(0.5)
        torch.testing.assert_close(vector, ratio * median)


def test_items_with_one_interaction_are_learnt_from_and_items_without_are_not(tiny):
    degree_I = torch.full((40,), 5).index_fill(0, torch.tensor([3, 8]), 1).index_fill(0, torch.tensor([21]), 0)
    trained_T = ColdStart(replace(tiny.vectors, degree_I=degree_I)).trained_T
    assert trained_T.tolist() == [item for item in range(40) if item != 21]


def test_raw_features_get_the_scaling_and_projection_of_the_run(tiny):
    for modality, raw in tiny_features().items():
        content = tiny.vectors.project({modality: raw})[modality]
        torch.testing.assert_close(content, tiny.vectors.modality_IL[modality])


def test_aligned_is_equation_3(tiny):
    raw = {"image": tiny_features()["image"][7]}
    x = torch.nn.functional.normalize(tiny.vectors.modality_IL["image"][7], dim=0)
    aligner = tiny.vectors.aligners["image", "id"]
    expected = torch.nn.functional.normalize(x + aligner.weight @ x, dim=0)
    vector = tiny.item_from_features(raw, "aligned")
    torch.testing.assert_close(vector / vector.norm(), expected)


def test_one_modality_suffices_and_no_content_gives_zeros(tiny):
    only = tiny.item_from_features({"text": tiny_features()["text"][3]})
    assert bool(only.isfinite().all())
    assert float(only.norm()) > 0
    assert not tiny.item_from_features({"text": np.zeros(8)}).any()


def test_untouched_items_get_vectors_from_content(text):
    row = text.items.rows(["tea, 10"])[0]
    extended = text.with_untouched("ridge")
    assert not torch.equal(extended.vectors.item_IS[row], text.vectors.item_IS[row])
    assert torch.equal(extended.vectors.item_IS[:10], text.vectors.item_IS[:10])
    assert extended.similar(["tea, 10"], 3).height == 3
    assert extended.with_untouched("ridge").vectors.item_IS.equal(extended.vectors.item_IS)


def test_replaced_vectors_are_in_both_spaces_or_in_neither(tiny, text):
    """Where items rank by their vectors in the shared space these are replaced too; elsewhere they become zeros."""
    for vectors in (tiny.vectors, text.vectors):
        row_N, new_NS = (
            torch.tensor([3, 5]),
            torch.stack([torch.ones(vectors.item_IS.shape[1]), vectors.item_IS[0] * 0]),
        )
        replaced = replace_items(vectors, row_N, new_NS)
        assert torch.equal(replaced.item_IS[3], new_NS[0])
        assert torch.equal(replaced.item_IS[4:], vectors.item_IS[4:]), "a vector of zeros replaces none"
        assert replaced.from_content_I.nonzero().view(-1).tolist() == [3]
        one_space = vectors is tiny.vectors
        assert (replaced.item_IL is replaced.item_IS) == one_space
        assert one_space or not replaced.item_IL[3].any()
        assert not any(part_IS[3].any() for part_IS in replaced.part_IS.values())
        assert torch.equal(replaced.item_IL[4:], vectors.item_IL[4:])


def test_invalid_new_items_are_refused(tiny, tiny_run, tmp_path):
    features = {m: x[:1] for m, x in tiny_features().items()}
    plain = tmp_path / "plain"
    run(config("synthetic-tiny"), plain)
    for call, message in {
        lambda: tiny.item_from_features({}): "give at least one of image, text",
        lambda: tiny.item_from_features({"sound": [1.0]}): "unknown modality 'sound'",
        lambda: tiny.item_from_features({"text": [1.0]}): "1 numbers an item, the run was trained with 8",
        lambda: tiny.item_from_features({"text": ["a"] * 8}): "not numbers",
        lambda: tiny.item_from_features({"text": [[1.0], 2.0]}): "not numbers",
        lambda: tiny.item_from_features({"text": [float("nan")] * 8}): "not finite",
        lambda: tiny.item_from_features({"text": [1e300] * 8}): "not finite",
        lambda: tiny.item_from_features({"text": [1.0] * 8}, "magic"): "magic",
        lambda: tiny.with_items([100], features, quantile=1.5): "quantile = 1.5",
        lambda: tiny.with_items([3], features): "item 3 is already",
        lambda: tiny.with_items(["x"], features): "Int64",
        lambda: tiny.with_items([100, 100], {m: x[:2] for m, x in tiny_features().items()}): "same id",
        lambda: tiny.with_items([100, 101], features): "2 ids and 1 rows",
        lambda: Recommender.open(plain).item_from_features({"text": [1.0] * 8}): "lightgcn without alignment",
    }.items():
        with pytest.raises(CrossrecError, match=message):
            call()


def test_aligned_needs_aligners(text):
    with pytest.raises(ConfigError, match="item-level alignment"):
        ColdStart(text.vectors).item_vectors(text.vectors.modality_IL, "aligned")


def test_own_is_the_vector_of_vbpr_without_the_id(text):
    raw = np.random.default_rng(9).normal(size=(2, 6)).astype(np.float32)
    vectors = text.vectors
    content = vectors.project({"sound": raw})
    vector = ColdStart(vectors).item_vectors(content, "own")
    blank = torch.zeros(2, vectors.item_IL.shape[1])
    expected = torch.cat(
        [blank, torch.from_numpy(vectors.scalers["sound"](raw)) @ vectors.content_encoders["sound"].weights[0].T], 1
    )
    torch.testing.assert_close(vector, expected + vectors.part_IS["bias"][:1], atol=1e-5, rtol=1e-4)
    assert not ColdStart(vectors).item_vectors({"sound": torch.zeros(1, vectors.item_IL.shape[1])}, "own").any()


def test_own_needs_a_backbone_with_a_linear_map(tiny):
    with pytest.raises(ConfigError, match="'own': lightgcn"):
        tiny.item_from_features({"text": np.ones(8)}, "own")
