"""Every kind of source, written by hand: what comes out."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from tests.data.sources import (
    A1,
    A2,
    A3,
    AMAZON,
    ATOMIC,
    EYE,
    FRAME,
    LISTS,
    MMREC,
    PAIRS,
    REVIEWS,
    SKU,
    bring,
    csv,
    lines,
    pairs_of,
)

from crossrec.data import DataConfig, ImportConfig, import_data, load, validate

TABLES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "csv": ({"log.csv": csv()}, SKU),
    "compressed csv": ({"log.csv.gz": gzip.compress(csv().encode())}, SKU),
    "tsv": ({"log.tsv": csv().replace(",", "\t")}, SKU),
    "json lines": (
        {"log.jsonl": "".join(json.dumps({"user": u, "item": i, "x": [1]}) + "\n\n" for u, i in PAIRS)},
        {},
    ),
    "parquet": ({"log.parquet": FRAME}, {}),
    "parts": ({"part-0.csv": csv(PAIRS[:2]), "part-1.csv": csv(PAIRS[2:]), "_SUCCESS": "", ".x.crc": ""}, SKU),
    "parts of parquet": ({"a.parquet": FRAME[:4], "b.parquet": FRAME[4:].with_columns(x=1)}, {}),
    "named among others": ({"interactions.csv": csv(), "prices.csv": "sku,price\ntea,3\n"}, SKU),
}


@pytest.mark.parametrize("case", TABLES)
def test_tables(case, put):
    files, rules = TABLES[case]
    card, out = bring(put, files, **rules, split="none")
    assert card.kind == "tables"
    assert pairs_of(out) == PAIRS
    assert pl.read_parquet(out / "items.parquet")["item"].to_list() == ["fig", "oil", "rye", "tea"]
    assert sorted(path.name for path in out.iterdir()) == card.files == sorted(card.files)
    assert {file.name: file.bytes for file in card.source} == {
        name: (put({}) / name).stat().st_size for name in files if name[0] not in "._" and name != "prices.csv"
    }
    assert card.ignored == (["prices.csv"] if "prices.csv" in files else [])


def test_several_files_by_name(put, tmp_path):
    folder = put({"a.csv": csv(PAIRS[:3]), "b.csv": csv(PAIRS[3:]), "c.csv": "else\n1\n"})
    import_data([folder / "b.csv", str(folder / "a.csv")], tmp_path / "out", ImportConfig(**SKU, split="none"))
    assert pairs_of(tmp_path / "out") == PAIRS[3:] + PAIRS[:3]


def test_files_called_like_splits_are_splits(put):
    _, out = bring(put, {"train.csv": csv(PAIRS[:4]), "valid.csv": csv(PAIRS[4:5]), "test.csv": csv(PAIRS[5:])}, **SKU)
    frame = pl.read_parquet(out / "interactions.parquet")
    splits = dict(zip(frame.select("user", "item").rows(), frame["split"], strict=True))
    assert splits == dict(zip(PAIRS, ["train"] * 4 + ["valid", "test"], strict=True))


def test_a_table_of_items_brings_order_columns_and_features(put):
    files = {
        "log.csv": csv(),
        "items.csv": "sku,Product Name,genre,description,picture,left\n"
        "rye,Rye bread,food|bread,,pics/rye.jpg,1\nnix,None,,,,\ntea,Tea,drink,Hot,http://x/tea.jpg,2\n"
        "fig,Fig,food,Sweet,pics/none.jpg,\n",
        "image_feat.npy": EYE,
        "users.csv": "customer_id,age\nbob,3\ncid,4\n",
    }
    card, out = bring(put, files, **SKU)
    items = pl.read_parquet(out / "items.parquet")
    assert items.columns == ["item", "title", "category", "text", "picture", "left"]
    assert items["item"].to_list() == ["rye", "tea", "fig", "oil"]
    assert items["title"].to_list() == ["Rye bread", "Tea", "Fig", None]
    assert items["text"].to_list() == [None, "Hot", "Sweet", None]
    assert items["picture"].to_list() == ["pics/rye.jpg", "http://x/tea.jpg", "pics/none.jpg", None]
    np.testing.assert_array_equal(np.load(out / "image_feat.npy"), np.vstack([EYE[[0, 2, 3]], np.zeros((1, 3))]))
    assert card.item_columns == {"title": 3, "category": 3, "text": 2, "picture": 3, "left": 2}
    assert card.features[0].missing == 1
    assert card.notes == [
        "items without an interaction that is left: 1, left out",
        "items that the table of items does not list: 1, kept with empty columns",
    ]
    users = pl.read_parquet(out / "users.parquet")
    assert users.rows() == [("ann", None), ("bob", "3")]
    [finding] = [entry for entry in validate(DataConfig(data=str(out))) if "no feature" in entry.message]
    assert "1 of 4 items" in finding.message


def test_columns_of_items_may_have_any_name(put):
    files = {
        "log.csv": csv(),
        "items.csv": "sku,item,item_,Title,TITLE\nrye,1,2,Rye,R\n",
        "users.csv": "customer_id,user\nann,1\n",
    }
    _, out = bring(put, files, **SKU)
    assert pl.read_parquet(out / "items.parquet").columns == ["item", "item__", "item_", "title", "TITLE"]
    assert pl.read_parquet(out / "users.parquet").columns == ["user", "user_"]


def test_unused_items_may_stay(put):
    files = {"log.csv": csv(), "products.csv": "sku,title\nnix,Nothing\nrye,Rye\n"}
    folder = put(files)
    config = ImportConfig(**SKU, items=folder / "products.csv", unused_items="keep")
    card = import_data(folder, folder.parent / "out", config)
    items = pl.read_parquet(folder.parent / "out" / "items.parquet")
    assert items.rows() == [("nix", "Nothing"), ("rye", "Rye"), ("fig", None), ("oil", None), ("tea", None)]
    assert card.notes[0] == "items without an interaction that is left: 1, kept"
    assert card.rules["items"] == "products.csv"
    assert ("items with title", "2 of 5") in card.facts()
    assert load(DataConfig(data=str(folder.parent / "out"))).num_items == 5


def test_an_imported_folder_can_be_imported_again(put, tmp_path):
    files = {"log.csv": csv(), "items.csv": "sku,title\nrye,Rye\ntea,Tea\nfig,Fig\noil,Oil\n", "image_feat.npy": EYE}
    _, out = bring(put, files, **SKU)
    card = import_data(out, tmp_path / "again", ImportConfig(min_item_interactions=2))
    assert card.columns == {"user": "user", "item": "item", "split": "split"}
    assert pl.read_parquet(tmp_path / "again" / "items.parquet").rows() == [("rye", "Rye"), ("tea", "Tea")]
    np.testing.assert_array_equal(np.load(tmp_path / "again" / "image_feat.npy"), EYE[:2])


@pytest.mark.parametrize("typed", [True, False])
def test_whole_numbers_are_rows_of_the_features(typed, put):
    frame = pl.DataFrame({"user": [7, 7, 9], "item": [3, 0, 3]})
    log = {"a.parquet": frame} if typed else {"a.csv": frame.write_csv()}
    _, out = bring(put, {**log, "image_feat.npy": EYE}, split="none")
    assert pairs_of(out) == frame.rows()
    np.testing.assert_array_equal(np.load(out / "image_feat.npy"), EYE[[0, 3]])
    assert pl.read_parquet(out / "items.parquet")["item"].to_list() == [0, 3]


def test_mmrec(put):
    card, out = bring(put, MMREC)
    assert (card.kind, card.splits) == ("mmrec", {"train": 3, "valid": 1, "test": 1})
    config = DataConfig(data=str(out))
    assert validate(config) == []
    raw = load(DataConfig(data=str(put({})), split="given"))
    assert load(config).fingerprint() == raw.fingerprint()
    assert np.load(out / "text_feat.npy").dtype == np.float16


def test_recbole(put):
    card, out = bring(put, ATOMIC, split="time")
    assert card.kind == "recbole"
    assert card.columns["time"] == "timestamp:float"
    frame = pl.read_parquet(out / "interactions.parquet")
    assert frame["time"].to_list() == [10, 11, 12, 9]
    assert frame["rating"].to_list() == [5, 4, 3, 2]
    items = pl.read_parquet(out / "items.parquet")
    assert items.rows(named=True) == [
        {"item": "c", "title": 'The "C', "category": None, "year": None, "vector": None},
        {"item": "b", "title": "B sides", "category": ["Drama", "Sci-Fi"], "year": 1999, "vector": [1, 2]},
        {"item": "a", "title": "A", "category": ["Drama"], "year": None, "vector": [3, 4]},
    ]
    assert pl.read_parquet(out / "users.parquet").rows() == [("u1", 30.0), ("u2", 31.0)]


def test_recbole_with_splits_of_its_own(put):
    head, *rows = ATOMIC["ml.inter"].splitlines(keepends=True)
    files = {
        "ml.train.inter": head + "".join(rows[:2]),
        "ml.valid.inter": head + rows[2],
        "ml.test.inter": head + rows[3],
    }
    card, out = bring(put, files, user_column="user_id:token", item_column="item_id")
    assert card.splits == {"train": 2, "valid": 1, "test": 1}
    assert [row[2] for row in pl.read_parquet(out / "interactions.parquet").rows()] == [
        "test",
        "train",
        "train",
        "valid",
    ]


def test_lists_of_items(put):
    card, out = bring(put, LISTS)
    assert (card.kind, card.splits) == ("json", {"train": 5, "valid": 1, "test": 1})
    data = load(DataConfig(data=str(out)))
    assert data.train.user_N.tolist() == [0, 0, 0, 1, 1]
    assert data.train.item_N.tolist() == [2, 0, 1, 0, 3]
    assert data.item_ids.dtype == data.user_ids.dtype == pl.Int64
    np.testing.assert_array_equal(np.load(out / "image_feat.npy"), EYE)
    assert validate(DataConfig(data=str(out))) == []


def test_lists_of_text(put):
    _, out = bring(put, {"train.json": json.dumps({"ann": ["tea", "07"]})}, split="none")
    assert pairs_of(out) == [("ann", "tea"), ("ann", "07")]


def test_amazon(put):
    card, out = bring(put, AMAZON, split="time")
    assert card.kind == "amazon"
    assert card.columns == {"user": "reviewerID", "item": "asin", "time": "unixReviewTime", "rating": "overall"}
    frame = pl.read_parquet(out / "interactions.parquet")
    assert frame.select("user", "item", "time", "rating").rows() == [
        (r["reviewerID"], r["asin"], r["unixReviewTime"], r["overall"]) for r in REVIEWS
    ]
    items = pl.read_parquet(out / "items.parquet").rows(named=True)
    assert [row["item"] for row in items] == [A2, A1, A3]
    assert items[0] == {
        "item": A2,
        "title": "Tea 'n' more",
        "text": "Hot.\\d",
        "brand": None,
        "category": ["Baby", "Cups", "Gifts"],
        "price": 3.5,
        "picture": "http://x/1.jpg",
    }
    assert (items[1]["brand"], items[1]["category"], items[1]["price"]) == ("Acme", ["Baby"], None)
    feature = np.load(out / "image_feat.npy")
    assert feature.shape == (3, 4096)
    assert feature.dtype == np.float32
    assert feature[:, 0].tolist() == feature[:, -1].tolist() == [0, 1, 3]
    assert card.features[0].missing == 1


def test_amazon_metadata_as_json_too(put):
    files = {**AMAZON, "meta_Baby.json.gz": lines({"asin": A1, "title": "It's", "price": True, "categories": None})}
    _, out = bring(put, files)
    items = pl.read_parquet(out / "items.parquet")
    assert items.filter(pl.col("item") == A1).select("title", "category").rows() == [("It's", None)]


def test_amazon_items_that_nobody_reviewed_may_stay(put):
    files = {**AMAZON, "meta_Baby.json.gz": gzip.compress(f"{{'asin': '{A1}'}}\n{{'asin': 'B999999999'}}\n".encode())}
    _, out = bring(put, files, unused_items="keep")
    assert pl.read_parquet(out / "items.parquet")["item"].to_list() == [A1, "B999999999", A2, A3]
    assert np.load(out / "image_feat.npy")[:, 0].tolist() == [1, 9, 0, 3]


def test_amazon_reads_images_in_parts(put, monkeypatch):
    from crossrec.data.importers import amazon

    monkeypatch.setattr(amazon, "BATCH", 1)
    _, out = bring(put, AMAZON)
    assert np.load(out / "image_feat.npy")[:, 7].tolist() == [0, 1, 3]
    assert pl.read_parquet(out / "items.parquet")["title"].to_list() == ["Tea 'n' more", None, None]


def test_the_kind_can_be_chosen_in_a_mixed_folder(put):
    card, out = bring(put, {**MMREC, "train.json": LISTS["train.json"]}, kind="json", split="none")
    assert card.kind == "json"
    assert "shop.inter" in card.ignored
    assert len(pairs_of(out)) == 5


BESIDE = {
    "a.csv": ({"a.csv": csv(header="user,item"), "b.csv": "x\n"}, ["items.csv", "users.csv"]),
    "shop.inter": (MMREC, ["text_feat.npy"]),
    "ml.inter": (ATOMIC, ["ml.item", "ml.user"]),
    "test.json": (LISTS, ["image_feat.npy", "train.json", "val.json"]),
    "reviews_Baby_5.json.gz": (AMAZON, ["image_features_Baby.b", "meta_Baby.json.gz"]),
}


@pytest.mark.parametrize("name", BESIDE)
def test_a_file_brings_what_belongs_to_it(name, put, tmp_path):
    files, beside = BESIDE[name]
    tables = {"items.csv": "item\n" + "\n".join({item for _, item in PAIRS}), "users.csv": "user,x\nann,1\n"}
    strangers = {"ml2.item": "", "meta_Toys.json.gz": "", "zzz.csv": "user,item\n1,2\n"}
    folder = put({**files, **tables, **strangers})
    card = import_data(folder / name, tmp_path / "out", ImportConfig(split="none"))
    assert sorted(file.name for file in card.source) == sorted([name, *beside])


def test_a_table_of_items_in_the_folder_is_no_part_of_the_log(put, monkeypatch):
    folder = put({"log.csv": csv(), "products.csv": "sku,title\nrye,Rye\n"})
    monkeypatch.chdir(folder)
    import_data(folder, folder.parent / "out", ImportConfig(**SKU, items=Path("products.csv")))
    assert pl.read_parquet(folder.parent / "out" / "items.parquet")["title"].to_list() == ["Rye", None, None, None]


def test_unused_columns_can_be_left_out(put):
    _, out = bring(
        put, {"a.csv": "user,item,time,score\na,b,soon,good\n"}, time_column="", rating_column="", split="none"
    )
    assert pl.read_parquet(out / "interactions.parquet").columns == ["user", "item"]
