"""An id is what it looks like: what could be another id, or none, is refused or told, whoever reads it."""

from __future__ import annotations

import datetime
import json
import logging
import re
from decimal import Decimal
from types import SimpleNamespace

import polars as pl
import pytest

from crossrec.commands.item_lists import read_ids
from crossrec.data import DataConfig, ImportConfig, import_data, load, validate
from crossrec.data.io import text_chunks
from crossrec.data.io.id_column import read_listing
from crossrec.data.io.ids import check_ids
from crossrec.data.io.tables import open_table
from crossrec.errors import DataError
from crossrec.features import FeaturesConfig
from crossrec.features.items import read_items
from crossrec.recommend.id_map import IdMap
from crossrec.recommend.item_table import ItemTable

EDGES = "begins or ends with a blank or a character that nobody sees; remove it"
LOST = "is a number that may have lost its last digits; store ids as whole numbers or text"
REFUSED = {
    "3.0 beside 3": (["tea", "3", "3.0", "4.00", "4"], 4, "'3.0' looks like '3' (3)", "(2 such ids)"),
    "decimals": (["2", "3.5", "4.0"], 3, "'3.5' is a decimal; ids are whole numbers or text", "(2 of 3 ids)"),
    "zeros after the point of all": (["7.0", "8.0"], 2, "'7.0' is a decimal", "(2 of 2 ids)"),
    "a blank before": (["i3", " i3", " i4"], 3, f"' i3' {EDGES}", "(2 such rows)"),
    "a tab behind": (["i3", "i3\t"], 3, rf"'i3\t' {EDGES}", ""),
    "an unusual blank": (["i3", "i4\xa0"], 3, rf"'i4\xa0' {EDGES}", ""),
    "a wide blank": (["i3", "\u3000i4"], 3, f"'\u3000i4' {EDGES}", ""),
    "no width behind": (["i3", "i3\u200b"], 3, rf"'i3\u200b' {EDGES}", ""),
    "a mark of order": (["i3", "\ufeffi3"], 3, rf"'\ufeffi3' {EDGES}", ""),
    "no width inside": (["i3", "i\u200b3"], 3, r"'i\u200b3' looks like 'i3' (2)", "(1 such ids)"),
    "two blanks": (["a  b", "a b"], 3, "'a b' looks like 'a  b' (2)", ""),
    "another blank": (["a b", "a\xa0b"], 3, r"'a\xa0b' looks like 'a b' (2)", ""),
    "composed letters or not": (["cafe\u0301", "caf\xe9"], 3, r"'caf\xe9' looks like 'cafe\u0301' (2)", ""),
    "rounded": (["1.2345678901234568e+18", "x"], 2, f"'1.2345678901234568e+18' {LOST}", ""),
    "rounded, in short": (["x", "1E+18"], 3, f"'1E+18' {LOST}", ""),
}
"""By case: ids, the line that the error names, its text, in which another line stands in brackets, and its end."""


def placed(text, path):
    """The text with lines of a file instead of numbers in brackets."""
    return re.sub(r"\((\d)\)", lambda match: f"({location(path, int(match[1]))})", text)


def location(path, line):
    """Where the row of this line of a .csv file is in another file of the same rows."""
    words = {".csv": f"line {line}", ".jsonl": f"line {line - 1}", ".parquet": f"row {line - 1}"}
    return f"{path}, {words[path.suffix]}"


def log_of(ids, column="item"):
    return pl.DataFrame({"user": ["u"] * len(ids), column: ids})


def write(path, ids):
    """The ids as the items of a log in this file."""
    frame = log_of(ids)
    {".csv": frame.write_csv, ".jsonl": frame.write_ndjson, ".parquet": frame.write_parquet}[path.suffix](path)
    return path


READERS = {
    "load": lambda path, out: load(DataConfig(data=str(path))),
    "import": lambda path, out: import_data(path, out),
    "import, dropping": lambda path, out: import_data(path, out, ImportConfig(bad_rows="drop")),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".parquet"])
@pytest.mark.parametrize("case", REFUSED)
def test_refused_in_a_log(case, ending, reader, tmp_path):
    ids, line, text, end = REFUSED[case]
    path = write(tmp_path / f"log{ending}", ids)
    with pytest.raises(DataError) as caught:
        READERS[reader](path, tmp_path / "out")
    assert str(caught.value).startswith(f"{location(path, line)}: item {placed(text, path)}")
    assert end in str(caught.value)
    assert not (tmp_path / "out").exists()


ITEMS = {
    "load": lambda folder, id_map: load(DataConfig(data=str(folder))),
    "validate": lambda folder, id_map: _raise_first(validate(DataConfig(data=str(folder)))),
    "import": lambda folder, id_map: import_data(folder, folder / "out"),
    "features": lambda folder, id_map: read_items(FeaturesConfig(data=str(folder), text=("title",))),
    "recommend --items": lambda folder, id_map: ItemTable.read(folder / "items.csv", id_map),
    "recommend --allow": lambda folder, id_map: read_ids([str(folder / "items.csv")], id_map, "--allow"),
    "extend": lambda folder, id_map: read_listing(open_table(folder / "items.csv")),
}


def _raise_first(findings):
    raise DataError(next(finding.message for finding in findings if finding.kind == "error"))


@pytest.mark.parametrize("reader", ITEMS)
@pytest.mark.parametrize("case", REFUSED)
def test_refused_in_a_table_of_items(case, reader, put):
    ids, line, text, _ = REFUSED[case]
    items = pl.DataFrame({"item": ids, "title": "a title"})
    folder = put({"interactions.csv": "user,item\nu,i3\n", "items.csv": items.write_csv()})
    with pytest.raises(DataError) as caught:
        ITEMS[reader](folder, IdMap(pl.Series(["i3"]), "item"))
    path = folder / "items.csv"
    if reader == "recommend --allow" and not (EDGES in text or LOST in text):  # one id is looked up after the other
        assert "is none of the 1 of this run" in str(caught.value)
    else:
        assert str(caught.value).startswith(f"{location(path, line)}: item {placed(text, path)}")


TYPES = {
    "NUL": (pl.Series(["a", "a\0b"]), r"row 2: item 'a\x00b' holds a NUL character, which no text file can; remove it"),
    "truth": (pl.Series([True, False]), "column 'item' holds Boolean; ids are numbers or text"),
    "bytes": (pl.Series([b"a", b"b"]), "column 'item' holds Binary; ids are numbers or text"),
    "lists": (pl.Series([[1], [2]]), "column 'item' holds List(Int64); ids are numbers or text"),
    "structs": (pl.Series([{"a": 1}, {"a": 2}]), "; ids are numbers or text"),
    "spans": (pl.Series([datetime.timedelta(1), datetime.timedelta(2)]), "; ids are numbers or text"),
    "times of day": (pl.Series([datetime.time(1), datetime.time(2)]), "column 'item' holds Time; ids are numbers"),
    "fractions": (pl.Series([3.0, 3.5]), "row 2: item '3.5' is a decimal; ids are whole numbers or text"),
    "infinite": (pl.Series([float("inf"), 1.0]), "row 1: item 'inf' is a decimal"),
    "beyond 2^53": (
        pl.Series([1.0, 9007199254740993.0, 1e18]),
        f"row 2: item '9007199254740992.0' {LOST} (2 such rows)",
    ),
    "beyond 2^24": (pl.Series([16777217.0, 1.0], dtype=pl.Float32), f"row 1: item '16777216.0' {LOST}"),
    "decimals": (pl.Series([Decimal("1.50"), Decimal("2.00")]), "row 1: item '1.50' is a decimal"),
    "large decimals": (pl.Series([Decimal(10) ** 30], dtype=pl.Decimal(38, 0)), "row 1: item '1" + "0" * 30 + "' is"),
}


@pytest.mark.parametrize("case", TYPES)
def test_types_that_no_id_has_are_refused_before_anything_is_trained_or_written(case, put, tmp_path):
    ids, text = TYPES[case]
    path = put({"interactions.parquet": log_of(ids)}) / "interactions.parquet"
    for read in READERS.values():
        with pytest.raises(DataError) as caught:
            read(path, tmp_path / "out")
        assert str(caught.value).startswith(str(path))
        assert text in str(caught.value)
    items = path.with_name("items.parquet")
    pl.DataFrame({"item": ids.head(2), "title": "x"}).write_parquet(items)
    for read in (
        lambda: read_listing(open_table(items)),
        lambda: ItemTable.read(items, IdMap(pl.Series([1]), "item")),
        lambda: read_ids([str(items)], IdMap(pl.Series([1]), "item"), "--allow"),
        lambda: read_items(FeaturesConfig(data=str(path.parent), text=("title",))),
    ):
        with pytest.raises(DataError) as caught:
            read()
        assert str(caught.value).startswith(str(items))
        assert any(part in str(caught.value) for part in ("; ids are", "is a decimal", LOST, "holds a NUL"))


KEPT = {
    "whole decimals": (pl.Series([3.0, 1.0]), [1, 3]),
    "whole decimals of fixed point": (pl.Series([Decimal("3.00"), Decimal("1.00")]), [1, 3]),
    "the largest exact": (pl.Series([2.0**53 - 1, 1.0]), [1, 2**53 - 1]),
    "beyond 2^53 as whole numbers": (pl.Series([2**53 + 1, 2**53]), [2**53, 2**53 + 1]),
    "unsigned": (pl.Series([2**63 + 1, 2**63], dtype=pl.UInt64), [2**63, 2**63 + 1]),
    "leading zeros": (pl.Series(["01", "02"]), ["01", "02"]),
    "categories": (pl.Series(["b", "a"], dtype=pl.Categorical), ["a", "b"]),
    "escape sequences": (pl.Series(["\x1b[2J", "\u202eabc", "\x9b1m"]), ["\x1b[2J", "\x9b1m", "\u202eabc"]),
    "line ends inside": (pl.Series(["a\nb", "a\r\nc"]), ["a\nb", "a\r\nc"]),
    "hidden in all": (pl.Series(["a\u200db", "c\u200db"]), ["a\u200db", "c\u200db"]),
    "emoji": (pl.Series(["❤️", "👩‍💻"]), ["❤️", "👩‍💻"]),
    "versions beside names": (pl.Series(["1.10", "beta"]), ["1.10", "beta"]),
}


@pytest.mark.parametrize("case", KEPT)
def test_ids_that_are_kept_and_can_be_written_again(case, tmp_path, caplog):
    ids, expected = KEPT[case]
    log_of(ids).write_parquet(tmp_path / "interactions.parquet")
    dataset = load(DataConfig(data=str(tmp_path)))
    assert dataset.item_ids.to_list() == expected
    dataset.save_id_maps(tmp_path / "run")
    assert IdMap.read(tmp_path / "run" / "items.parquet", "item", len(ids)).ids.to_list() == expected
    import_data(tmp_path / "interactions.parquet", tmp_path / "out")
    assert pl.read_parquet(tmp_path / "out" / "items.parquet")["item"].to_list() == expected
    assert "taken for" not in caplog.text


TOLD = {
    "case": (
        ["A1", "a1", "b", "B"],
        "2 ids of column 'item' differ from others only in case, width, look or leading zeros",
    ),
    "leading zeros": (
        ["007", "7", "8"],
        "1 ids of column 'item' differ from others only in case, width, look or leading zeros",
    ),
    "width": (["A1", "\uff211"], r"'\uff211' (PATH, line 3) from 'A1'"),
    "words for none": (
        ["nan", "tea"],
        "line 2: item 'nan' is what stands for a missing one, and taken for an id (1 rows)",
    ),
    "nothing": (["-", "tea"], "line 2: item '-' is what stands for a missing one"),
    "truth": (["true", "false"], "item 'false' is true or false, and taken for an id (2 rows)"),
    "a list": (["[1, 2]", "tea"], "line 2: item '[1, 2]' is a list or an object, and taken for an id"),
    "an object": (['{"a": 1}', "tea"], """item '{"a": 1}' is a list or an object"""),
    "a repeated header": (["tea", "item"], "line 3: item 'item' is the name of its column"),
    "none of a database": (["\\N", "tea"], r"item '\N' is what stands for a missing one"),
    "unknown": (["Unknown", "tea"], "item 'Unknown' is what stands for a missing one"),
    "a lost letter": (["caf\ufffd", "tea"], "item 'caf\ufffd' is damaged: a letter was lost"),
    "quotes": (["\u201ctea\u201d", "\u201etea\u201c"], "' is in quotes, which are part of it"),
    "dates": (
        ["2024-05-31", "2024-06-01"],
        "column 'item' holds dates (2, such as 2024-05-31), which are taken for ids",
    ),
}


@pytest.mark.parametrize("case", TOLD)
def test_told_with_numbers_and_never_merged(case, tmp_path, caplog):
    ids, text = TOLD[case]
    path = write(tmp_path / "log.csv", ids)
    text = text.replace("PATH", str(path))
    config = DataConfig(data=str(path))
    assert load(config).item_ids.to_list() == sorted(ids)
    assert [record.levelno for record in caplog.records if text in record.message] == [logging.WARNING]
    assert [finding.kind for finding in validate(config) if text in finding.message] == ["warning"]
    card = import_data(path, tmp_path / "out", ImportConfig(split="none"))
    assert [note for note in card.notes if text in note]
    assert sorted(pl.read_parquet(tmp_path / "out" / "items.parquet")["item"]) == sorted(ids)
    told = []
    read_listing(open_table(write(tmp_path / "items.csv", ids)), preferred="item", tell=told.append)
    assert told


ALIKE = {
    "UUID": ("{3F2504E0-4F89-11D3-9A0C-0305E82C3301}", "3f2504e04f8911d39a0c0305e82c3301"),
    "exponent": ("1e3", "1000"),
    "sign": ("+5", "5"),
    "zero below zero": ("-0", "0"),
    "thousands": ("1_000", "1000"),
    "decimals without a whole part": (".5", "0.5"),
    "digits of other scripts": ("x\u0665", "x5"),
    "sharp s": ("STRASSE", "stra\xdfe"),
    "Turkish i": ("\u0130stanbul", "istanbul"),
    "i without a dot": ("\u0131x", "ix"),
    "final sigma": ("\u039f\u03a3", "\u03bf\u03c2"),
    "a Cyrillic letter": ("\u0430b", "ab"),
    "minus": ("x\u22121", "x-1"),
    "apostrophe": ("l\u2019eau", "l'eau"),
    "variant of a character": ("\u260e\ufe0f", "\u260e"),
}


@pytest.mark.parametrize("case", ALIKE)
def test_other_forms_of_one_number_or_letter_are_told(case):
    told, ids = [], pl.Series(["tea", *ALIKE[case]])
    check_ids(ids, "item", "log.csv", lambda n: f"line {n + 2}", told.append)
    assert told == [
        "log.csv: 1 ids of column 'item' differ from others only in case, width, look or leading zeros: "
        f"{ids[2]!a} (line 4) from {ids[1]!a}; they are taken for different ids"
    ]


@pytest.mark.parametrize("ids", [["7", "-1", "8"], [7, -1, 8]])
def test_a_single_minus_one_is_told(ids):
    told = []
    check_ids(pl.Series(ids), "user", "log", lambda n: f"row {n + 1}", told.append)
    check_ids(pl.Series([*ids, ids[1] * 2] if ids[1] == -1 else [*ids, "-2"]), "user", "log", str, told.append)
    assert told == ["row 2: user -1 often stands for a missing one, and is taken for an id"]


def test_a_mark_of_direction_inside_is_not_seen():
    with pytest.raises(DataError, match=r"row 1: item 'xy' looks like 'x\\u200fy' \(row 0\)"):
        check_ids(pl.Series(["x\u200fy", "xy"]), "item", "log", "row {}".format)


def test_dates_as_a_type_are_told(tmp_path, caplog):
    days = [datetime.date(2024, 5, 31), datetime.date(2024, 6, 1)]
    log_of(days).write_parquet(tmp_path / "log.parquet")
    assert load(DataConfig(data=str(tmp_path))).item_ids.to_list() == days
    assert "column 'item' holds dates (2, such as 2024-05-31), which are taken for ids" in caplog.text


JSON_VALUES = {
    "a decimal": ([1, 3.0], "line 2: item 3.0 is a decimal; ids are numbers or text"),
    "truth": (["a", True], "line 2: item true is a truth value; ids are numbers or text"),
    "a list": (["a", [1, 2]], "line 2: item [1, 2] is a list; ids are"),
    "an object": ([{"a": 1}, "b"], 'line 1: item {"a": 1} is an object; ids are'),
    "a large decimal": ([1e18, 2], "line 1: item 1e+18 is a decimal"),
    "a number beside a text": (
        [7, "7"],
        'line 2: item "7" is a text, that on line 1 a number; write all ids as one kind',
    ),
    "a text beside a number": (["x", "y", 7], "line 3: item 7 is a number, that on line 1 a text"),
}


@pytest.mark.parametrize("chunk", [1, 2**24])
@pytest.mark.parametrize("role", ["user", "item"])
@pytest.mark.parametrize("case", JSON_VALUES)
def test_values_of_json_that_are_no_ids(case, role, chunk, tmp_path, monkeypatch):
    monkeypatch.setattr(text_chunks, "CHUNK_BYTES", chunk)
    values, text = JSON_VALUES[case]
    other = "item" if role == "user" else "user"
    path = tmp_path / "log.jsonl"
    path.write_text("".join(json.dumps({other: f"x{n}", role: value}) + "\n" for n, value in enumerate(values)))
    for read in READERS.values():
        with pytest.raises(DataError) as caught:
            read(path, tmp_path / "out")
        assert str(caught.value).startswith(f"{path}, {text.replace('item', role)}")
    listing = tmp_path / "items.jsonl"
    listing.write_text("".join(json.dumps({"item": value}) + "\n" for value in values))
    with pytest.raises(DataError, match=r"items.jsonl, line"):
        read_listing(open_table(listing))


def test_json_beside_the_ids_does_not_matter(tmp_path):
    lines = [
        '{"user": "a", "item": "x", "other": {"item": 3.5, "user": true}}',
        '{"user" : "b", "item":  "y", "note": "\\"item\\": 7.5"}',
        '{"user": null, "item": "z", "item2": [1]}',
    ]
    (tmp_path / "log.jsonl").write_text("\n".join(lines[:2]) + "\n")
    assert load(DataConfig(data=str(tmp_path))).item_ids.to_list() == ["x", "y"]
    (tmp_path / "log.jsonl").write_text("\n".join(lines) + "\n")
    with pytest.raises(DataError, match="line 3: user is empty"):
        load(DataConfig(data=str(tmp_path)))


@pytest.mark.parametrize("cell", ["", " ", "\t ", "\u200b", "\ufeff", "\xa0\u3000", "\u2800"])
def test_an_id_that_shows_nothing_is_empty(cell, tmp_path):
    path = write(tmp_path / "log.csv", ["a", cell, "b", cell])
    with pytest.raises(DataError, match=r"log.csv, line 3: item is empty; fill the cell in or delete the row"):
        load(DataConfig(data=str(path)))
    card = import_data(path, tmp_path / "out", ImportConfig(bad_rows="drop", split="none"))
    assert card.steps[1].rule == "2 × item is empty"
    assert pl.read_parquet(tmp_path / "out" / "items.parquet")["item"].to_list() == ["a", "b"]


def test_one_column_cannot_be_user_and_item(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("user,item\na,b\n")
    message = r"log.csv: column 'user' is named as the user and the item; name two"
    with pytest.raises(DataError, match=message):
        load(DataConfig(data=str(path), item_column="user"))
    with pytest.raises(DataError, match=message):
        import_data(path, tmp_path / "out", ImportConfig(item_column="user"))
    with pytest.raises(DataError, match=r"column 'item' is named as the item and the time"):
        load(DataConfig(data=str(path), time_column="item", split="time"))


def test_files_of_one_log_are_held_against_each_other(tmp_path):
    for name, item in (("a.csv", "caf\xe9"), ("b.csv", "cafe\u0301")):
        (tmp_path / name).write_text(f"user,item\nu,{item}\n")
    with pytest.raises(DataError) as caught:
        import_data([tmp_path / "a.csv", tmp_path / "b.csv"], tmp_path / "out")
    assert str(caught.value) == (
        rf"{tmp_path}/a.csv, line 2: item 'caf\xe9' looks like 'cafe\u0301' ({tmp_path}/b.csv, line 2); "
        "write an id one way (1 such ids)"
    )


class TestLookups:
    NUMBERS = IdMap(pl.Series([3, 2**53 + 1]), "item")
    TEXTS = IdMap(pl.Series(["i3", "caf\xe9", "007", "None"]), "item")

    @pytest.mark.parametrize(
        "id", [3.5, float(2**53), float("inf"), float("nan"), True, None, [3], {"a": 3}, " 3", "3.0", "03", b"3"]
    )
    def test_a_number_is_found_by_itself_alone(self, id):
        assert self.NUMBERS.row(id) is None
        with pytest.raises(DataError, match=r"item .* is none of the 2 items of this run"):
            self.NUMBERS.rows([id])

    @pytest.mark.parametrize("id", ["i3 ", "\u200bi3", "I3", "cafe\u0301", "7", 7, 7.0, None])
    def test_a_text_is_found_by_itself_alone(self, id):
        assert self.TEXTS.row(id) is None

    def test_right_ids_are_found(self):
        assert self.NUMBERS.rows([2**53 + 1, "3", 3, 3.0]).tolist() == [1, 0, 0, 0]
        assert self.TEXTS.rows(["caf\xe9", "None"]).tolist() == [1, 3]

    @pytest.mark.parametrize(
        ("given", "meant"), [("i3 ", "'i3'"), ("I3", "'i3'"), ("cafe\u0301", r"'caf\xe9'"), ("7", "'007'")]
    )
    def test_the_command_line_says_what_may_be_meant(self, given, meant):
        with pytest.raises(DataError) as caught:
            read_ids([given], self.TEXTS, "--of")
        assert str(caught.value).endswith(
            f"none of the 4 items of this run, and no file of them; did you mean {meant}?"
        )


class TestNewItems:
    RUN = IdMap(pl.Series(["i3", "caf\xe9", "x"]), "item")

    @pytest.mark.parametrize(
        ("ids", "text"),
        [
            (["cafe\u0301"], r"the new items: item 'cafe\u0301' looks like 'caf\xe9' (the run)"),
            (["i3 "], f"the id of a new item {EDGES}"),
            (["a\u200bb", "ab"], r"the new items: item 'ab' looks like 'a\u200bb'"),
            ([" "], "the id of a new item is empty"),
            (["x"], "item 'x' is already one of the items"),
            ([3.5], "new items must have ids like the others, of type String"),
        ],
    )
    def test_are_refused_where_they_look_like_others(self, ids, text):
        with pytest.raises(DataError) as caught:
            self.RUN.extended(ids)
        assert str(caught.value).startswith(text)

    def test_numbers_join_texts(self):
        assert self.RUN.extended([7, 8]).ids.to_list() == ["i3", "caf\xe9", "x", "7", "8"]

    def test_case_alone_is_told(self, caplog):
        assert len(self.RUN.extended(["I3"])) == 4
        assert "differ from others only in case" in caplog.text


def test_a_table_of_other_items_is_refused(tmp_path):
    (tmp_path / "items.csv").write_text("id,title\nx,1\ny,2\n")
    with pytest.raises(DataError) as caught:
        ItemTable.read(tmp_path / "items.csv", IdMap(pl.Series([1, 2]), "item"))
    assert str(caught.value) == (
        f"{tmp_path}/items.csv: none of its 2 ids is an item of the run (here 'x', there '1'); "
        "is 'id' the right column?"
    )


def test_pictures_are_found_whatever_the_file_system_does_to_letters(tmp_path, caplog):
    pytest.importorskip("PIL")
    from crossrec.features.image_files import names_by_item_id

    for name in ("cafe\u0301.png", "I3.png", "i3 .png"):
        (tmp_path / name).write_bytes(b"")
    items = SimpleNamespace(ids=pl.Series(["caf\xe9", "i3"]))
    assert names_by_item_id(items, tmp_path) == ["cafe\u0301.png", ""]
    assert f"{tmp_path}: 2 pictures are called by no item's id, such as I3.png" in caplog.text
    (tmp_path / "caf\xe9.png").write_bytes(b"")
    with pytest.raises(DataError, match="are both called by item"):
        names_by_item_id(items, tmp_path)


@pytest.mark.parametrize("line", ['{"user": "a", "user": "b", "item": "x"}', '{"item": "y", "user": "a", "item": "x"}'])
def test_a_key_twice_in_a_line_of_json_is_an_error(line, tmp_path):
    path = tmp_path / "log.jsonl"
    nested = '{"user": "a", "item": "x", "seen": {"user": "b", "item": "z"}}\n'
    path.write_text(nested)
    assert load(DataConfig(data=str(path))).user_ids.to_list() == ["a"]
    path.write_text(nested + line + "\n")
    key = "user" if line.count("user") > 1 else "item"
    for read in READERS.values():
        with pytest.raises(DataError, match="log.jsonl, line 2: key '" + key + "' occurs twice; leave one of them"):
            read(path, tmp_path / "out")
