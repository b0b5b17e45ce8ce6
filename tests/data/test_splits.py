"""Splits partition the interactions, follow the rule per user, and do not depend on the order of rows."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings, strategies as st

from crossrec.data import DataConfig, load
from crossrec.data.splits import by_user, make_split

PAIRS = st.sets(st.tuples(st.integers(0, 5), st.integers(0, 40)), min_size=1, max_size=120)


def split_of(pairs, time, scheme, seed=0):
    user_N, item_N = (np.array(column, dtype=np.int64) for column in zip(*pairs, strict=True))
    return make_split(user_N, item_N, time, scheme, np.random.default_rng(seed))


@settings(deadline=None)
@given(pairs=PAIRS, scheme=st.sampled_from(["random", "leave_one_out"]), seed=st.integers(0, 9), data=st.data())
def test_a_drawn_split_follows_the_rule_per_user_whatever_the_row_order(pairs, scheme, seed, data):
    rows = data.draw(st.permutations(sorted(pairs)))
    split = split_of(rows, None, scheme, seed)
    assert split.dtype == np.int8
    for user in {user for user, _ in rows}:
        mine = [int(label) for (other, _), label in zip(rows, split, strict=True) if other == user]
        held = 0 if len(mine) < 3 else 1 if scheme == "leave_one_out" else max(1, len(mine) // 10)
        assert (mine.count(1), mine.count(2)) == (held, held)
        assert mine.count(0) == len(mine) - 2 * held
    again = dict(zip(sorted(pairs), split_of(sorted(pairs), None, scheme, seed), strict=True))
    assert again == dict(zip(rows, split, strict=True))


@settings(deadline=None)
@given(pairs=PAIRS, scheme=st.sampled_from(["time", "leave_one_out"]), data=st.data())
def test_a_split_by_time_never_trains_on_the_later(pairs, scheme, data):
    rows = data.draw(st.permutations(sorted(pairs)))
    time = np.array(data.draw(st.lists(st.integers(0, 9), min_size=len(rows), max_size=len(rows))), dtype=np.int64)
    split = split_of(rows, time, scheme)
    for user in {user for user, _ in rows}:
        mine = sorted(
            (int(when), item, int(label)) for (u, item), when, label in zip(rows, time, split, strict=True) if u == user
        )
        labels = [label for *_, label in mine]
        held = 0 if len(mine) < 3 else 1 if scheme == "leave_one_out" else max(1, len(mine) // 10)
        assert labels == [0] * (len(mine) - 2 * held) + [1] * held + [2] * held


def test_a_random_split_does_not_look_at_the_times():
    rows = [(user, item) for user in range(4) for item in range(25)]
    split = split_of(rows, np.arange(100), "random", 3)
    assert np.array_equal(split, split_of(rows, None, "random", 3))
    assert not np.array_equal(split, split_of(rows, np.arange(100), "time", 3))


@pytest.mark.parametrize(("scheme", "held"), [("leave_one_out", 1), ("time", 2)])
def test_how_many_of_25_interactions_are_held_out(scheme, held):
    split = split_of([(0, item) for item in range(25)], np.arange(25), scheme)
    assert split.tolist() == [0] * (25 - 2 * held) + [1] * held + [2] * held


def test_a_random_split_is_uniform_over_the_interactions_of_a_user():
    rows = [(0, item) for item in range(10)]
    tests = [int(np.flatnonzero(split_of(rows, None, "random", seed) == 2)[0]) for seed in range(2000)]
    counts = np.bincount(tests, minlength=10)
    assert counts.min() > 150  # expected 200, deviation 13
    assert counts.max() < 250


def test_a_made_split_partitions_the_file(put):
    frame = pl.DataFrame({"user": [f"u{row % 7}" for row in range(140)], "item": [f"i{row}" for row in range(140)]})
    config = DataConfig(data=str(put({"interactions.parquet": frame})))
    dataset = load(config)
    parts = [set(zip(part.user_N, part.item_N, strict=True)) for part in (dataset.train, dataset.valid, dataset.test)]
    assert [len(part) for part in parts] == [112, 14, 14]
    assert len(set.union(*parts)) == 140
    shuffled = load(DataConfig(data=str(put({"interactions.parquet": frame.sample(fraction=1, shuffle=True, seed=1)}))))
    assert parts[2] == set(zip(shuffled.test.user_N, shuffled.test.item_N, strict=True))
    other = load(config.model_copy(update={"split_seed": 1}))
    assert parts[2] != set(zip(other.test.user_N, other.test.item_N, strict=True))


@pytest.mark.parametrize(
    "times", [["3", "20", "100"], ["1.5", "2.5", "1e3"], ["2023-12-31", "2024-01-01", "2024-02-01"]]
)
@pytest.mark.parametrize("scheme", ["time", "leave_one_out"])
def test_times_are_numbers_or_dates(put, times, scheme):
    rows = "".join(f"a,{item},{time} \n" for item, time in zip("zxy", times, strict=True))
    dataset = load(DataConfig(data=str(put({"log.csv": "user,item,timestamp\n" + rows})), split=scheme))
    items = dataset.item_ids.to_list()
    assert [items[part.item_N[0]] for part in (dataset.train, dataset.valid, dataset.test)] == ["z", "x", "y"]


def test_given_labels_win_over_making_a_split_only_if_asked(put):
    folder = put({"log.csv": "user,item,split\n" + "".join(f"a,{item},train\n" for item in range(10))})
    assert len(load(DataConfig(data=str(folder))).train) == 10
    assert len(load(DataConfig(data=str(folder), split="random")).train) == 8


@pytest.mark.parametrize("size", [1, 5, 17, 10**6])
def test_by_user_yields_all_rows_of_a_user_in_one_block(size):
    user_N = np.array([3, 0, 3, 3, 7, 0, 3, 3])
    blocks = [block.tolist() for block in by_user(user_N, size)]
    assert [row for block in blocks for row in block] == [1, 5, 0, 2, 3, 6, 7, 4]
    assert all(len({int(user_N[row]) for row in block}) == 1 or len(block) <= size for block in blocks)
    users = [user for block in blocks for user in {int(user_N[row]) for row in block}]
    assert len(users) == len(set(users))
    assert list(by_user(np.array([], dtype=int))) == []
