"""Every layout gives the same data set, whatever the order of columns and rows and the kind of ids."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from unicodedata import normalize

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings, strategies as st

from crossrec.data import DataConfig, Dataset, load, validate
from crossrec.errors import DataError

ROWS = [("ann", "pear", "train"), ("ann", "fig", "Valid"), ("bob", "fig", "TRAIN"), ("bob", "kiwi", "test")]


def pairs(dataset: Dataset, part: str) -> list[tuple[object, object]]:
    """The pairs of one split with their original ids."""
    split = getattr(dataset, part)
    users, items = dataset.user_ids.to_list(), dataset.item_ids.to_list()
    return [(users[user], items[item]) for user, item in zip(split.user_N, split.item_N, strict=True)]


def test_importing_the_package_needs_neither_torch_nor_polars():
    code = "import sys, crossrec.data; sys.exit(bool({'torch', 'polars'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    "order", list(itertools.permutations(["userID", "itemID", "x_label", "rating", "timestamp"]))[::13]
)
def test_inter_columns_come_in_any_order(put, order):
    cells = {
        "userID": [0, 2, 2, 0],
        "itemID": [1, 0, 3, 0],
        "x_label": [0, 0, 1, 2],
        "rating": [5.0, 1.5, None, 2.0],
        "timestamp": [9, 8, 7, 6],
    }
    text = pl.DataFrame(cells).select(order).write_csv(separator="\t")
    dataset = load(DataConfig(data=str(put({"x.inter": text}))))
    assert (dataset.name, dataset.num_users, dataset.num_items) == ("set", 3, 4)
    assert dataset.train.user_N.tolist() == [0, 2]
    assert dataset.train.item_N.tolist() == [1, 0]
    assert (dataset.valid.user_N.tolist(), dataset.valid.item_N.tolist()) == ([2], [3])
    assert (dataset.test.user_N.tolist(), dataset.test.item_N.tolist()) == ([0], [0])
    assert dataset.train.user_N.dtype == np.int64
    assert dataset.user_ids.to_list() == [0, 1, 2]


def test_feature_rows_decide_the_number_of_items_of_an_inter_folder(put):
    folder = put({"x.inter": "userID\titemID\tx_label\n0\t1\t0\n", "image_feat.npy": np.eye(4, 6, dtype=np.float16)})
    dataset = load(DataConfig(data=str(folder)))
    assert dataset.num_items == 4
    assert dataset.features["image"].shape == (4, 6)
    [*_, more] = validate(DataConfig(data=str(folder)))
    assert more.kind == "warning"
    assert "the highest item is 1, but the features have 4 rows" in more.message


@pytest.mark.parametrize("suffix", ["parquet", "csv", "tsv", "jsonl", "ndjson", "CSV"])
@pytest.mark.parametrize("as_file", [False, True])
def test_every_format_reads_the_same(put, suffix, as_file):
    frame = pl.DataFrame(ROWS, schema=["user_id", "item_id", "split"], orient="row")
    content = {
        "parquet": frame,
        "csv": frame.write_csv(),
        "tsv": frame.write_csv(separator="\t"),
        "jsonl": "".join(json.dumps(row) + "\n" for row in frame.to_dicts()),
    }[{"ndjson": "jsonl", "CSV": "csv"}.get(suffix, suffix)]
    path = put({f"things.{suffix}": content})
    dataset = load(DataConfig(data=str(path / f"things.{suffix}" if as_file else path)))
    assert pairs(dataset, "train") == [("ann", "pear"), ("bob", "fig")]
    assert pairs(dataset, "valid") == [("ann", "fig")]
    assert pairs(dataset, "test") == [("bob", "kiwi")]
    assert dataset.name == ("things" if as_file else "set")


SEEN = st.characters(categories=["L", "N", "P", "S", "Mc"], exclude_characters="\u115f\u1160\u2800\u3164\uffa0")
TEXT = st.text(st.one_of(SEEN, st.just("-")), max_size=6).map(lambda text: f"x{text}x".replace("-", " "))
"""Text of characters that are seen, and blanks between them."""
IDS = st.one_of(
    st.lists(st.integers(-(2**62), 2**62), min_size=2, max_size=8, unique=True),
    st.lists(st.integers(2**63, 2**64 - 1), min_size=2, max_size=8, unique=True),
    st.lists(TEXT, min_size=2, max_size=8, unique_by=lambda text: " ".join(normalize("NFC", text).split())),
    st.lists(st.dates(), min_size=2, max_size=8, unique=True),
)


@settings(max_examples=60, deadline=None)
@given(users=IDS, items=IDS, categorical=st.booleans())
def test_ids_of_any_kind_survive_the_map(users, items, categorical):
    rows = [(user, item) for user in users for item in items[:2]]
    kinds = {
        f"{kind}_id": pl.Series(list(column))
        for kind, column in zip(("user", "item"), zip(*rows, strict=True), strict=True)
    }
    frame = pl.DataFrame(kinds).with_columns(split=pl.lit("train"))
    if categorical:
        frame = frame.with_columns(pl.col(pl.String).cast(pl.Categorical))
    with tempfile.TemporaryDirectory() as folder:
        frame.write_parquet(Path(folder) / "interactions.parquet")
        dataset = load(DataConfig(data=folder))
        dataset.save_id_maps(Path(folder) / "run")
        id_map = pl.read_parquet(Path(folder) / "run" / "users.parquet")
    assert pairs(dataset, "train") == rows
    assert dataset.user_ids.to_list() == sorted(users)
    assert id_map.to_dict(as_series=False) == {"index": list(range(len(users))), "id": sorted(users)}


@settings(max_examples=40, deadline=None)
@given(
    ids=st.lists(TEXT, min_size=2, max_size=8, unique_by=lambda text: " ".join(normalize("NFC", text).split())),
)
def test_text_ids_survive_quoting_in_csv(ids):
    frame = pl.DataFrame({"user": ids, "title": ['a, "b"\nc'] * len(ids), "item": ids[::-1], "split": "train"})
    with tempfile.TemporaryDirectory() as folder:
        frame.write_csv(Path(folder) / "log.csv")
        dataset = load(DataConfig(data=folder))
    assert [tuple(map(str, pair)) for pair in pairs(dataset, "train")] == list(zip(ids, ids[::-1], strict=True))


def test_numbers_in_text_become_numbers_unless_that_would_lose_something(put):
    assert load(DataConfig(data=str(put({"a.csv": "user,item\n10,07\n9,7\n"})))).user_ids.to_list() == [9, 10]
    assert load(DataConfig(data=str(put({"a.csv": "user,item\n10,07\n9,7\n"})))).item_ids.to_list() == ["07", "7"]
    floats = pl.DataFrame({"user": [3.0, 1.0], "item": [1, 2]})
    folder = put({"interactions.parquet": floats})
    assert load(DataConfig(data=str(folder / "interactions.parquet"))).user_ids.to_list() == [1, 3]


def test_an_items_file_says_which_feature_row_is_which_item(put):
    features = np.array([[1.0, 0], [0, 2], [3, 3]])
    files = {"log.csv": "user,item\na,fig\na,kiwi\n", "items.csv": "title,item\nx,kiwi\ny,plum\nz,fig\n"}
    dataset = load(DataConfig(data=str(put({**files, "text_feat.npy": features})), feature_scaling="none"))
    assert dataset.item_ids.to_list() == ["kiwi", "plum", "fig"]
    assert dataset.train.item_N.tolist() == [2, 0]
    np.testing.assert_array_equal(dataset.features["text"], features.astype(np.float32))


def test_an_items_file_of_text_matches_integer_ids(put):
    dataset = load(DataConfig(data=str(put({"log.csv": "user,item\na,7\na,5\n", "items.csv": "item\n5\nnew\n7\n"}))))
    assert dataset.item_ids.to_list() == ["5", "new", "7"]
    assert dataset.train.item_N.tolist() == [2, 0]


def test_integer_ids_are_feature_rows_without_an_items_file_and_are_packed_without_features(put):
    folder = put({"log.csv": "user,item\n4,2\n9,0\n", "image_feat.npy": np.eye(5)})
    dataset = load(DataConfig(data=str(folder)))
    assert (dataset.num_users, dataset.num_items) == (2, 5)
    assert dataset.train.item_N.tolist() == [2, 0]
    bare = load(DataConfig(data=str(folder), modalities=()))
    assert bare.item_ids.to_list() == [0, 2]
    assert bare.train.item_N.tolist() == [1, 0]
    assert bare.features == {}


def test_columns_can_be_named(put):
    text = "who,what,part,user,item,split\na,x,0,1,1,1\nb,y,dev,1,2,1\n"
    config = DataConfig(data=str(put({"log.csv": text})), user_column="who", item_column="what", split_column="part")
    dataset = load(config)
    assert pairs(dataset, "train") == [("a", "x")]
    assert pairs(dataset, "valid") == [("b", "y")]


def test_modalities_are_chosen(put):
    folder = put({"a.csv": "user,item\na,0\n", "audio_feat.npy": np.eye(1, 2), "text_feat.npy": np.eye(1, 3)})
    assert list(load(DataConfig(data=str(folder))).features) == ["audio", "text"]
    assert list(load(DataConfig(data=str(folder), modalities=("text",))).features) == ["text"]


def test_a_byte_order_mark_is_read_over_and_mentioned(put):
    for name, text in {
        "a.inter": "userID\titemID\n0\t0\n",
        "a.csv": "user,item\na,b\n",
        "a.jsonl": '{"user":1,"item":2}\n',
    }.items():
        path = put({name: b"\xef\xbb\xbf" + text.encode()}) / name
        assert len(load(DataConfig(data=str(path))).train) == 1
        assert validate(DataConfig(data=str(path)))[0].message == (
            f"{path}, line 1: starts with a byte-order mark (ignored); save as UTF-8 without BOM"
        )


def test_blank_lines_are_no_rows_and_windows_line_ends_are_fine(put):
    folder = put({"a.inter": "userID\titemID\tx_label\r\n\r\n0\t0\t0\r\n\r\n1\t1\t2\r\n\r\n"})
    dataset = load(DataConfig(data=str(folder)))
    assert (len(dataset.train), len(dataset.test), dataset.num_items) == (1, 1, 2)


def test_a_bare_name_is_looked_for_under_the_data_home(put, monkeypatch, tmp_path):
    put({"a.csv": "user,item\na,b\n"})
    monkeypatch.setenv("CROSSREC_DATA", str(tmp_path))
    monkeypatch.chdir(tmp_path.parent)
    assert load(DataConfig(data="set")).name == "set"
    with pytest.raises(DataError, match="data 'sett': no such file or folder; did you mean 'set'"):
        load(DataConfig(data="sett"))


def test_an_inter_file_wins_over_other_tables_and_names_are_taken_literally(put):
    folder = put({"x[1].inter": "userID\titemID\n0\t0\n", "meta.csv": "title\nhat\n", "items.csv": "junk\n"})
    assert load(DataConfig(data=str(folder))).num_items == 1


def test_many_rows_are_read_without_a_loop(tmp_path):
    generator = np.random.default_rng(0)
    pair = generator.choice(2000 * 1000, 300_000, replace=False)
    frame = pl.DataFrame({"user": pair // 1000, "item": pair % 1000}).with_columns(
        pl.format("u{}", "user").alias("user")
    )
    frame.write_csv(tmp_path / "log.csv")
    dataset = load(DataConfig(data=str(tmp_path)))
    assert len(dataset.train) + len(dataset.valid) + len(dataset.test) == 300_000
    assert dataset.user_ids[0] == "u0"
