"""Users and items that training has not seen, against the formulas and against what a backbone itself would make."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from crossrec.data import DataConfig, load
from crossrec.errors import ConfigError, CrossrecError
from crossrec.recommend import Recommender
from crossrec.recommend.cold_start import Newcomers, Ridge
from crossrec.recommend.measure import fold_in_metrics
from crossrec.runs.execute import held_out, run

from .conftest import config


def test_fold_in_is_the_formula(tiny):
    vectors, taken = tiny.vectors, [3, 8, 21]
    item = vectors.item_IS[taken]
    torch.testing.assert_close(tiny.history_vector(taken, "mean"), item.mean(0))
    weight = 1 / (vectors.degree_I[taken].float() * 3).sqrt()
    torch.testing.assert_close(tiny.history_vector(taken, "propagation"), (weight[:, None] * item).sum(0))
    assert torch.equal(tiny.history_vector([21, 3, 8, 3], "mean"), tiny.history_vector(taken, "mean"))


def test_a_history_is_recommended_to_like_a_user_of_that_vector(tiny):
    lists = tiny.for_history([3, 8, 21], 5, how="mean")
    score = (tiny.vectors.item_IS @ tiny.history_vector([3, 8, 21], "mean")).tolist()
    order = sorted((i for i in range(40) if i not in (3, 8, 21)), key=lambda i: -score[i])[:5]
    assert lists.columns == ["rank", "item", "score"]
    assert lists["item"].to_list() == order
    assert tiny.for_history([3], 40, exclude_seen=False).height == 40
    assert tiny.for_history([3], 40, deny=[5]).height == 38


def test_folding_in_the_training_items_of_the_run_comes_close_to_the_trained_users(tiny, tiny_run):
    dataset = load(DataConfig(data="synthetic-tiny"))
    held = held_out(dataset, dataset.test)
    trained = fold_in_metrics(tiny, held, None)["recall@20"]
    assert {fold_in_metrics(tiny, held, how)["recall@20"] > 0.6 * trained for how in ("mean", "ridge")} == {True}


def test_ridge_finds_a_linear_map_and_says_the_mean_of_noise():
    draw = torch.Generator().manual_seed(0)
    x, weight = torch.randn(200, 5, generator=draw), torch.randn(5, 3, generator=draw)
    torch.testing.assert_close(Ridge(x, x @ weight + 2)(x), x @ weight + 2, atol=1e-2, rtol=1e-2)
    noise = torch.randn(200, 3, generator=draw)
    fitted = Ridge(x, noise)
    assert fitted(x).var() < 0.05
    # leave-one-out: the penalty chosen is the best of a slow loop
    errors = {}
    for penalty in (1e-4, 1.0, 1e4):
        scale = float(torch.linalg.eigvalsh((x - x.mean(0)).double().T @ (x - x.mean(0)).double()).mean())
        total = 0.0
        for left in range(0, 200, 10):
            keep = torch.arange(200) != left
            a, b = (t[keep].double() for t in (x, noise))
            a0, b0 = a.mean(0), b.mean(0)
            w = torch.linalg.solve((a - a0).T @ (a - a0) + penalty * scale * torch.eye(5), (a - a0).T @ (b - b0))
            total += float(((x[left].double() - a0) @ w + b0 - noise[left]).square().sum())
        errors[penalty] = total
    assert min(errors, key=errors.__getitem__) >= 1.0
    assert fitted.penalty >= 0.1


@pytest.mark.parametrize("how", ["ridge", "aligned", "neighbors", "blend"])
def test_new_items_are_recommended_and_neighbours(tiny, how):
    raw = tiny_features()
    made = tiny.with_items([100, 101], {m: x[:2] for m, x in raw.items()}, how)
    assert made.items.ids.to_list() == [*range(40), 100, 101]
    lists = made.recommend([1], 42, exclude_seen=False)
    assert {100, 101} <= set(lists["item"])
    vector = tiny.item_from_features({m: x[0] for m, x in raw.items()}, how)
    score = float(vector @ tiny.vectors.user_US[1])
    assert dict(zip(lists["item"], lists["score"], strict=True))[100] == pytest.approx(score, abs=1e-6)
    near, weight = alike(tiny, 0)
    length = tiny.vectors.item_IS[near].norm(dim=1)
    assert float(vector.norm()) == pytest.approx(float((weight * length).sum() / weight.sum()))
    # the same features as item 0: its nearest by content is item 0
    assert made.similar([100], 1, by="image")["similar"].to_list() == [0]
    assert made.similar([100], 3).height == 3
    assert tiny.recommend([1], 42, exclude_seen=False).height == 40
    assert made.explain(1, 100)["score"] == pytest.approx(score, abs=1e-6)


def tiny_features():
    from crossrec.data.synthetic import RECIPES, generate

    return {m: x.astype(np.float64) for m, x in generate(RECIPES["synthetic-tiny"]).features.items()}


def test_neighbors_are_the_mean_of_directions_and_blend_adds_a_ridge(tiny):
    near, weight = alike(tiny, 3)
    unit = torch.nn.functional.normalize(tiny.vectors.item_IS[near], dim=1)
    made = {how: tiny.item_from_features({m: x[3] for m, x in tiny_features().items()}, how) for how in WAYS}
    made = {how: vector / vector.norm() for how, vector in made.items()}
    mean = (weight[:, None] * unit).sum(0)
    torch.testing.assert_close(made["neighbors"], mean / mean.norm())
    both = made["neighbors"] + made["ridge"]
    torch.testing.assert_close(made["blend"], both / both.norm())


WAYS = ("neighbors", "ridge", "blend")


def alike(tiny, item):
    """The 20 touched items most similar to one in content, and their mean cosines."""
    tables = [torch.nn.functional.normalize(x, dim=1) for x in tiny.vectors.modality_IL.values()]
    cosine = torch.stack([x @ x[item] for x in tables]).mean(0)
    near = sorted((i for i in range(40) if tiny.vectors.degree_I[i] > 0), key=lambda i: -float(cosine[i]))[:20]
    return near, cosine[near].clamp_min(1e-6)


def test_the_quantile_makes_new_items_longer(tiny):
    lengths = tiny.vectors.item_IS[tiny.vectors.degree_I > 0].norm(dim=1)
    usual = tiny.item_from_features({"text": np.ones(8)})
    for quantile in (0.0, 0.9, 1.0):
        vector = tiny.item_from_features({"text": np.ones(8)}, quantile=quantile)
        ratio = lengths.quantile(quantile) / lengths.quantile(0.5)
        torch.testing.assert_close(vector, ratio * usual)


def test_raw_features_go_the_way_of_the_features_of_the_run(tiny):
    for modality, raw in tiny_features().items():
        made = tiny.vectors.features({modality: raw})[modality]
        torch.testing.assert_close(made, tiny.vectors.modality_IL[modality])


def test_aligned_is_equation_3(tiny):
    raw = {"image": tiny_features()["image"][7]}
    x = torch.nn.functional.normalize(tiny.vectors.modality_IL["image"][7], dim=0)
    aligner = tiny.vectors.aligners["image", "id"]
    expected = torch.nn.functional.normalize(x + aligner.weight @ x, dim=0)
    made = tiny.item_from_features(raw, "aligned")
    torch.testing.assert_close(made / made.norm(), expected)


def test_a_missing_modality_and_no_content_at_all(tiny):
    only = tiny.item_from_features({"text": tiny_features()["text"][3]})
    assert bool(only.isfinite().all())
    assert float(only.norm()) > 0
    assert not tiny.item_from_features({"text": np.zeros(8)}).any()


def test_untouched_items_get_vectors_from_content(text):
    row = text.items.rows(["tea, 10"])[0]
    made = text.with_untouched("ridge")
    assert not torch.equal(made.vectors.item_IS[row], text.vectors.item_IS[row])
    assert torch.equal(made.vectors.item_IS[:10], text.vectors.item_IS[:10])
    assert made.similar(["tea, 10"], 3).height == 3
    assert made.with_untouched("ridge").vectors.item_IS.equal(made.vectors.item_IS)


def test_mistakes_about_new_items(tiny, tiny_run, tmp_path):
    good = {m: x[:1] for m, x in tiny_features().items()}
    plain = tmp_path / "plain"
    run(config("synthetic-tiny"), plain)
    for call, told in {
        lambda: tiny.item_from_features({}): "give at least one of image, text",
        lambda: tiny.item_from_features({"sound": [1.0]}): "unknown modality 'sound'",
        lambda: tiny.item_from_features({"text": [1.0]}): "1 numbers an item, the run was trained with 8",
        lambda: tiny.item_from_features({"text": ["a"] * 8}): "not numbers",
        lambda: tiny.item_from_features({"text": [[1.0], 2.0]}): "not numbers",
        lambda: tiny.item_from_features({"text": [float("nan")] * 8}): "not finite",
        lambda: tiny.item_from_features({"text": [1e300] * 8}): "not finite",
        lambda: tiny.item_from_features({"text": [1.0] * 8}, "magic"): "magic",
        lambda: tiny.with_items([100], good, quantile=1.5): "quantile = 1.5",
        lambda: tiny.with_items([3], good): "item 3 is already",
        lambda: tiny.with_items(["x"], good): "Int64",
        lambda: tiny.with_items([100, 100], {m: x[:2] for m, x in tiny_features().items()}): "same id",
        lambda: tiny.with_items([100, 101], good): "2 ids and 1 rows",
        lambda: Recommender.open(plain).item_from_features({"text": [1.0] * 8}): "lightgcn without alignment",
    }.items():
        with pytest.raises(CrossrecError, match=told):
            call()


def test_aligned_needs_aligners(text):
    with pytest.raises(ConfigError, match="item-level alignment"):
        Newcomers(text.vectors).vectors(text.vectors.modality_IL, "aligned")


def test_own_is_what_vbpr_gives_an_item_without_an_id(text):
    raw = np.random.default_rng(9).normal(size=(2, 6)).astype(np.float32)
    vectors = text.vectors
    content = vectors.features({"sound": raw})
    made = Newcomers(vectors).vectors(content, "own")
    blank = torch.zeros(2, vectors.item_IL.shape[1])
    expected = torch.cat(
        [blank, torch.from_numpy(vectors.scalers["sound"](raw)) @ vectors.content_encoders["sound"].weights[0].T], 1
    )
    torch.testing.assert_close(made, expected + vectors.part_IS["bias"][:1], atol=1e-5, rtol=1e-4)
    assert not Newcomers(vectors).vectors({"sound": torch.zeros(1, vectors.item_IL.shape[1])}, "own").any()


def test_own_needs_a_backbone_that_has_it(tiny):
    with pytest.raises(ConfigError, match="'own': lightgcn"):
        tiny.item_from_features({"text": np.ones(8)}, "own")
