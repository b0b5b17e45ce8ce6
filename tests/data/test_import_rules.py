"""The rules of an import, compared with slow loops, and the counts of every step."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from typing import Any

import numpy as np
import polars as pl
import pytest

from crossrec.data import DataConfig, ImportConfig, import_data, load, splits as splits_module, validate
from crossrec.data.importers.rules import k_core, merge_repeated
from crossrec.data.io import codes, text_chunks
from crossrec.data.io.parse_log import InteractionLog
from crossrec.errors import ConfigError, DataError


def slow_core(pairs: list[tuple[int, int]], least: tuple[int, int]) -> list[bool]:
    """Drop one weak user or item after the other until there is none."""
    keep = [True] * len(pairs)
    while True:
        left = [pair for pair, stays in zip(pairs, keep, strict=True) if stays]
        for side in (0, 1):
            count = Counter(pair[side] for pair in left)
            weak = next((code for code, number in count.items() if number < least[side]), None)
            if weak is not None:
                keep = [stays and pair[side] != weak for pair, stays in zip(pairs, keep, strict=True)]
                break
        else:
            return keep


@pytest.mark.parametrize("least", [(0, 0), (2, 0), (0, 3), (2, 2), (3, 4), (5, 5)])
@pytest.mark.parametrize("seed", range(6))
def test_k_core_agrees_with_a_slow_loop(least, seed, monkeypatch):
    monkeypatch.setattr(codes, "SPAN", 7)
    draw = np.random.default_rng(seed)
    users, items = 12 + seed, 9
    pairs = sorted({(int(users * draw.random() ** 2), int(items * draw.random())) for _ in range(70)})
    user_N, item_N = np.array(pairs, dtype=np.int32).T
    keep_N = np.ones(len(pairs), dtype=bool)
    rounds = k_core(user_N, item_N, least, keep_N)
    assert keep_N.tolist() == slow_core(pairs, least)
    assert (rounds > 0) == (not keep_N.all())


def test_k_core_of_a_chain_is_empty():
    # user n has items n and n + 1: no end is strong enough, so that nothing is left
    user_N, item_N = np.array([0, 0, 1, 1, 2, 2, 3, 3]), np.array([0, 1, 1, 2, 2, 3, 3, 4])
    keep_N = np.ones(8, dtype=bool)
    assert k_core(user_N, item_N, (2, 2), keep_N) == 4
    assert not keep_N.any()


@pytest.mark.parametrize("size", [1, 3, 1000])
@pytest.mark.parametrize("keep", ["first", "last"])
@pytest.mark.parametrize("timed", [False, True])
def test_one_row_of_each_pair_stays(size, keep, timed, monkeypatch):
    monkeypatch.setattr(splits_module.by_user, "__defaults__", (size,))
    draw = np.random.default_rng(4)
    rows = [(int(draw.integers(5)), int(draw.integers(4)), int(draw.integers(3))) for _ in range(60)]
    columns = np.array(rows, dtype=np.int32).T
    log = InteractionLog(pl.Series(range(5)), pl.Series(range(4)), columns[0], columns[1])
    log.time_N = columns[2] if timed else None
    stays = set()
    for pair, group in itertools.groupby(sorted(range(60), key=lambda n: rows[n][:2]), key=lambda n: rows[n][:2]):
        ordered = sorted(group, key=lambda n: (rows[n][2] if timed else 0, n))
        assert rows[ordered[0]][:2] == pair
        stays.add(ordered[0 if keep == "first" else -1])
    assert set(np.flatnonzero(merge_repeated(log, keep))) == stays


def table(*rows: tuple[Any, ...], header: str = "user,item,rating,time") -> str:
    return "\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n"


def imported(put: Any, text: str, **rules: Any) -> Any:
    """(card, the interactions) of a CSV under rules."""
    folder = put({"a.csv": text})
    card = import_data(folder, folder.parent / "out", ImportConfig(**rules), overwrite=True)
    return card, pl.read_parquet(folder.parent / "out" / "interactions.parquet")


LOG = table(
    ("a", "x", 5, 100), ("a", "y", 2, 101), ("a", "x", 1, 102), ("b", "x", 4, 103), ("b", "y", 4, 90), ("c", "x", 4, 50)
)  # fmt: skip


@pytest.mark.parametrize(
    ("rules", "left"),
    [
        ({}, ["ax5", "ay2", "bx4", "by4", "cx4"]),
        ({"duplicates": "last"}, ["ay2", "ax1", "bx4", "by4", "cx4"]),
        ({"min_rating": 4}, ["ax5", "bx4", "by4", "cx4"]),
        ({"min_rating": 4, "duplicates": "last"}, ["ax5", "bx4", "by4", "cx4"]),
        ({"since": "101"}, ["ay2", "ax1", "bx4"]),
        ({"until": "102", "since": "50"}, ["ax5", "ay2", "by4", "cx4"]),
        ({"min_user_interactions": 2}, ["ax5", "ay2", "bx4", "by4"]),
        ({"min_item_interactions": 3}, ["ax5", "bx4", "cx4"]),
    ],
    ids=str,
)
def test_each_rule(rules, left, put):
    card, frame = imported(put, LOG, **rules)
    assert ["".join([row["user"], row["item"], f"{row['rating']:g}"]) for row in frame.rows(named=True)] == left
    last = card.steps[-1]
    assert (last.interactions, last.users, last.items) == (
        len(left),
        len({row[0] for row in left}),
        len({row[1] for row in left}),
    )
    assert card.rules["duplicates"] == rules.get("duplicates", "first")


def test_every_step_is_counted(put):
    text = LOG + "d,,5,60\ne,x,many,60\nf,x,5,\n"
    rules = {"min_user_interactions": 2, "min_item_interactions": 2, "min_rating": 1, "since": "60", "bad_rows": "drop"}
    card, frame = imported(put, text, **rules)
    steps = [(step.what, step.interactions, step.users, step.items) for step in card.steps]
    assert steps == [
        ("read", 9, 3, 2),
        ("unusable rows", 6, 3, 2),
        ("time window", 5, 2, 2),
        ("rating", 5, 2, 2),
        ("duplicates", 4, 2, 2),
        ("k-core", 4, 2, 2),
    ]
    assert card.steps[1].rule == "1 × item is empty, 1 × time cannot be read, 1 × rating cannot be read"
    assert card.steps[2].rule == "since 60"
    assert frame.height == 4
    assert [row[3] for row in card.report()] == ["", "3", "1", "0", "1", "0"]


NOTHING = {
    "rating": ({"min_rating": 6}, "min_rating 6 leaves none of 6 rows; ratings run from 1 to 5; lower it"),
    "k-core": (
        {"min_user_interactions": 3, "min_item_interactions": 3},
        "min_user_interactions 3 and min_item_interactions 3 (k-core) leave none of 5 rows of 3 users and 2 items "
        "(after 1 rounds); lower them",
    ),
    "window": ({"since": "200"}, "since 200 leaves none of 6 rows; times run from 50 to 103"),
    "labels": ({"split": "given"}, "no split column"),
}


@pytest.mark.parametrize("case", NOTHING)
def test_a_rule_that_leaves_no_row_is_an_error(case, put):
    rules, message = NOTHING[case]
    with pytest.raises(DataError) as caught:
        imported(put, LOG, **rules)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("cells", "since", "left"),
    [
        (["2024-05-30", "2024-05-31", "2024-06-01"], "2024-05-31", 2),
        (["2024-05-30T10:00:00", "2024-05-31T09:00:00", "2024-05-31T11:00:00"], "2024-05-31T10:00:00", 1),
        (["1717149599", "1717149600", "1717149601"], "2024-05-31T10:00:00", 2),
        (["1717149599999", "1717149600000", "1717149600001"], "2024-05-31T10:00:00", 2),
        (["1717149599.5", "1717149600.5", "1717149600.75"], "2024-05-31T12:00:00.500+02:00", 2),
        (["7", "8", "9.5"], "8.5", 1),
    ],
)
@pytest.mark.parametrize("zone", ["UTC", "America/New_York"])
def test_time_windows_of_every_type_of_time(cells, since, left, zone, put, monkeypatch):
    """since ≤ time < until; the time zone of the machine is of no account."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", zone)
        time.tzset()
        text = table(*(("u", f"i{n}", cell) for n, cell in enumerate(cells)), header="user,item,time")
        card, frame = imported(put, text, since=since)
        _, before = imported(put, text, until=since)
    time.tzset()
    assert frame.height == card.steps[-1].interactions == left
    assert frame["item"].to_list() == [f"i{n}" for n in range(3 - left, 3)]
    assert before["item"].to_list() == [f"i{n}" for n in range(3 - left)]


def test_times_of_parquet_keep_their_type(put):
    days = pl.Series(["2024-05-30", "2024-05-31", "2024-06-01"]).str.to_date()
    zoned = days.cast(pl.Datetime("ms")).dt.replace_time_zone("Europe/Berlin")
    for times in (days, days.cast(pl.Datetime("ns")), zoned):
        folder = put({"a.parquet": pl.DataFrame({"user": [1, 1, 1], "item": [1, 2, 3], "time": times})})
        import_data(folder, folder.parent / "out", ImportConfig(since="2024-05-31"), overwrite=True)
        frame = pl.read_parquet(folder.parent / "out" / "interactions.parquet")
        assert frame["time"].to_list() == times.to_list()[-frame.height :]
        assert frame["time"].dtype == times.dtype
        # midnight in Berlin is two hours before midnight in UTC
        assert frame.height == (1 if times is zoned else 2)


def test_times_become_floats_if_a_later_block_has_fractions(put, monkeypatch):
    monkeypatch.setattr(text_chunks, "CHUNK_BYTES", 16)
    _, frame = imported(put, "user,item,time\na,x,1\na,y,2\na,z,2.5\na,w,3\n")
    assert frame["time"].to_list() == [1.0, 2.0, 2.5, 3.0]


@pytest.mark.parametrize(
    ("text", "rules", "message"),
    [
        (LOG, {"since": "9", "until": "3"}, "since 9, until 3: since is not before until; exchange them"),
        (
            table(("a", "x", 1, "2024-05-31")),
            {"since": "12"},
            "since 12: the times are dates; give an ISO date such as 2014-05-31",
        ),
    ],
)
def test_invalid_bounds(text, rules, message, put):
    with pytest.raises(ConfigError, match=message):
        imported(put, text, **rules)
    with pytest.raises(ValueError, match="neither a number nor an ISO date"):
        ImportConfig(since="yesterday")


@pytest.mark.parametrize("split", ["random", "time", "leave_one_out"])
def test_the_split_equals_that_of_load(split, put):
    draw = np.random.default_rng(1)
    pairs = sorted({(int(draw.integers(20)), int(draw.integers(30))) for _ in range(300)}, key=lambda _: draw.random())
    text = table(*((u, i, int(draw.integers(50))) for u, i in pairs), header="user,item,time")
    _, frame = imported(put, text, split=split, split_seed=3)
    imported_set = load(DataConfig(data=str(put({}).parent / "out")))
    source_set = load(DataConfig(data=str(put({}) / "a.csv"), split=split, split_seed=3))
    assert imported_set.fingerprint() == source_set.fingerprint()
    assert frame.columns == ["user", "item", "split", "time"]


def test_a_seed_fixes_the_split_and_the_files(put, tmp_path):
    rows = [(f"u{u}", f"i{i}") for u in range(9) for i in range(u + 3)]
    folder = put({"a.csv": table(*rows, header="user,item")})
    for out, seed in (("one", 0), ("two", 0), ("three", 1)):
        import_data(folder, tmp_path / out, ImportConfig(split_seed=seed))
    one, two, three = ({p.name: p.read_bytes() for p in (tmp_path / out).iterdir()} for out in ("one", "two", "three"))
    assert one["interactions.parquet"] == two["interactions.parquet"]
    assert one["items.parquet"] == two["items.parquet"] == three["items.parquet"]
    assert one["interactions.parquet"] != three["interactions.parquet"]


def test_split_none_writes_no_split(put):
    card, frame = imported(put, table(("a", "x", 0), ("a", "y", 2), header="user,item,split"), split="none")
    assert frame.columns == ["user", "item"]
    assert card.splits == {}


def test_given_labels_are_kept_and_must_include_training_rows(put):
    text = table(("a", "x", "train"), ("a", "y", 2), ("b", "x", "Dev"), ("b", "z", 0), header="user,item,split")
    card, frame = imported(put, text)
    assert frame["split"].to_list() == ["train", "test", "valid", "train"]
    assert card.splits == {"train": 2, "valid": 1, "test": 1}
    assert validate(DataConfig(data=str(put({}).parent / "out"))) == []
    with pytest.raises(DataError, match="no row that is left is a training row; choose another split"):
        imported(put, table(("a", "x", 1), ("a", "y", 2), header="user,item,split"))
