"""Every error in the data is one line that names the file, the line and the fix; nothing is ignored silently."""

from __future__ import annotations

import gzip
import io
import pickle
import re
from typing import Any

import numpy as np
import polars as pl
import pytest

from crossrec.data import DataConfig, ImportConfig, import_data, load, validate
from crossrec.errors import DataError

INTER = "userID\titemID\tx_label\n0\t0\t0\n0\t1\t0\n1\t0\t0\n1\t1\t1\n1\t2\t2\n"
ROW_INDEX = "is not a row index 0, 1, 2, …; renumber the ids, or save the table as .csv, where ids may be anything"
LOST = ": truncated or damaged; write it again with numpy.save"


def npy(array: np.ndarray) -> bytes:
    """The bytes numpy.save writes, pickles included."""
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def parquet(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()


def spoilt(row: int, column: int, value: float) -> np.ndarray:
    matrix = np.eye(3)
    matrix[row, column] = value
    return matrix


class Bomb:
    """Unpickling this is noticed."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (pytest.fail, ("a feature file was unpickled",))


TABLES: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "wrong separator .inter": (
        {"a.inter": INTER.replace("\t", ",")},
        {},
        "/a.inter, line 1: the header is separated by commas, a .inter file is by tabs; change the separators",
    ),
    "wrong separator .csv": (
        {"a.csv": INTER.replace("\t", ";")},
        {},
        "/a.csv, line 1: the header is separated by semicolons, a .csv file is by commas; "
        "change the separators or the ending",
    ),
    "missing column": (
        {"a.inter": INTER.replace("userID", "usr_ID")},
        {},
        "/a.inter: no user column; did you mean 'usr_ID'? (user_column names it)",
    ),
    "misspelt column": (
        {"a.inter": INTER},
        {"item_column": "itemid"},
        "/a.inter: no column 'itemid'; did you mean 'itemID'?",
    ),
    "misspelt column that the split does not need": (
        {"a.csv": "user,item,when\na,b,1\n"},
        {"time_column": "wen"},
        "/a.csv: no column 'wen'; did you mean 'when'?",
    ),
    "two candidates": (
        {"a.csv": "user,user_id,item\na,b,c\n"},
        {},
        "/a.csv: columns user, user_id could each be the user; choose with user_column",
    ),
    "repeated header": (
        {"a.csv": "user,item,item\na,b,c\n"},
        {},
        "/a.csv, line 1: column 'item' occurs 2 times; rename all but one",
    ),
    "empty file": ({"a.inter": ""}, {}, "/a.inter: the file is empty; it needs at least a user and an item column"),
    "blank file": ({"a.csv": "\n\n"}, {}, "/a.csv: the file is empty; it needs at least a user and an item column"),
    "header only": ({"a.inter": INTER[:21]}, {}, "/a.inter: a header but no rows; add interactions"),
    "empty parquet": (
        {"a.parquet": pl.DataFrame({"user": [], "item": []})},
        {},
        "/a.parquet: a header but no rows; add interactions",
    ),
    "text id": ({"a.inter": INTER + "x\t1\t0\n"}, {}, f"/a.inter, line 7: userID 'x' {ROW_INDEX}"),
    "fractional id": ({"a.inter": INTER + "3\t1.0\t0\n"}, {}, f"/a.inter, line 7: itemID '1.0' {ROW_INDEX}"),
    "negative id": ({"a.inter": INTER + "3\t-1\t0\n"}, {}, f"/a.inter, line 7: itemID '-1' {ROW_INDEX}"),
    "id beyond 64 bits": ({"a.inter": INTER + "9" * 30 + "\t0\t0\n"}, {}, f"line 7: userID '{'9' * 30}' {ROW_INDEX}"),
    "bad ids after blank lines": (
        {"a.inter": INTER + "\n\nx\t1\t0\ny\t1\t0\n"},
        {},
        f"/a.inter, line 9: userID 'x' {ROW_INDEX} (2 such rows)",
    ),
    "absurd id": (
        {"a.inter": INTER + "3000000\t1\t0\n"},
        {},
        "/a.inter, line 7: userID '3000000' is a row index far beyond the 3 users that occur: 3,000,001 rows, nearly "
        "all of them empty; number the ids anew with 'crossrec data import ",
    ),
    "label": (
        {"a.inter": INTER + "3\t1\t3\n"},
        {},
        "/a.inter, line 7: x_label '3' is no split; use 0, 1, 2 or train, valid, test",
    ),
    "label in parquet": (
        {"a.parquet": pl.DataFrame({"user": [1, 2], "item": [1, 2], "split": ["Train", "holdout"]})},
        {},
        "/a.parquet, row 2: split 'holdout' is no split; use 0, 1, 2 or train, valid, test",
    ),
    "missing label": ({"a.csv": "user,item,split\na,b,0\na,c,\n"}, {}, "/a.csv, line 3: split is empty; fill the cell"),
    "duplicate": (
        {"a.inter": INTER + "0\t1\t0\n"},
        {},
        "/a.inter, line 7: userID 0, itemID 1 is already on line 3; remove it, or set duplicates to drop",
    ),
    "duplicates across splits": (
        {"a.csv": "user,item,split\na,b,train\na,c,test\na,b,test\na,c,valid\n"},
        {},
        "/a.csv, line 4: user a, item b is already on line 2 (2 repeated rows in all); remove it",
    ),
    "short line": (
        {"a.inter": INTER + "1\t2\n"},
        {},
        "/a.inter, line 7: 2 fields where the header has 3; mend the line (columns are separated by tabs)",
    ),
    "long line": ({"a.inter": INTER + "1\t2\t2\t2\n"}, {}, "/a.inter, line 7: 4 fields where the header has 3"),
    "comma in an unread column": (
        {"a.csv": 'user,title,item,x\na,"ok, quoted\nline",b,1\na,Hello, world,b,1\n'},
        {},
        "/a.csv, line 4: 5 fields where the header has 4; mend the line (columns are separated by commas)",
    ),
    "short line in unread columns": (
        {"a.csv": "user,item,x,y\na,b,1,2\na,c,1\n"},
        {},
        "/a.csv, line 3: 3 fields where the header has 4",
    ),
    "open quote": (
        {"a.csv": 'user,item\nx,"y"\na,"b\nc,d\n'},
        {},
        "/a.csv, line 3: a quote opens here and is not closed at the end of its cell; close it",
    ),
    "open quote before other quotes": (
        {"a.csv": 'user,item\nx,"y""z"\na,"b ""c"" d\nc,"d"\n'},
        {},
        "/a.csv, line 3: a quote opens here and is not closed at the end of its cell",
    ),
    "text after a quote": ({"a.csv": 'user,item\n\na,"b" c\n'}, {}, "/a.csv, line 3: a quote opens here and is not"),
    "inch marks": (
        {"a.csv": 'user,item,title\na,b,"ok, 5"""\nc,d,27" screen\ne,f,28" screen\n'},
        {},
        "/a.csv, line 3: a quote inside a cell that is not in quotes; quote the cell and double the quotes inside: "
        '"27"" screen"',
    ),
    "quote after a blank": ({"a.tsv": 'user\titem\na\t "b"\n'}, {}, "/a.tsv, line 2: a quote inside a cell"),
    "open quote in the header": ({"a.csv": 'user,"item\na,b\n'}, {}, "/a.csv, line 1: a quote opens here and is"),
    "null id": (
        {"a.inter": INTER + "\t2\t2\n"},
        {},
        "/a.inter, line 7: userID is empty; fill the cell in or delete the row",
    ),
    "blank id": ({"a.csv": "user,item\na,b\nb, \nb,\n"}, {}, "/a.csv, line 3: item is empty; fill the cell in"),
    "null id in parquet": (
        {"a.parquet": pl.DataFrame({"user": ["a", None], "item": [1, 2]})},
        {},
        "/a.parquet, row 2: user is empty",
    ),
    "nan id in parquet": (
        {"a.parquet": pl.DataFrame({"user": [1.0, float("nan")], "item": [1, 2]})},
        {},
        "/a.parquet, row 2: user is empty",
    ),
    "null id in json lines": (
        {"a.jsonl": '\n{"user":1,"item":"a"}\n\n{"user":2,"item":null}\n{"user":2}\n'},
        {},
        "/a.jsonl, line 4: item is empty; fill the cell in or delete the row (2 such rows)",
    ),
    "nested id": (
        {"a.parquet": pl.DataFrame({"user": [["a"]], "item": [1]})},
        {},
        "/a.parquet: column 'user' holds List(String); ids are numbers or text",
    ),
    "not json": (
        {"a.jsonl": '{"user":1,"item":"a"}\n{"user":2,"item":\n'},
        {},
        "/a.jsonl, line 2: not a JSON object; write one {...} a line",
    ),
    "not json, late": (
        {"a.jsonl": "".join(f'{{"user":{row},"item":1}}\n' for row in range(200)) + "[]\n"},
        {},
        "/a.jsonl, line 201: not a JSON object",
    ),
    "json array": ({"a.jsonl": '[{"user":1,"item":"a"}]'}, {}, "/a.jsonl, line 1: not a JSON object"),
    "not parquet": ({"a.parquet": "user,item\n"}, {}, "/a.parquet: not a Parquet file; give it the ending of its"),
    "latin-1": ({"a.csv": b"user,item\na,b\n\xe9,c\n"}, {}, "/a.csv, line 3: not UTF-8 text; save the file as UTF-8"),
    "utf-16": (
        {"a.csv": "user,item\na,b\n".encode("utf-16")},
        {},
        "/a.csv, line 1: not UTF-8 text; save the file as UTF-8, e.g. with iconv -f UTF-16 -t UTF-8",
    ),
    "utf-16 without a mark": (
        {"a.csv": "user,item\na,b\n".encode("utf-16-le")},
        {},
        "/a.csv, line 1: a NUL byte, which no text has; save the file as UTF-8 text",
    ),
    "nul byte": ({"a.csv": 'user,item\r"a\n",b\r\r\nc\0,d\n'}, {}, "/a.csv, line 4: a NUL byte"),
    "nul byte in json lines": ({"a.jsonl": '{"user": 1, "item": 2}\n\0\n'}, {}, "/a.jsonl, line 2: a NUL byte"),
    "half of a surrogate pair": (
        {"a.jsonl": '{"user": 1, "item": "\\u00e9"}\n{"user": 2, "item": "\\ud800"}\n'},
        {},
        "/a.jsonl, line 2: a \\u… that stands for no character; mend it",
    ),
    "not a number in json lines": (
        {"a.jsonl": '{"user": 1, "item": 2}\n{"user": 2, "item": 3, "stars": NaN}\n'},
        {},
        "/a.jsonl, line 2: NaN is no value of JSON; write null or leave the key out",
    ),
    "infinity in json lines": (
        {"a.jsonl": '{"user": 1, "item": 2}\n' * 300 + '{"user": 2, "item": 3, "stars": -Infinity}\n'},
        {},
        "/a.jsonl, line 301: -Infinity is no value of JSON",
    ),
    "number beyond 64 bits in json lines": (
        {"a.jsonl": '{"user": 1, "item": 2}\n\n{"user": 2, "item": 3, "stars": 1e999}\n{"user": 2, "item": 4}\n'},
        {},
        "/a.jsonl, line 3: a number or text of this JSON is out of range; mend it",
    ),
    "zip archive": ({"a.csv": b"PK\x03\x04rest"}, {}, "/a.csv: not text but a zip archive (so is an Excel workbook);"),
    "parquet under another name": (
        {"a.csv": parquet(pl.DataFrame({"user": [1], "item": [2]}))},
        {},
        "/a.csv: not text but a Parquet file; let its name end in .parquet",
    ),
    "gzip twice": (
        {"a.csv.gz": gzip.compress(gzip.compress(b"user,item\na,b\n"))},
        {},
        "/a.csv.gz: not text but compressed with gzip twice",
    ),
    "arrow": ({"a.csv": b"ARROW1\0\0"}, {}, "/a.csv: not text but an Arrow file (Feather); write the table as Parquet"),
    "sqlite": ({"a.csv": b"SQLite format 3\0"}, {}, "/a.csv: not text but an SQLite database; export the table as CSV"),
    "pickle": ({"a.csv": b"\x80\x04\x95."}, {}, "/a.csv: not text but a pickle, which is not loaded"),
    "web page": ({"a.csv": "<!DOCTYPE html>\n"}, {}, "/a.csv: not text but a web page"),
    "pointer of git lfs": (
        {"a.csv": "version https://git-lfs.github.com/spec/v1\n"},
        {},
        "get the file itself, e.g. with",
    ),
    "json in csv": ({"a.csv": '[{"user": 1}]\n'}, {}, "/a.csv, line 1: JSON, not cells; write one object a line"),
    "encrypted parquet": ({"a.parquet": b"PARE....PARE"}, {}, "/a.parquet: encrypted Parquet, which is not read"),
    "bzip2": ({"a.csv": b"BZh91AY"}, {}, "/a.csv: not text but compressed with bzip2; unpack it with bunzip2, or"),
    "zipped parquet": ({"a.parquet.gz": b"?"}, {}, "/a.parquet.gz: Parquet is compressed already and not read from"),
    "double colons": (
        {"a.csv": "1::1193::5::978300760\n"},
        {},
        "/a.csv, line 1: the header is separated by double colons, a .csv file is by commas; replace them, e.g. with "
        "sed 's/::/,/g'",
    ),
    "blanks": (
        {"a.tsv": "user item rating\na b 5\n"},
        {},
        "/a.tsv, line 1: the header is separated by blanks, a .tsv file is by tabs; replace them, "
        r"e.g. with sed 's/ /\t/g'",
    ),
    "semicolons and decimal commas": (
        {"a.csv": "user;item;price,EUR\n"},
        {},
        "/a.csv, line 1: the header is separated by semicolons, a .csv file is by commas; change",
    ),
    "note for Excel": ({"a.csv": "sep=,\nuser,item\na,b\n"}, {}, "/a.csv, line 1: 'sep=' is a note for Excel, not the"),
    "comment": (
        {"a.csv": "# exported 2024-05-31, by Ann\nuser,item\na,b\n"},
        {},
        "/a.csv, line 1: a comment ('# exported 2024-05-31') where the header should be; delete the line",
    ),
    "no header": (
        {"a.csv": "ann,12,5\nbob,13,4\n"},
        {},
        "/a.csv, line 1: numbers where the names of columns should be ('ann, 12, 5'); add a header above the rows",
    ),
    "no header above text": (
        {"a.csv": "ann,tea\nbob,rye\n"},
        {"user_column": "ann"},
        "/a.csv: no item column; known: ann, tea (item_column names it); if its first line is a row, add a",
    ),
    "files of RecBole": (
        {"ml.inter": "user_id:token\titem_id:token\n1\t2\n"},
        {"user_column": "user_id:token", "item_column": "item_id:token"},
        "/ml.inter, line 1: columns with types ('user_id:token'), as in the files of RecBole; make a data folder of "
        "them: crossrec data import ",
    ),
    "no training rows": (
        {"a.inter": "userID\titemID\tx_label\n0\t0\t1\n0\t1\t2\n"},
        {},
        "/a.inter: no row has x_label train; label rows 0 or train",
    ),
    "no split column": (
        {"a.csv": "user,item,splt\na,b,0\n"},
        {"split": "given"},
        "/a.csv: no split column; did you mean 'splt'? (split_column names it)",
    ),
    "no time column": (
        {"a.csv": "user,item\na,b\n"},
        {"split": "time"},
        "/a.csv: no time column; known: item, user (time_column names it)",
    ),
    "bad times": (
        {"a.csv": "user,item,time\na,b,3\na,c,soon\na,d,\n"},
        {"split": "time"},
        "/a.csv, line 3: time 'soon' is no time; use numbers, ISO dates such as 2024-05-31T12:00:00, or --time-format "
        "(2 such rows)",
    ),
    "time of a wrong type": (
        {"a.parquet": pl.DataFrame({"user": [1], "item": [1], "time": [True]})},
        {"split": "leave_one_out"},
        "/a.parquet: column 'time' holds Boolean; times are numbers or dates",
    ),
    "no table": ({"notes.txt": ""}, {}, "/set: no interaction file; put NAME.inter or interactions{.parquet,"),
    "two .inter": (
        {"a.inter": INTER, "b.inter": INTER},
        {},
        "/set: more than one interaction file (a.inter, b.inter); name the file to use instead of the folder",
    ),
    "two tables": ({"a.csv": INTER, "b.tsv": INTER}, {}, "/set: more than one interaction file (a.csv, b.tsv)"),
}

FEATURES: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "nan": (
        {"image_feat.npy": spoilt(1, 2, np.nan)},
        {},
        "/image_feat.npy, row 1, column 2 (from 0): nan is not a finite 32-bit number; replace it, "
        "or make the row all zero if the item has no feature",
    ),
    "infinite": ({"image_feat.npy": spoilt(2, 0, -np.inf)}, {}, "row 2, column 0 (from 0): -inf is not a finite"),
    "beyond float32": ({"image_feat.npy": spoilt(0, 0, 1e300)}, {}, "row 0, column 0 (from 0): 1e+300 is not a finite"),
    "too few rows": (
        {"image_feat.npy": np.eye(2)},
        {},
        "/a.inter, line 6: itemID '2' has no row in image_feat.npy, which has 2 (0 to 1); add the row or renumber",
    ),
    "unequal rows": (
        {"image_feat.npy": np.eye(3), "text_feat.npy": np.eye(4)},
        {},
        "/set: feature files have different numbers of rows (image_feat.npy 3, text_feat.npy 4); one row an item",
    ),
    "object array": (
        {"image_feat.npy": npy(np.array([[Bomb()]] * 3, dtype=object))},
        {},
        "/image_feat.npy: holds pickled Python objects, which are not loaded; save numbers, e.g. float32",
    ),
    "pickle": (
        {"image_feat.npy": pickle.dumps(Bomb())},
        {},
        "/image_feat.npy: not a .npy file; write it with numpy.save",
    ),
    "lfs pointer": ({"image_feat.npy": "version https://git-lfs.github.com/spec/v1\n"}, {}, ": not a .npy file"),
    "empty": ({"image_feat.npy": b""}, {}, ": not a .npy file"),
    "truncated": ({"image_feat.npy": npy(np.eye(3))[:-1]}, {}, "/image_feat.npy" + LOST),
    "truncated header": ({"image_feat.npy": npy(np.eye(3))[:30]}, {}, "/image_feat.npy" + LOST),
    "hostile header": ({"image_feat.npy": npy(np.eye(3)).replace(b"(3, 3)", b"(-3,3)")}, {}, "/image_feat.npy" + LOST),
    "huge header": ({"image_feat.npy": npy(np.eye(3)).replace(b"(3, 3), }    ", b"(3, 99999), }")}, {}, LOST),
    "one dimension": ({"image_feat.npy": np.ones(3)}, {}, "has 1 dimensions (3,); save one row an item"),
    "three dimensions": (
        {"image_feat.npy": np.ones((3, 2, 2))},
        {},
        "has 3 dimensions (3, 2, 2); save one row an item",
    ),
    "complex": ({"image_feat.npy": np.ones((3, 2), complex)}, {}, "holds complex128; save numbers, e.g. float32"),
    "text": ({"image_feat.npy": np.full((3, 2), "a")}, {}, "holds <U1; save numbers, e.g. float32"),
    "no columns": ({"image_feat.npy": np.ones((3, 0))}, {}, "is empty, shape (3, 0)"),
    "unknown modality": (
        {"image_feat.npy": np.eye(3)},
        {"modalities": ("imgae",)},
        "/set: no modality 'imgae'; did you mean 'image'?",
    ),
    "no modality at all": ({}, {"modalities": ("text",)}, "no modality 'text'; it has no features, add text_feat.npy"),
    "reserved modality": (
        {"id_feat.npy": np.eye(3)},
        {},
        "/id_feat.npy: 'id' names a model's own vectors; rename the file",
    ),
    "dot in a modality": (
        {"resnet.50_feat.npy": np.eye(3)},
        {},
        "/resnet.50_feat.npy: a modality's name has no '.' and no '->'; rename the file",
    ),
}

LOG = {"log.csv": "user,item\na,b\na,c\n"}
ITEMS: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "text ids need an items file": (
        {**LOG, "image_feat.npy": np.eye(2)},
        {},
        "/image_feat.npy: nothing says which row is which item, as 'b' in log.csv is no row index; "
        "add items.csv beside it, listing the item ids in row order",
    ),
    "integer ids counted from one": (
        {"log.csv": "user,item\na,1\na,3\n", "image_feat.npy": np.eye(3)},
        {},
        "/log.csv, line 3: item '3' has no row in image_feat.npy, which has 3 (0 to 2); "
        "add the row, or items.csv listing the ids in row order",
    ),
    "negative integer ids": (
        {"log.csv": "user,item\na,-1\na,2\n", "image_feat.npy": np.eye(3)},
        {},
        "/log.csv, line 2: item '-1' has no row in image_feat.npy",
    ),
    "unlisted item": (
        {**LOG, "items.csv": "item\nx\nb\n"},
        {},
        "/log.csv, line 3: item 'c' is not in items.csv; add it there, or delete its rows here",
    ),
    "listed twice": (
        {**LOG, "items.csv": "item\nc\nb\nb\n"},
        {},
        "/items.csv, line 4: item repeats an id; list each once",
    ),
    "listed empty": (
        {**LOG, "items.csv": "item,x\nc,1\n,2\nb,1\n"},
        {},
        "/items.csv, line 3: item is empty; fill it in",
    ),
    "listed without a header": (
        {"log.csv": "user,item\na,17\na,18\n", "items.csv": "17\n18\n"},
        {},
        "/items.csv, line 1: numbers where the names of columns should be ('17'); add a header above the rows",
    ),
    "nothing listed": ({**LOG, "items.csv": "item\n"}, {}, "/items.csv: a header but no rows; list the item ids"),
    "no id column": ({**LOG, "items.csv": "name,price\nc,1\n"}, {}, "/items.csv: no item column; known: name, price"),
    "two items files": (
        {**LOG, "items.csv": "item\n", "items.tsv": "item\n"},
        {},
        "/set: more than one items file (items.csv, items.tsv); keep one of them",
    ),
    "other rows than listed": (
        {**LOG, "items.csv": "item\nc\nb\n", "image_feat.npy": np.eye(3)},
        {},
        "/image_feat.npy: 3 rows, but items.csv lists 2 items; one row an item",
    ),
}


def check(folder, settings, expected):
    config = DataConfig(data=str(folder), **settings)
    with pytest.raises(DataError) as caught:
        load(config)
    assert expected in str(caught.value)
    assert str(caught.value).startswith(str(folder))
    assert "\n" not in str(caught.value)
    assert [finding.message for finding in validate(config) if finding.kind == "error"] == [str(caught.value)]


@pytest.mark.parametrize(("files", "settings", "expected"), TABLES.values(), ids=TABLES)
def test_a_bad_table(put, files, settings, expected):
    check(put(files), settings, expected)


@pytest.mark.parametrize(("files", "settings", "expected"), FEATURES.values(), ids=FEATURES)
def test_bad_features(put, files, settings, expected):
    check(put({"a.inter": INTER, **files}), settings, expected)


@pytest.mark.parametrize(("files", "settings", "expected"), ITEMS.values(), ids=ITEMS)
def test_features_and_items_that_do_not_fit(put, files, settings, expected):
    check(put(files), settings, expected)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"data": "synthetik"}, "data 'synthetik': no such file or folder; did you mean 'synthetic'?"),
        (
            {"data": ""},
            "data '': no such file or folder; name a folder, an interaction file or a built-in set (synthetic,",
        ),
        ({"data": "no/where/at-all"}, "data 'no/where/at-all': no such file or folder; name a folder"),
        ({"split": "time"}, "data 'synthetic': has no column for split time; use split random or leave_one_out"),
        ({"split": "given"}, "data 'synthetic': has no column for split given; use split random or leave_one_out"),
        ({"user_column": "u"}, "data 'synthetic': a built-in set has no columns; leave user_column out"),
        ({"modalities": ("txt",)}, "data 'synthetic': no modality 'txt'; did you mean 'text'?"),
    ],
)
def test_a_bad_name_or_setting(settings, expected, monkeypatch, tmp_path):
    monkeypatch.delenv("CROSSREC_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError) as caught:
        load(DataConfig(**settings))
    assert str(caught.value).startswith(expected)


def test_an_unknown_kind_of_file(put):
    path = put({"log.xlsx": "?"}) / "log.xlsx"
    with pytest.raises(
        DataError, match=r"log.xlsx: not a known kind of interaction file; a workbook; save the table as CSV"
    ):
        load(DataConfig(data=str(path)))


def test_a_misspelt_folder_gets_the_nearest_one(put):
    with pytest.raises(DataError, match="did you mean 'set'"):
        load(DataConfig(data=f"{put({})}s"))


def test_validate_finds_problems_of_every_file_at_once_and_load_counts_them(put):
    files = {
        "a.inter": INTER + "x\t1.5\t9\n",
        "image_feat.npy": spoilt(0, 0, np.nan),
        "text_feat.npy": np.ones(3),
    }
    config = DataConfig(data=str(put(files)))
    messages = [finding.message for finding in validate(config)]
    for message, part in zip(
        messages, ["image_feat.npy, row 0", "text_feat.npy", "userID 'x'", "itemID '1.5'", "x_label '9'"], strict=True
    ):
        assert part in message
    with pytest.raises(DataError, match=r"image_feat.*\[and 4 more; 'crossrec data validate' lists them\]$"):
        load(config)


def test_duplicates_are_dropped_on_request_only_and_counted(put):
    config = DataConfig(data=str(put({"a.inter": INTER + "0\t1\t2\n1\t2\t0\n"})), duplicates="drop")
    dataset = load(config)
    assert dataset.dropped_duplicates == 2
    assert (len(dataset.train), len(dataset.valid), len(dataset.test)) == (3, 1, 1)
    assert (dataset.test.user_N.tolist(), dataset.test.item_N.tolist()) == ([1], [2])
    [finding] = validate(config)
    assert finding.kind == "warning"
    assert finding.message.endswith(
        "/a.inter, line 7: userID 0, itemID 1 is already on line 3 (2 repeated rows in all); dropped"
    )


def test_warnings_do_not_stop_load(put):
    files = {
        "a.inter": "userID\titemID\tx_label\n0\t0\t0\n1\t1\t1\n4\t2\t0\n",
        "image_feat.npy": np.diag([1.0, 0.0, 2.0]),
    }
    findings = validate(DataConfig(data=str(put(files))))
    assert {finding.kind for finding in findings} == {"warning"}
    untrained, untested, featureless = (finding.message for finding in findings)
    assert "/a.inter: 3 users have no training row (1, 2, 3); they are left out of evaluation" in untrained
    assert "/a.inter: no test rows" in untested
    assert "/image_feat.npy: 1 of 3 items have no feature (all-zero rows, first is row 1 from 0, item 1)" in featureless


def test_a_clean_set_has_no_findings(put):
    assert validate(DataConfig(data=str(put({"a.inter": INTER, "image_feat.npy": np.eye(3)})))) == []
    assert validate(DataConfig(data="synthetic-tiny")) == []


def test_files_that_seem_to_hold_features_and_are_not_read_are_told(put, caplog):
    folder = put({"a.inter": INTER, "image_feat.npz": b"PK", "Text_Features.PT": b"PK", "notes.npz": b"PK"})
    load(DataConfig(data=str(folder)))
    told = [record.message for record in caplog.records]
    assert [message.split(": not read; ")[0] for message in told] == [
        str(folder / name) for name in ("Text_Features.PT", "image_feat.npz")
    ]


@pytest.mark.parametrize("value", [1, 1e-42])
def test_features_that_are_the_same_for_all_items_are_told(put, value):
    same = np.full((3, 2), value, dtype=np.float32)
    same[2] = 0
    folder = put({"a.csv": "user,item\n0,0\n0,1\n0,2\n", "image_feat.npy": same})
    messages = [finding.message for finding in validate(DataConfig(data=str(folder)))]
    assert f"{folder}/image_feat.npy: all items have the same features, which say nothing about them" in messages


def test_bytes_behind_a_matrix_are_an_error(put):
    folder = put({"a.csv": "user,item\n0,0\n", "image_feat.npy": np.eye(3)})
    path = folder / "image_feat.npy"
    path.write_bytes(path.read_bytes().replace(b"(3, 3)", b"(2, 3)"))
    with pytest.raises(DataError, match=r"24 bytes more than a matrix of shape \(2, 3\) has"):
        load(DataConfig(data=str(folder)))


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("log.txt", "let its name end in .csv"),
        ("log.csv.zip", "an archive; unpack it, or compress it with gzip"),
        ("log.xlsx", "a workbook; save the table as CSV"),
        ("log.json.gz", "let its name end in .jsonl"),
        ("log.feather", "write the table as Parquet"),
        ("log.pkl", "may hold code and is not loaded"),
    ],
)
def test_files_of_other_kinds_say_what_to_do(put, name, hint):
    path = put({name: "user,item\na,b\n"}) / name
    for read in (lambda: load(DataConfig(data=str(path))), lambda: import_data(path, path.with_name("out"))):
        with pytest.raises(DataError, match=re.escape(hint)) as caught:
            read()
        assert str(caught.value).startswith(str(path))


def test_a_file_named_by_two_paths_is_imported_once(put):
    folder = put({"log.csv": "user,item,weight\na,x,2\na,y,1\n"})
    (folder / "link.csv").symlink_to("log.csv")
    rules = ImportConfig(weight_column="weight", split="none")
    import_data(
        [folder / "log.csv", folder / "link.csv", folder / ".." / folder.name / "log.csv"], folder / "out", rules
    )
    assert pl.read_parquet(folder / "out" / "interactions.parquet")["weight"].to_list() == [2, 1]
