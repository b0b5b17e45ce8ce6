"""Held-out items leave no trace in the data for training and validation."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from crossrec.data import DataConfig, Interactions, load, validate
from crossrec.data.holdout_items import hold_out_items
from crossrec.data.io.features import Scaler
from crossrec.data.io.parse_log import TRAIN
from crossrec.errors import ConfigError, DataError
from crossrec.runs.config import RunConfig
from crossrec.runs.execute import training_set

COLD = DataConfig(data="synthetic-tiny", cold_items=0.25, cold_seed=3)


def named_pairs(user_ids, item_ids, part):
    """(user, item) of every interaction, as original ids."""
    return list(zip(user_ids.gather(part.user_N).to_list(), item_ids.gather(part.item_N).to_list(), strict=True))


def test_every_interaction_is_either_held_out_or_remains():
    full, rest = load(DataConfig(data="synthetic-tiny")), load(COLD)
    cold = rest.cold
    assert len(cold.item_ids) == round(0.25 * 40)
    assert rest.num_items == len(rest.item_ids) == 40 - len(cold.item_ids)
    assert set(rest.item_ids) | set(cold.item_ids) == set(full.item_ids)
    assert not set(rest.item_ids) & set(cold.item_ids)
    held_out = set(cold.item_ids)
    for split in ("train", "valid", "test"):
        before = named_pairs(full.user_ids, full.item_ids, getattr(full, split))
        after = named_pairs(rest.user_ids, rest.item_ids, getattr(rest, split))
        assert after == [pair for pair in before if pair[1] not in held_out]
    every = [p for s in ("train", "valid", "test") for p in named_pairs(full.user_ids, full.item_ids, getattr(full, s))]
    assert sorted(named_pairs(rest.user_ids, cold.item_ids, cold.interactions)) == sorted(
        p for p in every if p[1] in held_out
    )
    assert full.cold is None


def test_features_are_scaled_by_the_remaining_items():
    from crossrec.data.synthetic import RECIPES, generate

    rest = load(COLD)
    for modality, matrix in generate(RECIPES["synthetic-tiny"]).features.items():
        left = matrix[rest.item_ids.to_numpy()]
        np.testing.assert_array_equal(rest.features[modality], Scaler.fit(left, "standardize_l2")(left))
        np.testing.assert_array_equal(rest.cold.features[modality], matrix[rest.cold.item_ids.to_numpy()])


def folder(path, pairs, features):
    path.mkdir()
    splits = ["train", "train", "valid", "test"]
    rows = [(user, item, splits[row % 4]) for row, (user, item) in enumerate(pairs)]
    pl.DataFrame(rows, schema=["user", "item", "split"], orient="row").write_csv(path / "interactions.csv")
    pl.DataFrame({"item": np.arange(len(features))}).write_csv(path / "items.csv")
    np.save(path / "text_feat.npy", features)
    return str(path)


def test_training_data_do_not_depend_on_held_out_items(tmp_path):
    draw = np.random.default_rng(0)
    pairs = [(int(user), int(item)) for user in range(20) for item in draw.permutation(12)[:8]]
    features = draw.normal(size=(12, 5))
    one = load(DataConfig(data=folder(tmp_path / "one", pairs, features), cold_items=0.3))
    held_out = one.cold.item_ids.to_list()
    assert len(held_out) == 4
    strange = features.copy()
    strange[held_out] = 1e3 * draw.normal(size=(4, 5))
    turned = dict(zip(held_out, [*held_out[1:], held_out[0]], strict=True))
    other_pairs = [(user, turned.get(item, item)) for user, item in pairs]
    two = load(DataConfig(data=folder(tmp_path / "two", other_pairs, strange), cold_items=0.3))
    assert two.cold.item_ids.to_list() == held_out
    assert two.fingerprint() == one.fingerprint()
    sets = training_set(one), training_set(two)
    assert sets[0].num_items == sets[1].num_items == 8
    assert bool((sets[0].features["text"] == sets[1].features["text"]).all())
    assert named_pairs(one.user_ids, one.cold.item_ids, one.cold.interactions) != named_pairs(
        two.user_ids, two.cold.item_ids, two.cold.interactions
    )


def test_only_items_with_training_rows_are_drawn():
    """Items 8 and 9 have no interaction, 6 and 7 none in training: of the other six half are drawn, all alike."""
    train = Interactions(np.repeat(np.arange(4), 6), np.tile(np.arange(6), 4))
    splits = {TRAIN: train, TRAIN + 1: Interactions(np.arange(2), np.array([6, 7]))}
    features, drawn = {"text": np.arange(20.0).reshape(10, 2)}, np.zeros(10, dtype=int)
    for seed in range(60):
        _, rest, _, cold = hold_out_items(pl.Series(np.arange(10)), splits, features, 0.5, seed)
        drawn[cold.item_ids.to_numpy()] += 1
        assert len(cold.item_ids) == 3
        assert len(rest[TRAIN]) == len(train) - 3 * 4
    assert drawn[6:].tolist() == [0, 0, 0, 0]
    # a share of one half of 60 draws: five standard errors
    assert (abs(drawn[:6] - 30) < 5 * (60 / 4) ** 0.5).all()


def test_smaller_shares_are_subsets_and_seeds_differ():
    def drawn(share, seed):
        return set(load(DataConfig(data="synthetic-tiny", cold_items=share, cold_seed=seed)).cold.item_ids)

    assert drawn(0.1, 0) < drawn(0.4, 0)
    assert drawn(0.1, 0) != drawn(0.1, 1)
    assert drawn(0.1, 0) == set(load(DataConfig(data="synthetic-tiny", cold_items=0.1)).cold.item_ids)


def test_held_out_items_combine_with_noise():
    both = load(DataConfig(data="synthetic-tiny", cold_items=0.2, false_clicks=0.5, missing_content=0.5))
    plain = load(DataConfig(data="synthetic-tiny", cold_items=0.2))
    assert len(both.train) == len(plain.train) + round(0.5 * len(plain.train))
    assert both.train.item_N.max() < both.num_items == plain.num_items
    assert validate(DataConfig(data="synthetic-tiny", cold_items=0.2)) == []


def test_a_share_of_zero_is_the_default_configuration():
    plain = DataConfig(data="synthetic-tiny")
    assert DataConfig(data="synthetic-tiny", cold_items=0.0) == plain
    assert not {"cold_items", "cold_seed"} & plain.model_dump(exclude_none=True).keys()
    digests = {
        RunConfig(data=config).digest() for config in (plain, COLD, DataConfig(data="synthetic-tiny", cold_items=0.2))
    }
    assert len(digests) == 3


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"cold_items": 0.001}, "of 40 items with training rows a share of 0.001: no item would be cold"),
        ({"cold_items": 1.0}, "no item would be left to learn from"),
        ({"cold_items": 0.2, "modalities": ()}, "the data set has no features"),
    ],
)
def test_impossible_shares(config, message):
    with pytest.raises(DataError, match=message):
        load(DataConfig(data="synthetic-tiny", **config))


def test_shares_are_within_0_and_1():
    with pytest.raises(ConfigError, match="cold_items"):
        DataConfig.parse({"data": "synthetic-tiny", "cold_items": 1.5})
