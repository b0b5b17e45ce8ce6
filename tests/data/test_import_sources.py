"""Every kind of source, written by hand and damaged by hand: what comes out, and what is told."""

from __future__ import annotations

import gzip
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from crossrec.data import DataConfig, ImportConfig, import_data, load, validate
from crossrec.errors import ConfigError, CrossrecError

PAIRS = [("ann", "tea"), ("ann", "oil"), ("ann", "rye"), ("bob", "tea"), ("bob", "rye"), ("bob", "fig")]
EYE = np.arange(12, dtype=np.float32).reshape(4, 3) + 1


def npy(matrix: Any) -> bytes:
    import io

    buffer = io.BytesIO()
    np.save(buffer, np.asarray(matrix))
    return buffer.getvalue()


def review(user: str, item: str, rating: float, time: int) -> dict[str, Any]:
    return {"reviewerID": user, "asin": item, "overall": rating, "unixReviewTime": time, "helpful": [0, 1]}


def lines(*records: Any) -> bytes:
    return gzip.compress(b"".join(json.dumps(record).encode() + b"\n" for record in records))


def image(item: str, value: float, columns: int = 4096) -> bytes:
    return item.encode() + struct.pack(f"<{columns}f", *([value] * columns))


A1, A2, A3 = "B000000001", "B000000002", "B00000000X"
REVIEWS = [review("u1", A1, 5, 10), review("u1", A2, 4, 11), review("u2", A1, 3, 12), review("u2", A3, 1, 13)]
META = (
    f"{{'asin': '{A2}', 'title': 'Tea \\'n\\' more', 'categories': [['Baby', 'Cups'], ['Baby', 'Gifts']], "
    "'price': 3.5, 'imUrl': 'http://x/1.jpg', 'related': {'also_bought': ['B00']}, 'description': 'Hot.\\d'}\n"
    "{'asin': 'B999999999', 'title': broken}\n"
    f"{{'categories': [['Baby']], 'brand': 'Acme', 'asin': '{A1}', 'price': None}}\n"
)
AMAZON = {
    "reviews_Baby_5.json.gz": lines(*REVIEWS),
    "meta_Baby.json.gz": gzip.compress(META.encode()),
    "image_features_Baby.b": image(A3, 3.0) + image("B999999999", 9.0) + image(A1, 1.0),
}
LISTS = {
    "train.json": json.dumps({"0": [2, 0, 1], "1": [0, 3], "2": []}),
    "val.json": json.dumps({"0": [3], "1": []}),
    "test.json": json.dumps({"1": [1]}),
    "image_feat.npy": npy(EYE),
}
ATOMIC = {
    "ml.inter": "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
    "u1\ta\t5\t10\nu1\tb\t4\t11\nu2\ta\t3\t12\nu2\tc\t2\t9\n",
    "ml.item": "item_id:token\tmovie_title:token_seq\tgenre:token_seq\tyear:float\tvector:float_seq\n"
    'c\tThe "C\n\tb\tB sides\tDrama Sci-Fi\t1999\t1 2\na\tA\tDrama\t\t3 4\nz\tNever seen\t\t2000\t\n'.replace(
        "\n\tb", "\t\t\t\nb"
    ),
    "ml.user": "user_id:token\tage:float\nu2\t31\nu1\t30\nu9\t99\n",
}
MMREC = {
    "shop.inter": "userID\titemID\tx_label\n0\t0\t0\n0\t1\t1\n1\t2\t0\n1\t3\t2\n1\t0\t0\n",
    "text_feat.npy": npy(EYE.astype(np.float16)),
}


def csv(pairs: list[tuple[str, ...]] = PAIRS, header: str = "customer_id,sku") -> str:
    return header + "\n" + "".join(",".join(pair) + "\n" for pair in pairs)


def pairs_of(folder: Path) -> list[tuple[Any, ...]]:
    return pl.read_parquet(folder / "interactions.parquet").select("user", "item").rows()


def bring(put: Any, files: dict[str, Any], **rules: Any) -> tuple[Any, Path]:
    """(card, folder) of files put into a folder and imported."""
    folder = put(files)
    out = folder.parent / "out"
    return import_data(folder, out, ImportConfig(**rules)), out


SKU = {"item_column": "sku"}
FRAME = pl.DataFrame(PAIRS, schema=["user", "item"], orient="row")
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
    [finding] = [found for found in validate(DataConfig(data=str(out))) if "no feature" in found.message]
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

    monkeypatch.setattr(amazon, "_AT", 1)
    _, out = bring(put, AMAZON)
    assert np.load(out / "image_feat.npy")[:, 7].tolist() == [0, 1, 3]
    assert pl.read_parquet(out / "items.parquet")["title"].to_list() == ["Tea 'n' more", None, None]


def broken(files: dict[str, Any], **changed: Any) -> dict[str, Any]:
    return {**files, **{name.replace("__", "."): content for name, content in changed.items()}}


BAD_META = META.splitlines(keepends=True)
DAMAGED: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "missing column": ({"a.csv": csv()}, {}, "/a.csv: no item column"),
    "misspelt column": ({"a.csv": csv()}, {"item_column": "sq"}, "/a.csv: no column 'sq'"),
    "rule without ratings": ({"a.csv": csv()}, {**SKU, "min_rating": 3}, "/a.csv: no rating column"),
    "split without times": ({"a.csv": csv()}, {**SKU, "split": "time"}, "/a.csv: no time column"),
    "no rows": ({"a.csv": "user,item\n"}, {}, "/a.csv: a header but no rows; add interactions"),
    "empty id": (
        {"a.csv": "user,item\na,b\n\na,\n"},
        {},
        "/a.csv, line 4: item is empty; fill the cell in or delete the row (or drop such rows: bad_rows drop)",
    ),
    "empty id in parquet": (
        {"a.parquet": pl.DataFrame({"user": ["a", None], "item": [1, 2]})},
        {},
        "/a.parquet, row 2: user is empty",
    ),
    "empty id in json lines": (
        {"a.jsonl": '{"user": 1, "item": 2}\n\n{"item": 3}\n'},
        {},
        "/a.jsonl, line 3: user is em",
    ),
    "ids of lists": (
        {"a.parquet": pl.DataFrame({"user": [[1]], "item": [1]})},
        {},
        "/a.parquet: column 'user' holds List",
    ),
    "rating": (
        {"a.csv": "user,item,rating\na,b,5\na,c,good\n"},
        {},
        "/a.csv, line 3: rating 'good' is no number; mend it, or leave ratings out with an empty rating_column",
    ),
    "infinite rating": ({"a.csv": "user,item,rating\na,b,inf\n"}, {}, "/a.csv, line 2: rating 'inf' is no number"),
    "rating of another type": (
        {"a.parquet": pl.DataFrame({"user": [1], "item": [1], "score": [True]})},
        {},
        "/a.parquet, row 1: score 'True' is no number",
    ),
    "time": (
        {"a.csv": "user,item,time\na,b,5\na,c,soon\n"},
        {},
        "/a.csv, line 3: time 'soon' is no time; use numbers or",
    ),
    "time of another kind": (
        {"a.csv": "user,item,time\na,b,5\n", "b.csv": "user,item,time\na,c,2024-05-31\n"},
        {},
        "/b.csv, line 2: time '2024-05-31' is no time",
    ),
    "label": ({"a.csv": "user,item,split\na,b,0\na,c,9\n"}, {}, "/a.csv, line 3: split '9' is no split; use 0, 1, 2"),
    "nothing readable": (
        {"a.csv": "user,item,time\na,b,x\na,,3\n"},
        {"bad_rows": "drop"},
        "/a.csv: bad_rows drop leaves none of 2 rows (1 × item is empty, 1 × time cannot be read); mend the file",
    ),
    "line of a part": (
        {"a.csv": csv(), "b.csv": csv() + "x\n"},
        SKU,
        "/b.csv, line 8: 1 fields where the header has 2",
    ),
    "json line": ({"a.jsonl": '{"user": 1, "item": 2}\n{"user": 1\n'}, {}, "/a.jsonl, line 2: not a JSON object"),
    "compressed part": (
        {"a.csv.gz": gzip.compress(csv().encode())[:-12]},
        SKU,
        "/a.csv.gz: truncated or damaged",
    ),
    "parquet cut short": ({"a.parquet": FRAME, "b.parquet": b"PAR1 and no more"}, {}, "/b.parquet: cannot be read ("),
    "other letters": (
        {"a.csv": csv().encode() + b"\xe9,tea\n"},
        SKU,
        "/a.csv, line 8: not UTF-8 text; save the file as",
    ),
    "parts of several kinds": (
        {"a.csv": csv(), "b.tsv": csv().replace(",", "\t")},
        SKU,
        "/b.tsv: another kind of file",
    ),
    "parts of other columns": (
        {"a.csv": csv(), "b.csv": csv(header="customer_id,sk")},
        SKU,
        "/b.csv: no column 'sku', which a.csv has; did you mean 'sk'?; rename it, or name the files to read",
    ),
    "parts of other types": (
        {"a.parquet": FRAME, "b.parquet": pl.DataFrame({"user": [1], "item": ["tea"]})},
        {},
        "/b.parquet: column 'user' holds Int64 here and String in the files before; give it one type in all files",
    ),
    "two tables of items": (
        {"a.csv": csv(), "items.csv": "sku\ntea\n", "items.tsv": "sku\ntea\n"},
        SKU,
        "more than one table of items (items.csv, items.tsv); name the files to read",
    ),
    "items that are not there": (
        {"a.csv": csv()},
        {**SKU, "items": "no.csv"},
        "no.csv: no such file; give a table of items",
    ),
    "repeated item": ({"a.csv": csv(), "items.csv": "sku\ntea\ntea\n"}, SKU, "/items.csv, line 3: sku repeats an id"),
    "too few features": (
        {"a.csv": csv(), "items.csv": "sku\ntea\nrye\n", "image_feat.npy": EYE},
        SKU,
        "/image_feat.npy: 4 rows, but items.csv lists 2 items; one row an item",
    ),
    "features without a list": (
        {"a.csv": csv(), "image_feat.npy": EYE},
        SKU,
        "/a.csv, line 2: sku 'tea' has no row in image_feat.npy, which has 4 (0 to 3); add the row, or items.csv",
    ),
    "features that differ": (
        broken(MMREC, image_feat__npy=EYE[:3]),
        {},
        "feature files have different numbers of rows (image_feat.npy 3, text_feat.npy 4); one row an item",
    ),
    "an item beyond the features": (
        broken(MMREC, shop__inter=MMREC["shop.inter"] + "0\t4\t0\n"),
        {},
        "/shop.inter, line 7: itemID '4' has no row in text_feat.npy, which has 4 (0 to 3)",
    ),
    "damaged features": (
        broken(MMREC, text_feat__npy=MMREC["text_feat.npy"][:-3]),
        {},
        "/text_feat.npy: truncated or damaged",
    ),
    "modality of a bad name": (
        broken(MMREC, id_feat__npy=EYE),
        {},
        "/id_feat.npy: 'id' names a model's own vectors; rename the",
    ),
    "two mmrec logs": (
        broken(MMREC, b__inter=MMREC["shop.inter"]),
        {},
        "more than one .inter file (b.inter, shop.inter)",
    ),
    "mmrec without a log": ({"text_feat.npy": EYE}, {"kind": "mmrec"}, ": no .inter file; an MMRec folder has one"),
    "atomic without types": (
        broken(ATOMIC, ml__item="item_id\ttitle:token_seq\na\tA\n"),
        {},
        "/ml.item, line 1: column 'item_id' has no type; write name:type, of token, token_seq, float, float_seq",
    ),
    "atomic name twice": (
        broken(ATOMIC, ml__user="user_id:token\tage:float\tage:token\nu1\t3\t3\n"),
        {},
        "/ml.user, line 1: columns 'age:float' and 'age:token' have one name; rename one",
    ),
    "atomic number": (
        broken(ATOMIC, ml__item="item_id:token\tyear:float\na\tnow\n"),
        {},
        "/ml.item: item a: year:float 'now' is no number; mend it",
    ),
    "two atomic logs": (
        broken(ATOMIC, b__inter=ATOMIC["ml.inter"]),
        {},
        "more than one .inter file (b.inter, ml.inter)",
    ),
    "atomic rating": (
        broken(ATOMIC, ml__inter=ATOMIC["ml.inter"] + "u1\tc\t-\t1\n"),
        {},
        "/ml.inter, line 6: rating:float '-'",
    ),
    "lists cut short": (
        broken(LISTS, train__json='{"0": [1, 2],\n "1": [0'),
        {},
        "/train.json, line 2, column 9: not JSON (",
    ),
    "lists that are none": (broken(LISTS, val__json='{"0": {"1": 2}}'), {}, "/val.json, user '0': not a list of items"),
    "lists of nothing known": (broken(LISTS, val__json='{"0": [1.5]}'), {}, "/val.json, user '0': not a list of items"),
    "a list of lists": (broken(LISTS, val__json="[[1, [2]]]"), {}, "/val.json: not a JSON object; it maps users to"),
    "lists of numbers and text": (
        broken(LISTS, train__json='{"0": [1], "7": ["a"]}'),
        {},
        "/train.json, user '7': items are numbers in one place and text in another; write one kind",
    ),
    "lists nested without end": (broken(LISTS, val__json="[" * 100_000), {}, "/val.json: nested too deeply"),
    "lists without train": ({"test.json": "{}"}, {}, ": no train.json of user → list of items"),
    "two validation lists": (broken(LISTS, valid__json="{}"), {}, "/valid.json: val.json is the valid split already"),
    "an item beyond the features of lists": (
        broken(LISTS, test__json='{"0": [0], "5": [4]}'),
        {},
        "/test.json, user '5': item '4' has no row in image_feat.npy, which has 4 (0 to 3)",
    ),
    "lists without a row": ({"train.json": "{}"}, {}, "/train.json: a header but no rows"),
    "reviews cut short": (
        broken(AMAZON, reviews_Baby_5__json__gz=AMAZON["reviews_Baby_5.json.gz"][:-20]),
        {},
        "/reviews_Baby_5.json.gz: truncated or damaged (",
    ),
    "a review that is none": (
        broken(AMAZON, reviews_Baby_5__json__gz=gzip.compress(json.dumps(REVIEWS[0]).encode() + b"\n{'asin': 3}\n")),
        {},
        "/reviews_Baby_5.json.gz, line 2: not a JSON object; write one {...} a line",
    ),
    "a review without an item": (
        broken(
            AMAZON, reviews_Baby_5__json__gz=lines(REVIEWS[0], {"reviewerID": "u9", "overall": 1, "unixReviewTime": 1})
        ),
        {},
        "/reviews_Baby_5.json.gz, line 2: asin is empty",
    ),
    "no reviews": (
        {"meta_Baby.json.gz": AMAZON["meta_Baby.json.gz"]},
        {},
        ": no reviews_*.json.gz; the metadata alone",
    ),
    "two reviews": (
        broken(AMAZON, reviews_Baby__json__gz=AMAZON["reviews_Baby_5.json.gz"]),
        {},
        "more than one reviews_*.json.gz (reviews_Baby.json.gz, reviews_Baby_5.json.gz); name the files to read",
    ),
    "metadata cut short": (
        broken(AMAZON, meta_Baby__json__gz=AMAZON["meta_Baby.json.gz"][:-20]),
        {},
        "/meta_Baby.json.gz: truncated or damaged (",
    ),
    "broken literal": (
        broken(AMAZON, meta_Baby__json__gz=gzip.compress((BAD_META[0] + BAD_META[2][:30] + "\n").encode())),
        {},
        "/meta_Baby.json.gz, line 2: not a Python literal (unterminated string literal); mend or delete the line",
    ),
    "code instead of a literal": (
        broken(AMAZON, meta_Baby__json__gz=gzip.compress(b"{'asin': __import__('os').getcwd()}\n")),
        {},
        "/meta_Baby.json.gz, line 1: not a Python literal (malformed node or string",
    ),
    "a literal without end": (
        broken(AMAZON, meta_Baby__json__gz=gzip.compress(b"(" * 50_000 + b"\n")),
        {},
        "/meta_Baby.json.gz, line 1: not a Python literal (",
    ),
    "a literal that is no dict": (
        broken(AMAZON, meta_Baby__json__gz=gzip.compress(b"['asin']\n")),
        {},
        "/meta_Baby.json.gz, line 1: no dict with 'asin'",
    ),
    "bytes in the metadata": (
        broken(AMAZON, meta_Baby__json__gz=gzip.compress(b"{'title': '\xff'}\n")),
        {},
        "/meta_Baby.json.gz, line 1: not UTF-8 text",
    ),
    "images cut short": (
        broken(AMAZON, image_features_Baby__b=AMAZON["image_features_Baby.b"][:-100]),
        {},
        "/image_features_Baby.b, byte 32788: cut short after 2 items (16,294 of 16,394 bytes of the next one)",
    ),
    "images shifted": (
        broken(AMAZON, image_features_Baby__b=image(A1, 1.0) + b"\0\0" + image(A2, 2.0)[:-2]),
        {},
        "/image_features_Baby.b, byte 16394: b'\\x00\\x00B0000000' is no item id",
    ),
    "an image of nan": (
        broken(AMAZON, image_features_Baby__b=image(A2, 1.0) + image(A1, float("nan"))),
        {},
        f"/image_features_Baby.b, byte 16394: item {A1} has a feature that is no finite number",
    ),
    "mixed folder": (
        {**MMREC, "train.json": LISTS["train.json"]},
        {},
        ": files of several kinds, shop.inter (mmrec), train.json (json); name the files to read, or choose a kind",
    ),
    "unknown source": (
        {"a.docx": "", "b.zip": ""},
        {},
        ": no data of a known kind (a.docx, b.zip); known are tables (",
    ),
    "only a table of items": ({"items.csv": "sku\ntea\n"}, {}, ": no data of a known kind (items.csv)"),
    "empty folder": ({}, {}, ": no files there; known are tables ("),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_damage_is_told_in_one_line_and_leaves_nothing(case, put):
    files, rules, told = DAMAGED[case]
    folder = put(files)
    with pytest.raises(CrossrecError) as caught:
        import_data(folder, folder.parent / "below" / "out", ImportConfig(**rules))
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)
    assert [path.name for path in folder.parent.iterdir()] == ["set"]


def test_the_kind_can_be_chosen_in_a_mixed_folder(put):
    card, out = bring(put, {**MMREC, "train.json": LISTS["train.json"]}, kind="json", split="none")
    assert card.kind == "json"
    assert "shop.inter" in card.ignored
    assert len(pairs_of(out)) == 5


def test_a_source_that_is_not_there(put, tmp_path):
    folder = put({"visits.csv": csv()})
    with pytest.raises(CrossrecError, match=r"vists.csv: no such file or folder; did you mean 'visits.csv'"):
        import_data(folder / "vists.csv", tmp_path / "out")
    with pytest.raises(CrossrecError, match="nowhere/at/all: no such file or folder; check the path"):
        import_data("nowhere/at/all", tmp_path / "out")


@pytest.mark.parametrize(
    "rules",
    [{"min_rating": 3}, {"since": "3"}, {"split": "time"}, {"time_column": "t"}, {"rating_column": "r"}],
    ids=str,
)
def test_lists_have_neither_times_nor_ratings(rules, put):
    folder = put(LISTS)
    with pytest.raises(ConfigError, match="lists of items have no"):
        import_data(folder, folder.parent / "out", ImportConfig(**rules))


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
