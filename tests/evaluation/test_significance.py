"""Paired tests: against scipy, against enumeration, by hand, and where there is nothing to find."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
import scipy.stats

from crossrec.errors import ConfigError, DataError
from crossrec.evaluation import adjust, over_seeds, paired_tests, significance
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


def within(p, expected, draws, deviations=4):
    """A share of draws is as near to its probability as chance lets it."""
    return abs(p - expected) <= deviations * np.sqrt(expected * (1 - expected) / draws) + 2 / draws


@pytest.mark.parametrize("seed", range(3))
def test_t_and_wilcoxon_are_those_of_scipy(seed):
    new, base = sparse_case(seed)
    found = compare(new, base)
    assert found.p_t == pytest.approx(scipy.stats.ttest_rel(new, base).pvalue, rel=1e-9)
    assert found.p_wilcoxon == pytest.approx(scipy.stats.wilcoxon(np.round(new - base, 10)).pvalue, rel=1e-9)
    assert (found.new, found.base) == (pytest.approx(new.mean()), pytest.approx(base.mean()))
    assert found.difference == pytest.approx((new - base).mean(), abs=1e-9)
    assert found.users == 400


def test_the_permutation_test_by_hand():
    """Of the 8 ways to sign .1, .2 and .3, two reach a sum of ±.6; four reach .4 = |.1 - .2 - .3|."""
    assert within(compare([0.1, 0.2, 0.3], [0, 0, 0], draws=8000).p_permutation, 2 / 8, 8000)
    assert within(compare([0.0, 0.2, 0.3], [0.1, 0, 0], draws=8000).p_permutation, 4 / 8, 8000)


@pytest.mark.parametrize("seed", range(4))
def test_the_permutation_test_estimates_the_exact_one(seed):
    """Against all 2^n signs, written out, and against scipy; rounded values make many sums equal."""
    rng = np.random.default_rng(seed)
    new, base = rng.integers(0, 4, 9) / 3, rng.integers(0, 4, 9) / 3
    diff = new - base
    sums = [abs(np.dot(signs, diff)) for signs in itertools.product([-1, 1], repeat=9)]
    exact = np.mean([total >= abs(diff.sum()) - 1e-9 for total in sums])
    if abs(diff.sum()) > 1e-9:
        scipys = scipy.stats.permutation_test(
            (new, base), lambda x, y, axis: (x - y).mean(axis=axis), permutation_type="samples", n_resamples=np.inf
        )
        assert exact == pytest.approx(scipys.pvalue)
    assert within(compare(new, base, draws=20_000).p_permutation, exact, 20_000)


def test_permutation_and_t_agree_over_many_users():
    rng = np.random.default_rng(5)
    base = rng.random(3000)
    found = compare(base + rng.normal(0.002, 0.1, 3000), base, draws=5000)
    assert 0.01 < found.p_t < 0.5
    assert within(found.p_permutation, found.p_t, 5000, deviations=6)


def test_p_is_uniform_where_models_differ_by_chance_alone():
    rng = np.random.default_rng(6)
    p_t, p_permutation = [], []
    for _ in range(300):
        found = compare(rng.random(30), rng.random(30), draws=199)
        p_t.append(found.p_t)
        p_permutation.append(found.p_permutation)
    for p in (p_t, p_permutation):
        assert scipy.stats.kstest(p, "uniform").pvalue > 0.001
        assert 0.02 < np.mean(np.array(p) <= 0.05) < 0.09


@pytest.mark.parametrize("seed", range(3))
def test_the_interval_is_that_of_scipys_bootstrap(seed):
    new, base = sparse_case(seed)
    found = compare(new, base, draws=10_000, confidence=0.9)
    expected = scipy.stats.bootstrap(
        (new - base,), np.mean, method="percentile", confidence_level=0.9, n_resamples=10_000, rng=1
    ).confidence_interval
    spread = np.std(new - base) / np.sqrt(len(new))
    assert found.low == pytest.approx(expected.low, abs=0.08 * spread)
    assert found.high == pytest.approx(expected.high, abs=0.08 * spread)
    assert found.low < found.difference < found.high


def test_small_parts_give_the_same_answer(monkeypatch):
    new, base = sparse_case(1)
    whole = compare(new, base, draws=5000)
    monkeypatch.setattr(significance, "NUMBERS", 100)
    parts = compare(new, base, draws=5000)
    assert within(parts.p_permutation, whole.p_permutation, 5000, deviations=6)
    assert parts.low == pytest.approx(whole.low, abs=0.003)
    assert parts.high == pytest.approx(whole.high, abs=0.003)


def test_a_model_against_itself():
    value, _ = sparse_case(2)
    found = compare(value, value)
    assert dataclasses.asdict(found) == {
        "users": 400,
        "new": value.mean(),
        "base": value.mean(),
        **dict.fromkeys(("difference", "low", "high"), 0.0),
        **dict.fromkeys(("p_t", "p_wilcoxon", "p_permutation"), 1.0),
    }


def test_one_user_proves_nothing():
    found = compare([1.0], [0.25])
    assert (found.p_t, found.p_wilcoxon, found.p_permutation) == (1.0, 1.0, 1.0)
    assert (found.difference, found.low, found.high, found.users) == (0.75, 0.75, 0.75, 1)


def test_the_same_difference_for_everybody():
    found = compare([0.5] * 30, [0.25] * 30)
    assert found.p_t == 0.0
    assert found.p_permutation == 1 / 2001
    assert (found.low, found.high) == (0.25, 0.25)


def test_swapping_the_models_turns_the_sign_only():
    new, base = sparse_case(3)
    one, other = compare(new, base), compare(base, new)
    assert (one.difference, one.low, one.high) == pytest.approx((-other.difference, -other.high, -other.low))
    assert (one.p_t, one.p_wilcoxon, one.p_permutation) == (other.p_t, other.p_wilcoxon, other.p_permutation)


def test_seeds_are_averaged_and_count_users_once():
    new, base = sparse_case(4, users=60)
    once, thrice = ([{"map@10": new}], [{"map@10": base}]), ([{"map@10": new}] * 3, [{"map@10": base}] * 2)
    first, second = (paired_tests(*runs, generator(), draws=500)["map@10"] for runs in (once, thrice))
    assert dataclasses.astuple(first) == pytest.approx(dataclasses.astuple(second))
    seeds = [{"a": [0.0, 1.0], "b": [1.0, 1.0]}, {"a": [0.5, np.nan]}]
    assert set(over_seeds(seeds)) == {"a"}
    assert over_seeds(seeds)["a"][0] == 0.25
    assert np.isnan(over_seeds(seeds)["a"][1])


def test_what_averaging_in_another_order_leaves_is_no_difference():
    """(.1 + .2) + .3 is not .1 + (.2 + .3) in floating point; Wilcoxon would rank such users."""
    parts = [np.full(50, part) for part in (0.1, 0.2, 0.3)]
    new, base = ([{"recall@10": part} for part in order] for order in (parts, parts[::-1]))
    assert (over_seeds(new)["recall@10"] != over_seeds(base)["recall@10"]).any()
    found = paired_tests(new, base, generator(), draws=100)["recall@10"]
    assert (found.difference, found.p_t, found.p_wilcoxon, found.p_permutation) == (0.0, 1.0, 1.0, 1.0)


def test_users_without_a_value_are_left_out():
    new, base = sparse_case(0, users=50)
    wide = [np.concatenate([values, [np.nan, 0.5]]) for values in (new, base)]
    wide[1][-1] = np.nan
    assert compare(*wide) == compare(new, base)


def test_metrics_share_users_and_flips():
    new, base = sparse_case(1)
    runs = [{"recall@10": new, "ndcg@10": new, "extra": new}], [{"recall@10": base, "ndcg@10": base}]
    found = paired_tests(*runs, generator(), draws=500)
    assert list(found) == ["recall@10", "ndcg@10"]
    assert found["recall@10"] == found["ndcg@10"]
    assert list(paired_tests(*runs, generator(), draws=10, metrics=["ndcg@10"])) == ["ndcg@10"]


def test_the_generator_decides():
    new, base = sparse_case(1)
    runs = [{"recall@10": new}], [{"recall@10": base}]
    first, second, other = (paired_tests(*runs, generator(seed), draws=500)["recall@10"] for seed in (0, 0, 1))
    assert first == second
    assert (first.low, first.p_permutation) != (other.low, other.p_permutation)
    assert (first.p_t, first.p_wilcoxon) == (other.p_t, other.p_wilcoxon)


@pytest.mark.parametrize(
    ("new", "base", "options", "error", "message"),
    [
        ([], [{"a": [1.0]}], {}, DataError, "no run to average"),
        ([{"a": [1.0]}], [{"a": [1.0, 2.0]}], {}, DataError, "1 users of one model, 2 of the other"),
        ([{"a": [1.0]}, {"a": [1.0, 2.0]}], [{"a": [1.0]}], {}, DataError, "same users"),
        ([{"a": [np.nan]}], [{"a": [1.0]}], {}, DataError, "nothing to test"),
        ([{"a": []}], [{"a": []}], {}, DataError, "nothing to test"),
        ([{"a": [1.0]}], [{"a": [1.0]}], {"metrics": ["b"]}, ConfigError, "metrics b: both models have a"),
        ([{"a": [1.0]}], [{"b": [1.0]}], {}, ConfigError, "both models have none"),
        ([{"a": [1.0]}], [{"a": [1.0]}], {"draws": 0}, ConfigError, "draws = 0"),
        ([{"a": [1.0]}], [{"a": [1.0]}], {"confidence": 1.0}, ConfigError, "confidence = 1.0"),
    ],
)
def test_what_cannot_be_compared_is_refused(new, base, options, error, message):
    with pytest.raises(error, match=message):
        paired_tests(new, base, generator(), **options)


def test_holm_by_hand():
    """Sorted .005 .01 .03 .04 times 4, 3, 2, 1: .02 .03 .06 .04, and none below the one before it."""
    assert adjust([0.01, 0.04, 0.03, 0.005]).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert adjust([0.7, 0.6]).tolist() == [1.0, 1.0]
    assert adjust([0.03]).tolist() == [0.03]
    assert adjust([]).tolist() == []


def test_holm_rejects_what_the_stepwise_rule_rejects():
    """Holm's procedure as published: go up the sorted p while p_(i) ≤ α / (m - i + 1), then stop."""
    rng = np.random.default_rng(0)
    for _ in range(50):
        p = rng.random(12) ** 4
        p[3] = p[7]
        rejected = np.zeros(12, dtype=bool)
        for step, place in enumerate(np.argsort(p)):
            if p[place] > 0.05 / (12 - step):
                break
            rejected[place] = True
        assert np.array_equal(adjust(p) <= 0.05, rejected)


def test_benjamini_hochberg_is_that_of_scipy():
    rng = np.random.default_rng(1)
    for size in (1, 2, 15):
        p = rng.random(size) ** 2
        np.testing.assert_allclose(adjust(p, "bh"), scipy.stats.false_discovery_control(p))
        assert (adjust(p, "bh") <= adjust(p) + 1e-15).all()


def test_what_is_no_p_value_is_refused():
    for wrong in ([0.5, np.nan], [1.1], [-0.1], [[0.5]]):
        with pytest.raises(DataError, match="between 0 and 1"):
            adjust(wrong)
    with pytest.raises(ConfigError, match="'bonferroni': give holm or bh"):
        adjust([0.5], "bonferroni")
