"""Items taken out of a data set: nothing of them is left in what training and validation see."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from crossrec.data import DataConfig, load, validate
from crossrec.data.io.features import Scaler
from crossrec.errors import ConfigError, DataError
from crossrec.runs.config import RunConfig
from crossrec.runs.execute import training_set

COLD = DataConfig(data="synthetic-tiny", cold_items=0.25, cold_seed=3)


def taken(user_ids, item_ids, part):
    """(user, item) of every interaction, by original ids."""
    return list(zip(user_ids.gather(part.user_N).to_list(), item_ids.gather(part.item_N).to_list(), strict=True))


def test_every_interaction_and_feature_is_here_or_there():
    whole, rest = load(DataConfig(data="synthetic-tiny")), load(COLD)
    cold = rest.cold
    assert len(cold.item_ids) == round(0.25 * 40)
    assert rest.num_items == len(rest.item_ids) == 40 - len(cold.item_ids)
    assert set(rest.item_ids) | set(cold.item_ids) == set(whole.item_ids)
    assert not set(rest.item_ids) & set(cold.item_ids)
    gone = set(cold.item_ids)
    for split in ("train", "valid", "test"):
        before = taken(whole.user_ids, whole.item_ids, getattr(whole, split))
        after = taken(rest.user_ids, rest.item_ids, getattr(rest, split))
        assert after == [pair for pair in before if pair[1] not in gone]
    every = [p for s in ("train", "valid", "test") for p in taken(whole.user_ids, whole.item_ids, getattr(whole, s))]
    assert sorted(taken(rest.user_ids, cold.item_ids, cold.interactions)) == sorted(p for p in every if p[1] in gone)
    assert whole.cold is None


def test_features_are_scaled_by_the_items_that_are_left():
    from crossrec.data.synthetic import RECIPES, generate

    rest = load(COLD)
    for modality, raw in generate(RECIPES["synthetic-tiny"]).features.items():
        left = raw[rest.item_ids.to_numpy()]
        np.testing.assert_array_equal(rest.features[modality], Scaler.fit(left, "standardize_l2")(left))
        np.testing.assert_array_equal(rest.cold.features[modality], raw[rest.cold.item_ids.to_numpy()])


def folder(path, pairs, features):
    path.mkdir()
    splits = ["train", "train", "valid", "test"]
    rows = [(user, item, splits[place % 4]) for place, (user, item) in enumerate(pairs)]
    pl.DataFrame(rows, schema=["user", "item", "split"], orient="row").write_csv(path / "interactions.csv")
    pl.DataFrame({"item": np.arange(len(features))}).write_csv(path / "items.csv")
    np.save(path / "text_feat.npy", features)
    return str(path)


def test_whatever_they_look_like_and_whoever_takes_them_training_sees_the_same(tmp_path):
    draw = np.random.default_rng(0)
    pairs = [(int(user), int(item)) for user in range(20) for item in draw.permutation(12)[:8]]
    features = draw.normal(size=(12, 5))
    one = load(DataConfig(data=folder(tmp_path / "one", pairs, features), cold_items=0.3))
    gone = one.cold.item_ids.to_list()
    assert len(gone) == 4
    strange = features.copy()
    strange[gone] = 1e3 * draw.normal(size=(4, 5))
    turned = dict(zip(gone, [*gone[1:], gone[0]], strict=True))
    other_pairs = [(user, turned.get(item, item)) for user, item in pairs]
    two = load(DataConfig(data=folder(tmp_path / "two", other_pairs, strange), cold_items=0.3))
    assert two.cold.item_ids.to_list() == gone
    assert two.fingerprint() == one.fingerprint()
    seen = training_set(one), training_set(two)
    assert seen[0].num_items == seen[1].num_items == 8
    assert bool((seen[0].features["text"] == seen[1].features["text"]).all())
    assert taken(one.user_ids, one.cold.item_ids, one.cold.interactions) != taken(
        two.user_ids, two.cold.item_ids, two.cold.interactions
    )


def test_a_smaller_share_is_within_a_larger_one_and_the_seed_decides():
    def drawn(share, seed):
        return set(load(DataConfig(data="synthetic-tiny", cold_items=share, cold_seed=seed)).cold.item_ids)

    assert drawn(0.1, 0) < drawn(0.4, 0)
    assert drawn(0.1, 0) != drawn(0.1, 1)
    assert drawn(0.1, 0) == set(load(DataConfig(data="synthetic-tiny", cold_items=0.1)).cold.item_ids)


def test_with_noise_as_any_data_set():
    both = load(DataConfig(data="synthetic-tiny", cold_items=0.2, false_clicks=0.5, missing_content=0.5))
    plain = load(DataConfig(data="synthetic-tiny", cold_items=0.2))
    assert len(both.train) == len(plain.train) + round(0.5 * len(plain.train))
    assert both.train.item_N.max() < both.num_items == plain.num_items
    assert validate(DataConfig(data="synthetic-tiny", cold_items=0.2)) == []


def test_nothing_unless_asked_for():
    plain = DataConfig(data="synthetic-tiny")
    assert DataConfig(data="synthetic-tiny", cold_items=0.0) == plain
    assert not {"cold_items", "cold_seed"} & plain.model_dump(exclude_none=True).keys()
    digests = {
        RunConfig(data=config).digest() for config in (plain, COLD, DataConfig(data="synthetic-tiny", cold_items=0.2))
    }
    assert len(digests) == 3


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"cold_items": 0.001}, "of 40 items with training rows a share of 0.001: no item would be cold"),
        ({"cold_items": 1.0}, "no item would be left to learn from"),
        ({"cold_items": 0.2, "modalities": ()}, "the data set has no features"),
    ],
)
def test_what_cannot_be_had(config, told):
    with pytest.raises(DataError, match=told):
        load(DataConfig(data="synthetic-tiny", **config))


def test_shares_are_within_0_and_1():
    with pytest.raises(ConfigError, match="cold_items"):
        DataConfig.parse({"data": "synthetic-tiny", "cold_items": 1.5})
