"""Noise on purpose: exact shares, nothing touched that is not asked for, a smaller share within a larger one."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from crossrec.data import DataConfig, Interactions, describe, load, validate
from crossrec.data.corrupt import add_false_clicks, replace_features
from crossrec.errors import ConfigError, DataError
from crossrec.runs.config import RunConfig

SHARES = (0.2, 0.4, 0.6, 0.8)


@pytest.fixture(scope="module")
def features():
    draw = np.random.default_rng(5)
    image = (3.0 + draw.normal(size=(500, 6)) * [0.1, 1, 10, 1, 1, 0]).astype(np.float16)
    image[::50] = 0  # ten items have none
    return {"image": image, "text": draw.normal(size=(500, 4)), "count": draw.integers(1, 9, size=(500, 2))}


def changed(before, after):
    return set(np.flatnonzero((before != after).any(axis=1)).tolist())


def test_the_share_counts_items_with_the_feature(features):
    noisy = replace_features(features, 0.3, 0)
    assert {name: len(changed(features[name], noisy[name])) for name in features} == {
        **{"image": round(0.3 * 490), "text": 150, "count": 150}
    }
    assert not noisy["image"][::50].any(), "an item without the feature stays without"
    assert (replace_features(features, 0.0, 0)["text"] == features["text"]).all()
    assert len(changed(features["text"], replace_features(features, 1.0, 0)["text"])) == 500


def test_noise_looks_like_the_columns(features):
    image = features["image"].astype(float)
    had = image.any(axis=1)
    noise = replace_features(features, 1.0, 0)["image"][had]
    assert noise.mean(axis=0) == pytest.approx(image[had].mean(axis=0), abs=4 * 10 / np.sqrt(490))
    assert noise.std(axis=0)[:5] == pytest.approx(image[had].std(axis=0)[:5], rel=0.15)
    assert noise[:, 5] == pytest.approx(3.0, abs=1e-3), "a constant column has nothing to vary with"
    assert abs(np.corrcoef(noise[:, 2], image[had][:, 2])[0, 1]) < 0.15, "and says nothing about the item"


def test_a_smaller_share_is_within_a_larger_one_with_the_same_noise(features):
    by_share = [replace_features(features, share, 7) for share in SHARES]
    for name, matrix in features.items():
        for small, large in itertools.pairwise(by_share):
            few = changed(matrix, small[name])
            assert few < changed(matrix, large[name])
            rows = sorted(few)
            assert (small[name][rows] == large[name][rows]).all()


def test_modalities_lose_items_independently(features):
    noisy = replace_features(features, 0.5, 1)
    lost = {name: changed(features[name], noisy[name]) for name in features}
    both = len(lost["text"] & lost["count"])
    assert both == pytest.approx(125, abs=4 * np.sqrt(500 * 0.25 * 0.25)), "as chance has it: a quarter loses both"
    alone = replace_features({"text": features["text"]}, 0.5, 1)
    assert (alone["text"] == noisy["text"]).all(), "whatever other modalities there are"


def test_seeds_differ(features):
    one, again, other = (replace_features(features, 0.4, seed)["text"] for seed in (3, 3, 4))
    assert (one == again).all()
    assert changed(features["text"], one) != changed(features["text"], other)


def pairs(part):
    return list(zip(part.user_N.tolist(), part.item_N.tolist(), strict=True))


@pytest.mark.parametrize("share", [0.05, 0.2, 1.0])
def test_false_clicks_are_new_pairs_of_existing_users(share):
    clean, noisy = (load(DataConfig(false_clicks=s)) for s in (None, share))
    count = len(clean.train)
    assert len(noisy.train) == count + round(share * count)
    assert pairs(noisy.train)[:count] == pairs(clean.train), "the true ones stay, in their order"
    assert len(set(pairs(noisy.train))) == len(noisy.train), "none is there twice"
    assert not set(pairs(noisy.train)) & {*pairs(clean.valid), *pairs(clean.test)}, "none is held out"
    for split in ("valid", "test"):
        assert pairs(getattr(noisy, split)) == pairs(getattr(clean, split))
    assert (noisy.num_users, noisy.num_items) == (clean.num_users, clean.num_items)
    assert set(noisy.train.user_N) == set(clean.train.user_N), "nobody who never clicked clicks falsely"
    assert all((noisy.features[m] == clean.features[m]).all() for m in clean.features)


def test_false_clicks_prefer_active_users_and_no_item():
    clean, noisy = load(DataConfig()), load(DataConfig(false_clicks=1.0))
    count = len(clean.train)
    true_U, false_U = np.bincount(clean.train.user_N), np.bincount(noisy.train.user_N[count:])
    assert np.corrcoef(true_U, false_U)[0, 1] > 0.8
    false_I = np.bincount(noisy.train.item_N[count:], minlength=clean.num_items)
    assert false_I.std() == pytest.approx(np.sqrt(count / clean.num_items), rel=0.15), "uniform: Poisson by item"


def test_false_clicks_of_a_smaller_share_are_a_prefix():
    some = [pairs(load(DataConfig(data="synthetic-tiny", false_clicks=s)).train) for s in (0.1, 0.3, 0.6)]
    for few, many in itertools.pairwise(some):
        assert many[: len(few)] == few
    other = load(DataConfig(data="synthetic-tiny", false_clicks=0.1, corruption_seed=1))
    assert pairs(other.train) != some[0]


@settings(max_examples=40, deadline=None)
@given(
    existing=st.sets(st.tuples(st.integers(0, 4), st.integers(0, 6)), min_size=1),
    held=st.sets(st.tuples(st.integers(0, 4), st.integers(0, 6))),
    share=st.sampled_from([0.1, 0.5, 1.0]),
)
def test_false_clicks_at_any_density(existing, held, share):
    """The full number or an error; never an existing pair, a repeated pair or one out of range."""
    as_part = [
        Interactions(*np.array(sorted(part), dtype=np.int64).reshape(-1, 2).T) for part in (existing, held - existing)
    ]
    try:
        noisy = add_false_clicks(as_part[0], as_part[1:], 7, share, 0)
    except DataError:
        free = min(7 - sum(user == u for user, _ in existing | held) for u in {user for user, _ in existing})
        assert free < len(existing), "where every user has items to spare, there are enough"
        return
    new = pairs(noisy)[len(existing) :]
    assert len(new) == round(share * len(existing)) == len(set(new) - existing - held)
    assert {user for user, _ in new} <= {user for user, _ in existing}
    assert all(0 <= item < 7 for _, item in new)


def test_false_clicks_are_uniform_over_free_items():
    train = Interactions(np.zeros(3, dtype=np.int64), np.array([0, 2, 5]))
    held = [Interactions(np.zeros(1, dtype=np.int64), np.array([4]))]
    first = [int(add_false_clicks(train, held, 8, 0.34, seed).item_N[-1]) for seed in range(400)]
    counts = {item: first.count(item) for item in sorted(set(first))}
    assert set(counts) == {1, 3, 6, 7}
    assert all(count == pytest.approx(100, abs=4 * np.sqrt(400 * 0.25 * 0.75)) for count in counts.values())


def test_shares_of_zero_are_the_default_configuration():
    assert RunConfig(data={"missing_content": 0, "false_clicks": 0.0}).digest() == RunConfig().digest()
    assert RunConfig(data={"false_clicks": 0.1}).digest() != RunConfig().digest()
    named = {"missing_content", "false_clicks", "corruption_seed"}
    assert not named & set(RunConfig().model_dump(exclude_none=True)["data"]), "None stays out of what names a run"


def test_both_corruptions_together():
    config = DataConfig(data="synthetic-tiny", missing_content=0.5, false_clicks=0.2)
    assert validate(config) == []
    clean, noisy = describe(DataConfig(data="synthetic-tiny")), describe(config)
    assert noisy.train == clean.train + round(0.2 * clean.train)
    assert (noisy.valid, noisy.test, noisy.users, noisy.items) == (clean.valid, clean.test, clean.users, clean.items)
    dataset = load(config)
    for matrix in dataset.features.values():
        assert np.linalg.norm(matrix, axis=1) == pytest.approx(1, abs=1e-5), "noise is scaled as features are"
    assert dataset.fingerprint() == load(config).fingerprint()
    assert dataset.fingerprint() != load(config.model_copy(update={"corruption_seed": 1})).fingerprint()


def test_corruption_of_a_folder(tmp_path):
    rows = [f"{user},{item}" for user in range(6) for item in range(user, user + 5)]
    (tmp_path / "log.csv").write_text("\n".join(["user,item", *rows]) + "\n")
    config = DataConfig(data=str(tmp_path / "log.csv"), false_clicks=0.5)
    assert len(load(config).train) == 18 + 9
    assert [f.kind for f in validate(config)] == []


@pytest.mark.parametrize("field", ["missing_content", "false_clicks"])
@pytest.mark.parametrize("share", [-0.1, 1.5, float("nan")])
def test_shares_are_within_0_and_1(field, share):
    with pytest.raises(ConfigError, match=field):
        DataConfig.parse({field: share})


def test_impossible_shares(tmp_path):
    bare = DataConfig(data="synthetic-tiny", modalities=(), missing_content=0.2)
    (finding,) = validate(bare)
    assert (finding.kind, finding.message) == (
        "error",
        "missing_content 0.2: the data set has no features to replace; leave it out",
    )
    (tmp_path / "log.csv").write_text("user,item,split\na,x,train\na,y,train\nb,x,train\na,z,test\nb,y,test\n")
    full = DataConfig(data=str(tmp_path / "log.csv"), false_clicks=1.0)
    with pytest.raises(DataError, match="false_clicks 1: users run out of items"):
        load(full)
