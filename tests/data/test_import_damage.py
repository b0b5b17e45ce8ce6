"""Every kind of source, damaged by hand: what is message, in one line, and that nothing is left."""

from __future__ import annotations

import gzip
import json
from typing import Any

import polars as pl
import pytest
from tests.data.sources import A1, A2, AMAZON, ATOMIC, EYE, FRAME, LISTS, META, MMREC, REVIEWS, SKU, csv, image, lines

from crossrec.data import ImportConfig, import_data
from crossrec.errors import ConfigError, CrossrecError


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
        "/a.csv, line 3: time 'soon' is no time; use numbers,",
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
    "parquet cut short": (
        {"a.parquet": FRAME, "b.parquet": b"PAR1 and no more"},
        {},
        "/b.parquet: cannot be read as P",
    ),
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
        "no.csv: no such file; check the path",
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
def test_damage_is_one_line_and_leaves_nothing(case, put):
    files, rules, message = DAMAGED[case]
    folder = put(files)
    with pytest.raises(CrossrecError) as caught:
        import_data(folder, folder.parent / "below" / "out", ImportConfig(**rules))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert [path.name for path in folder.parent.iterdir()] == ["set"]


def test_a_missing_source(put, tmp_path):
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
