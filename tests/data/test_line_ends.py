"""A text file gives each of its rows once, whatever ends its lines and wherever blank lines stand."""

from __future__ import annotations

import gzip
import json
import tempfile
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings, strategies as st

from crossrec.data import DataConfig, ImportConfig, import_data, load, validate
from crossrec.data.io import text_chunks
from crossrec.data.io.id_column import read_listing
from crossrec.data.io.tables import open_table
from crossrec.errors import DataError

ENDS = {"\n": 1, "\r\n": 1, "\r\r\n": 1, "\r": 1, "\n\r": 1, "\n\n": 2, "\r\n\r\n": 2, "\r\r\n\n": 2, "\r\r": 2}
"""End of a row → how many lines it ends."""
PLAIN = st.text(st.sampled_from("ab7 \u2028\u0085\x0b\x0cé'"), min_size=1, max_size=5).map(lambda text: f"x{text}x")
QUOTED = st.text(st.sampled_from('ab,"\n\r\t\u2028'), max_size=6)
ROWS = st.lists(st.tuples(PLAIN, PLAIN, QUOTED, st.sampled_from(list(ENDS))), min_size=1, max_size=12)


def quoted(cell: str) -> str:
    return '"' + cell.replace('"', '""') + '"'


def written(kind: str, rows: list[tuple[str, ...]], header_end: str) -> tuple[str, list[int]]:
    """(the file, the line of each row)"""
    sep = "\t" if kind in (".tsv", ".inter") else ","
    text, line, starts = sep.join(["user", "item", "note"]) + header_end, 2, []
    if kind == ".jsonl":
        text, line = "", 1
    for user, item, note, end in rows:
        starts.append(line)
        if kind == ".jsonl":
            record = json.dumps({"user": user, "item": item, "note": note}, ensure_ascii=False)
        else:
            record = sep.join([user, item, "n" if kind == ".inter" else quoted(note)])
        text += record + end
        line += record.count("\n") + ENDS[end]
    return text, starts


@pytest.mark.parametrize("kind", [".csv", ".tsv", ".inter", ".jsonl"])
@settings(max_examples=60, deadline=None)
@given(
    rows=ROWS,
    header_end=st.sampled_from(list(ENDS)),
    bom=st.booleans(),
    packed=st.booleans(),
    open_end=st.booleans(),
    size=st.integers(1, 80),
)
def test_all_rows_come_back_from_any_mix_of_line_ends(kind, rows, header_end, bom, packed, open_end, size):
    text, _ = written(kind, rows, header_end)
    content = (b"\xef\xbb\xbf" if bom else b"") + (text.rstrip("\r\n") if open_end else text).encode()
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        path = Path(folder) / f"log{kind}"
        path.write_bytes(gzip.compress(content) if packed else content)  # compressed, whatever the name says
        patch.setattr(text_chunks, "CHUNK_BYTES", size)
        patch.setattr(text_chunks, "HEADER_BYTES", size)
        table = open_table(path)
        frame = table.read(["user", "item", "note"])
        blank = set(table.blank_rows())
        assert table.bom is bom
    notes = ["n" if kind == ".inter" else row[2] for row in rows]
    expected = [(user, item, note) for (user, item, *_), note in zip(rows, notes, strict=True)]
    assert [row for number, row in enumerate(frame.rows()) if number not in blank] == expected


@settings(max_examples=60, deadline=None)
@given(
    rows=ROWS,
    size=st.integers(1, 80),
    data=st.data(),
)
def test_an_error_names_the_line_of_the_row_whatever_ends_the_lines_before(rows, size, data):
    bad = data.draw(st.integers(0, len(rows) - 1))
    text, starts = written(
        ".csv", [(user, "" if n == bad else i, *more) for n, (user, i, *more) in enumerate(rows)], "\n"
    )
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        path = Path(folder) / "log.csv"
        path.write_bytes(text.encode())
        patch.setattr(text_chunks, "CHUNK_BYTES", size)
        for read in (lambda: load(DataConfig(data=str(path))), lambda: import_data(path, Path(folder) / "out")):
            with pytest.raises(DataError, match=rf"log.csv, line {starts[bad]}: item is empty"):
                read()


BASE = [(f"u{user}", f"i{user * 5 % 7 + number}") for user in range(12) for number in range(6)]


CHANGES = {
    "one empty line and two odd ends": lambda lines: [
        line[:-1] + "\r\r\n" if number in (8, 9) else line + "\n" * (number == 2) for number, line in enumerate(lines)
    ],
    "all ends doubled": lambda lines: [line[:-1] + "\r\r\n" for line in lines],
    "carriage returns alone": lambda lines: [line[:-1] + "\r" for line in lines],
    "the other way round": lambda lines: [line[:-1] + "\n\r" for line in lines],
    "no end": lambda lines: [*lines[:-1], lines[-1][:-1]],
    "blank lines at the end": lambda lines: [*lines, "\n\r\n\r\r"],
}


@pytest.mark.parametrize("change", CHANGES)
def test_every_reader_counts_the_same_rows(change, put):
    tables = {
        "interactions.csv": ["user,item\n", *(f"{user},{item}\n" for user, item in BASE)],
        "items.csv": ["item\n", *dict.fromkeys(f"{item}\n" for _, item in BASE)],
    }
    folder = put({name: "".join(CHANGES[change](lines)) for name, lines in tables.items()})
    config = DataConfig(data=str(folder))
    assert validate(config) == []
    dataset = load(config)
    users, items = dataset.user_ids.to_list(), dataset.item_ids.to_list()
    pairs = {
        (users[user], items[item])
        for part in (dataset.train, dataset.valid, dataset.test)
        for user, item in zip(part.user_N, part.item_N, strict=True)
    }
    assert pairs == set(BASE)
    assert read_listing(open_table(folder / "items.csv")).ids.to_list() == items
    for bad_rows in ("error", "drop"):
        card = import_data(folder, folder.parent / bad_rows, ImportConfig(bad_rows=bad_rows))
        assert [(step.what, step.interactions) for step in card.steps] == [("read", 72)]
        rows = pl.read_parquet(folder.parent / bad_rows / "interactions.parquet").select("user", "item").rows()
        assert rows == BASE


def test_rows_read_and_dropped_are_the_rows_of_the_file(put):
    text = 'user,item,rating\na,x,1\r\r\n\nb,y\nc,,3\r"d, e",x,4,5\n   \nf,z,no\ng,"y\n\nz",2\r\n'
    folder = put({"log.csv": text})
    with pytest.raises(DataError, match=r"log.csv, line 4: 2 fields where the header has 3"):
        import_data(folder, folder.parent / "out")
    card = import_data(folder, folder.parent / "out", ImportConfig(bad_rows="drop", split="none"))
    assert [(step.what, step.interactions) for step in card.steps] == [("read", 7), ("unusable rows", 2)]
    assert card.steps[1].rule == "3 × line of a wrong form, 1 × item is empty, 1 × rating cannot be read"
    frame = pl.read_parquet(folder.parent / "out" / "interactions.parquet")
    assert frame.rows() == [("a", "x", 1.0), ("g", "y\n\nz", 2.0)]


def test_json_lines_of_a_wrong_form_are_dropped_and_counted(put):
    text = '{"user": 1, "item": 2}\r{"user": NaN, "item": 3}\n[]\n\n{"user": 4, "item": 5}\n{"user": 1'
    folder = put({"log.jsonl": text})
    card = import_data(folder, folder.parent / "out", ImportConfig(bad_rows="drop", split="none"))
    assert card.steps[0].interactions == 5
    assert card.steps[1].rule == "3 × line of a wrong form"
    assert pl.read_parquet(folder.parent / "out" / "interactions.parquet").rows() == [(1, 2), (4, 5)]


@pytest.mark.parametrize("end", ENDS)
def test_files_of_recbole_and_lists_of_users(end, put):
    files = {
        "ml.inter": 'user_id:token\titem_id:token\nu1\ta"\nu1\tb\nu2\ta"\n',
        "ml.item": 'item_id:token\tname:token_seq\nb\tBig b\na"\tSmall a\n',
        "ml.user": "user_id:token\tage:float\nu2\t31\nu1\t30\n",
    }
    folder = put({name: text.replace("\n", end) for name, text in files.items()})
    card = import_data(folder, folder.parent / "out")
    assert card.steps[0].interactions == 3
    tables = {name: pl.read_parquet(folder.parent / "out" / f"{name}.parquet") for name in ("items", "users")}
    assert tables["items"].rows() == [("b", "Big b"), ('a"', "Small a")]
    assert tables["users"].rows() == [("u1", 30.0), ("u2", 31.0)]
