"""Paired tests and Holm's correction: against scipy, by hand, and without any difference."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import scipy.stats

from crossrec.errors import ConfigError, DataError
from crossrec.evaluation import holm, paired_tests, significance
from crossrec.evaluation.significance import over_seeds
from crossrec.randomness import numpy_generator


def generator(seed=0):
    return numpy_generator(seed, "tests")


def compare(new, base, **options):
    options.setdefault("draws", 2000)
    return paired_tests([{"recall@10": new}], [{"recall@10": base}], generator(), **options)["recall@10"]


def sparse_case(seed, users=400):
    """Recall-like values: most users have the same one under both models."""
    rng = np.random.default_rng(seed)
    base = rng.choice([0.0, 0.0, 0.0, 0.5, 1.0], users)
    new = np.where(rng.random(users) < 0.2, rng.choice([0.0, 0.5, 1.0, 1 / 3], users), base)
    return new, base


@pytest.mark.parametrize("seed", range(3))
def test_t_equals_scipy(seed):
    new, base = sparse_case(seed)
    test = compare(new, base)
    assert test.p_t == pytest.approx(scipy.stats.ttest_rel(new, base).pvalue, rel=1e-9)
    assert (test.new, test.base) == (pytest.approx(new.mean()), pytest.approx(base.mean()))
    assert test.difference == pytest.approx((new - base).mean(), abs=1e-9)
    assert test.users == 400


def test_t_of_two_users_equals_scipy():
    new, base = np.array([0.5, 1.0]), np.array([0.25, 0.5])
    assert compare(new, base).p_t == pytest.approx(scipy.stats.ttest_rel(new, base).pvalue, rel=1e-9)


def test_t_agrees_with_a_permutation_test_over_many_users():
    rng = np.random.default_rng(5)
    base = rng.random(3000)
    new = base + rng.normal(0.002, 0.1, 3000)
    p_t = compare(new, base).p_t
    assert 0.01 < p_t < 0.5
    permutation = scipy.stats.permutation_test(
        (new, base),
        lambda x, y, axis: (x - y).mean(axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=5000,
        batch=500,
        rng=1,
    )
    assert permutation.pvalue == pytest.approx(p_t, abs=6 * np.sqrt(p_t * (1 - p_t) / 5000) + 2 / 5000)


def test_p_is_uniform_under_the_null_hypothesis():
    rng = np.random.default_rng(6)
    p = [compare(rng.random(30), rng.random(30), draws=199).p_t for _ in range(300)]
    assert scipy.stats.kstest(p, "uniform").pvalue > 0.001
    assert 0.02 < np.mean(np.array(p) <= 0.05) < 0.09


@pytest.mark.parametrize("seed", range(3))
def test_the_interval_agrees_with_scipys_bootstrap(seed):
    new, base = sparse_case(seed)
    test = compare(new, base, draws=10_000, confidence=0.9)
    expected = scipy.stats.bootstrap(
        (new - base,), np.mean, method="percentile", confidence_level=0.9, n_resamples=10_000, rng=1
    ).confidence_interval
    spread = np.std(new - base) / np.sqrt(len(new))
    assert test.low == pytest.approx(expected.low, abs=0.08 * spread)
    assert test.high == pytest.approx(expected.high, abs=0.08 * spread)
    assert test.low < test.difference < test.high


def test_small_chunks_give_the_same_interval(monkeypatch):
    new, base = sparse_case(1)
    at_once = compare(new, base, draws=5000)
    monkeypatch.setattr(significance, "MAX_COUNTS", 100)
    in_chunks = compare(new, base, draws=5000)
    assert in_chunks.low == pytest.approx(at_once.low, abs=0.003)
    assert in_chunks.high == pytest.approx(at_once.high, abs=0.003)


def test_a_model_against_itself():
    value, _ = sparse_case(2)
    test = compare(value, value)
    assert dataclasses.asdict(test) == {
        "users": 400,
        "new": value.mean(),
        "base": value.mean(),
        **dict.fromkeys(("difference", "low", "high"), 0.0),
        "p_t": 1.0,
    }


def test_one_user_has_p_one():
    test = compare([1.0], [0.25])
    assert test.p_t == 1.0
    assert (test.difference, test.low, test.high, test.users) == (0.75, 0.75, 0.75, 1)


def test_equal_differences_of_all_users():
    test = compare([0.5] * 30, [0.25] * 30)
    assert test.p_t == 0.0
    assert (test.low, test.high) == (0.25, 0.25)


def test_swapping_the_models_only_changes_the_sign():
    new, base = sparse_case(3)
    one, other = compare(new, base), compare(base, new)
    assert (one.difference, one.low, one.high) == pytest.approx((-other.difference, -other.high, -other.low))
    assert one.p_t == other.p_t


def test_seeds_are_averaged_and_count_users_once():
    new, base = sparse_case(4, users=60)
    once, thrice = ([{"map@10": new}], [{"map@10": base}]), ([{"map@10": new}] * 3, [{"map@10": base}] * 2)
    first, second = (paired_tests(*runs, generator(), draws=500)["map@10"] for runs in (once, thrice))
    assert dataclasses.astuple(first) == pytest.approx(dataclasses.astuple(second))
    seeds = [{"a": [0.0, 1.0], "b": [1.0, 1.0]}, {"a": [0.5, np.nan]}]
    assert set(over_seeds(seeds)) == {"a"}
    assert over_seeds(seeds)["a"][0] == 0.25
    assert np.isnan(over_seeds(seeds)["a"][1])


def test_rounding_of_the_average_over_seeds_is_no_difference():
    """(.1 + .2) + .3 is not .1 + (.2 + .3) in floating point."""
    parts = [np.full(50, part) for part in (0.1, 0.2, 0.3)]
    new, base = ([{"recall@10": part} for part in order] for order in (parts, parts[::-1]))
    assert (over_seeds(new)["recall@10"] != over_seeds(base)["recall@10"]).any()
    test = paired_tests(new, base, generator(), draws=100)["recall@10"]
    assert (test.difference, test.p_t) == (0.0, 1.0)


def test_users_without_a_value_are_left_out():
    new, base = sparse_case(0, users=50)
    wide = [np.concatenate([values, [np.nan, 0.5]]) for values in (new, base)]
    wide[1][-1] = np.nan
    assert compare(*wide) == compare(new, base)


def test_metrics_share_users_and_samples():
    new, base = sparse_case(1)
    runs = [{"recall@10": new, "ndcg@10": new, "extra": new}], [{"recall@10": base, "ndcg@10": base}]
    test = paired_tests(*runs, generator(), draws=500)
    assert list(test) == ["recall@10", "ndcg@10"]
    assert test["recall@10"] == test["ndcg@10"]
    assert list(paired_tests(*runs, generator(), draws=10, metrics=["ndcg@10"])) == ["ndcg@10"]


def test_equal_generators_give_equal_numbers():
    new, base = sparse_case(1)
    runs = [{"recall@10": new}], [{"recall@10": base}]
    first, second, other = (paired_tests(*runs, generator(seed), draws=500)["recall@10"] for seed in (0, 0, 1))
    assert first == second
    assert (first.low, first.high) != (other.low, other.high)
    assert first.p_t == other.p_t


@pytest.mark.parametrize(
    ("new", "base", "options", "error", "message"),
    [
        ([], [{"a": [1.0]}], {}, DataError, "no run to average"),
        ([{"a": [1.0]}], [{"a": [1.0, 2.0]}], {}, DataError, "1 users of one model, 2 of the other"),
        ([{"a": [1.0]}, {"a": [1.0, 2.0]}], [{"a": [1.0]}], {}, DataError, r"shapes \(1,\), \(2,\): .* same users"),
        ([{"a": [np.nan]}], [{"a": [1.0]}], {}, DataError, "nothing to test"),
        ([{"a": []}], [{"a": []}], {}, DataError, "nothing to test"),
        ([{"a": [1.0]}], [{"a": [1.0]}], {"metrics": ["b"]}, ConfigError, "metrics b: both models have a"),
        ([{"a": [1.0]}], [{"b": [1.0]}], {}, ConfigError, "both models have none"),
        ([{"a": [1.0]}], [{"a": [1.0]}], {"draws": 0}, ConfigError, "draws = 0"),
        ([{"a": [1.0]}], [{"a": [1.0]}], {"confidence": 1.0}, ConfigError, "confidence = 1.0"),
    ],
)
def test_wrong_arguments_are_refused(new, base, options, error, message):
    with pytest.raises(error, match=message):
        paired_tests(new, base, generator(), **options)


def test_holm_by_hand():
    """Sorted .005 .01 .03 .04 times 4, 3, 2, 1: .02 .03 .06 .04, and none below the one before it."""
    assert holm([0.01, 0.04, 0.03, 0.005]).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.7, 0.6]).tolist() == [1.0, 1.0]
    assert holm([0.03]).tolist() == [0.03]
    assert holm([]).tolist() == []


def test_holm_equals_the_stepwise_rule():
    """Holm's procedure as published: go up the sorted p while p_(i) ≤ α / (m - i + 1), then stop."""
    rng = np.random.default_rng(0)
    for _ in range(50):
        p = rng.random(12) ** 4
        p[3] = p[7]
        rejected = np.zeros(12, dtype=bool)
        for step, index in enumerate(np.argsort(p)):
            if p[index] > 0.05 / (12 - step):
                break
            rejected[index] = True
        assert np.array_equal(holm(p) <= 0.05, rejected)


def test_wrong_p_values_are_refused():
    for wrong in ([0.5, np.nan], [1.1], [-0.1], [[0.5]]):
        with pytest.raises(DataError, match="between 0 and 1"):
            holm(wrong)
