"""The size of chunks changes neither the rows of a text file nor the lines in error messages."""

from __future__ import annotations

import gzip

import polars as pl
import pytest

from crossrec.data.io import text_chunks
from crossrec.data.io.tables import open_table
from crossrec.errors import DataError

QUOTED = 'user,item,note\n"a","x","says ""no""\nand, again"\n\nb,y,\nc,"z\n",1\nd,w,\n'
PLAIN = "user\titem\tnote\na\tx\t\"\nb\ty\t'\nc\tz\t1\nd\tw\t\n"
LINES = '{"user": "a", "item": 1}\n\n{"item": 2, "user": "b"}\n{"user": "c", "item": 3, "note": "\\n"}\n'
FILES = {"a.csv": QUOTED, "a.inter": PLAIN, "a.jsonl": LINES, "b.csv": "user,item\n" + "u,i\n" * 40}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_every_chunk_size_gives_the_same_rows_and_locations(name, end, put, monkeypatch):
    text = FILES[name].replace("\n", end) if name != "a.csv" else FILES[name]
    path = put({name: text}) / name
    table = open_table(path)
    frame, blank = table.read(table.columns), table.blank_rows()
    locations = [table.location(row) for row in range(frame.height)]
    header = 1 if name == "a.jsonl" else text.index("\n") + 1  # which must be within the first chunk
    for size in range(header, len(text) + 2):
        monkeypatch.setattr(text_chunks, "CHUNK_BYTES", size)
        blocks = list(table.blocks(table.columns))
        assert pl.concat([block.frame for block in blocks]).equals(frame)
        assert [block.location(row) for block in blocks for row in range(block.frame.height)] == locations
        starts = [sum(block.frame.height for block in blocks[:n]) for n in range(len(blocks))]
        blank_rows = [start + row for start, block in zip(starts, blocks, strict=True) for row in block.blank_rows()]
        assert blank_rows == blank
        assert blocks[-1].bytes_read == path.stat().st_size


def test_the_rows_of_a_quoted_file_are_these(put):
    table = open_table(put({"a.csv": QUOTED}) / "a.csv")
    frame = table.read(table.columns)
    assert frame["user"].to_list() == ["a", None, "b", "c", "d"]
    assert frame["note"].to_list() == ['says "no"\nand, again', None, None, "1", None]
    assert [table.location(row) for row in range(5)] == ["line 2", "line 4", "line 5", "line 6", "line 8"]


@pytest.mark.parametrize("name", FILES)
def test_compressed_files_are_read_like_others(name, put):
    folder = put({name: FILES[name], f"z{name}.gz": gzip.compress(FILES[name].encode())})
    plain, packed = open_table(folder / name), open_table(folder / f"z{name}.gz")
    assert packed.columns == plain.columns
    assert packed.read(packed.columns).equals(plain.read(plain.columns))


@pytest.mark.parametrize("size", [8, 20, 10**6])
@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a.csv", "u,i\n" + "a,b\n" * 9 + "a\n" + "a,b\n" * 9, "line 11: 1 fields where the header has 2"),
        ("a.csv", "u,i\n" + "a,b\n" * 9 + "a,b,c\n" + "a,b\n" * 9, "line 11: 3 fields where the header has 2"),
        ("a.csv", 'u,i\n"\n",b\n"x ""\n",y\na,\nb\n', "line 7: 1 fields where the header has 2"),
        ("a.jsonl", '{"u": 1}\n' * 9 + '{"u": 2\n' + '{"u": 1}\n' * 9, "line 10: not a JSON object"),
        ("a.tsv", b"u\ti\n" + b"a\tb\n" * 9 + b"a\t\xff\n", "line 11: not UTF-8 text"),
    ],
)
def test_an_error_names_its_line_for_any_chunk_size(name, text, expected, size, put, monkeypatch):
    path = put({name: text}) / name
    monkeypatch.setattr(text_chunks, "CHUNK_BYTES", size)
    monkeypatch.setattr(text_chunks, "HEADER_RECORDS", 2)
    with pytest.raises(DataError, match=expected):
        list(open_table(path).blocks(["u"]))


def test_an_unclosed_quote_is_an_error_after_the_longest_record(put, monkeypatch):
    monkeypatch.setattr(text_chunks, "CHUNK_BYTES", 64)
    monkeypatch.setattr(text_chunks, "MAX_RECORD_BYTES", 1000)
    path = put({"a.csv": 'user,item\na,b\nc,"d\n' + "e,f\n" * 1000}) / "a.csv"
    table = open_table(path)
    with pytest.raises(DataError, match=r"a.csv, line 3: a row that does not end within"):
        list(table.blocks(table.columns))


def test_a_truncated_compressed_file(put):
    packed = gzip.compress(("user,item\n" + "".join(f"u{n * n},i{n}\n" for n in range(20_000))).encode())
    path = put({"a.csv.gz": packed[:-1000]}) / "a.csv.gz"
    with pytest.raises(DataError, match=r"a.csv.gz: truncated or damaged .*; get the file again"):
        open_table(path).read(["user"])
    path.write_bytes(b"user,item\na,b\n")
    with pytest.raises(
        DataError, match=r"a.csv.gz: not compressed by gzip, as .gz says; rename it to a.csv, or get it again"
    ):
        open_table(path)
