"""``crossrec recommend``, ``similar`` and ``export``: output files match the library; errors are one line."""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path

import faiss
import numpy as np
import polars as pl
import pytest

from crossrec.cli import main


@pytest.fixture
def crossrec(capsys, monkeypatch, tmp_path):
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)

    def call(*arguments):
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


READERS = {"csv": pl.read_csv, "jsonl": pl.read_ndjson, "parquet": pl.read_parquet}


@pytest.mark.parametrize("ending", READERS)
def test_lists_of_all_users_in_a_file(crossrec, tiny, tiny_run, tmp_path, ending):
    out = tmp_path / "new" / f"lists.{ending}"
    code, stdout, _ = crossrec("recommend", tiny_run, "--k", 5, "--out", out)
    assert (code, stdout.strip()) == (0, str(out))
    lists, expected = READERS[ending](out), tiny.recommend(k=5)
    assert lists.columns == expected.columns
    assert lists["item"].to_list() == expected["item"].to_list()
    assert lists["score"].to_list() == pytest.approx(expected["score"].to_list(), rel=1e-6)
    assert [path.name for path in out.parent.iterdir()] == [out.name]


def test_ids_as_arguments_in_a_table_and_in_a_text_file(crossrec, text, text_run, tmp_path):
    (tmp_path / "users.csv").write_text("customer_id,age\nAnn-3,7\n\nAnn-1,8\n")
    (tmp_path / "users.txt").write_bytes(b"\xef\xbb\xbfAnn-3\r\r\n\rAnn-1")
    (tmp_path / "packed.txt.gz").write_bytes(gzip.compress(b"Ann-3\nAnn-1\n"))
    (tmp_path / "packed.csv.gz").write_bytes(gzip.compress(b"user\rAnn-3\rAnn-1\r"))
    expected = text.recommend(["Ann-3", "Ann-1"], 2)
    for name in ("", "users.csv", "users.txt", "packed.txt.gz", "packed.csv.gz"):
        users = [tmp_path / name] if name else ["Ann-3", "Ann-1"]
        out = tmp_path / f"lists-{name}.parquet"
        assert crossrec("recommend", text_run, "--k", 2, "--users", *users, "--out", out)[0] == 0
        assert pl.read_parquet(out).equals(expected)


def test_filters_and_histories(crossrec, tiny, tiny_run, tmp_path):
    pl.DataFrame({"item": range(40), "category": ["tea", "pots"] * 20}).write_csv(tmp_path / "items.csv")
    flags = ("--users", 4, "--k", 40, "--seen", "--items", tmp_path / "items.csv", "--category", "tea", "--deny", 2, 4)
    assert crossrec("recommend", tiny_run, *flags, "--out", "lists.csv")[0] == 0
    assert sorted(pl.read_csv("lists.csv")["item"]) == [0, *range(6, 40, 2)]
    assert crossrec("recommend", tiny_run, "--history", 3, 8, "--k", 4, "--out", "history.parquet")[0] == 0
    assert pl.read_parquet("history.parquet").equals(tiny.for_history([3, 8], 4))
    assert crossrec("similar", tiny_run, "--of", 3, "--k", 4, "--by", "text", "--out", "similar.parquet")[0] == 0
    assert pl.read_parquet("similar.parquet").equals(tiny.similar([3], 4, by="text"))


def test_without_a_file_lists_are_printed(crossrec, tiny_run):
    code, stdout, _ = crossrec("recommend", tiny_run, "--users", 4, "--k", 3)
    assert code == 0
    assert stdout.count("│ 4 ") == 3
    code, stdout, _ = crossrec("recommend", tiny_run)
    assert (code, stdout.count(" 10 │")) == (0, 5)


def test_unknown_items_are_left_out_and_counted(crossrec, tiny_run, tiny, tmp_path):
    (tmp_path / "here" / "sold out.txt").write_text("3\nx\n5\ny\n")
    flags = ("--users", 4, "--k", 40, "--seen", "--out", "lists.csv")
    code, _, error = crossrec("recommend", tiny_run, *flags, "--deny", "sold out.txt")
    assert code == 0
    assert "--deny: 2 of 4 items are none of this run, such as x (sold out.txt, line 2); they are left out" in error
    assert sorted(pl.read_csv("lists.csv")["item"]) == [0, 1, 2, 4, *range(6, 40)]
    code, _, error = crossrec("recommend", tiny_run, *flags, "--allow", 7, "z")
    assert code == 0
    assert "--allow: 1 of 2 items are none of this run, such as z; they are left out" in error
    assert pl.read_csv("lists.csv")["item"].to_list() == [7]
    assert crossrec("recommend", tiny_run, "--history", 3, "z", 8, "--k", 4, "--out", "history.parquet")[0] == 0
    assert pl.read_parquet("history.parquet").equals(tiny.for_history([3, 8], 4))
    for flag in ("--allow", "--history"):
        code, _, error = crossrec("recommend", tiny_run, flag, "z", "x")
        assert (code, f"{flag} z: none of the 40 items" in error) == (2, True)
    assert crossrec("recommend", tiny_run, *flags, "--deny", "z")[0] == 0


def test_a_condition_on_the_table_of_items(crossrec, tiny_run, tmp_path):
    rows = {"item": range(40), "stock": [str(n % 4) for n in range(40)], "price": [f"{n}.5" for n in range(40)]}
    pl.DataFrame(rows | {"zip": ["01", *["2"] * 39], "brand": [None, *["b"] * 39]}).write_csv(
        tmp_path / "here" / "i.csv"
    )
    flags = ("--users", 4, "--k", 40, "--seen", "--items", "i.csv", "--out", "lists.csv")
    for condition, expected in (
        ("stock > 0 and price < 10", [1, 2, 3, 5, 6, 7, 9]),
        ("brand = 'b' and zip = '01'", []),
        ("zip = '01'", [0]),
        ("brand is null or stock = 3 and price > 35", [0, 35, 39]),
        ("brand <> 'b'", []),
    ):
        assert crossrec("recommend", tiny_run, *flags, "--where", condition)[0] == 0
        assert sorted(pl.read_csv("lists.csv")["item"]) == expected, condition
    for condition, reason in (
        ("stok > 0", 'unable to find column "stok"'),
        ("stock >", "unable to parse"),
        ("price + 1", "no condition on each item"),
        ("brand > 1", "cannot compare"),
        ("", "unable to parse"),
    ):
        code, _, error = crossrec("recommend", tiny_run, *flags, "--where", condition)
        assert (code, f"i.csv: --where {condition!r}" in error, reason in error) == (2, True, True), error
    lines = [f'{n};{n % 4};{n},5;"Tee; ""Größe"" {n % 2}"' for n in range(40)]
    (tmp_path / "here" / "artikel.csv").write_text("\n".join(["item_id;Bestand;Preis;Name", *lines]))
    flags = ("--users", 4, "--k", 40, "--seen", "--items", "artikel.csv", "--out", "lists.csv")
    assert crossrec("recommend", tiny_run, *flags, "--where", "Preis < 4 and Name like '%\"Größe\" 1'")[0] == 0
    assert sorted(pl.read_csv("lists.csv")["item"]) == [1, 3]
    assert crossrec("recommend", tiny_run, *flags, "--where", "Preis < 4 and Name = 'Tee; \"Größe\" 1'")[0] == 0
    assert sorted(pl.read_csv("lists.csv")["item"]) == [1, 3]
    code, _, error = crossrec("recommend", tiny_run, "--where", "stock > 0")
    assert (code, "--where needs the table of items" in error) == (2, True)


def test_filters_that_leave_no_item_are_told(crossrec, tiny, tiny_run, caplog):
    everything = [str(id) for id in tiny.items.ids]
    for flags, names in (
        (["--deny", *everything], "--deny"),
        (["--allow", 3, "--deny", 3], "--allow and --deny"),
        (["--empty-allow"], "--allow"),
    ):
        code, _, error = crossrec("recommend", tiny_run, "--users", 4, *flags, "--out", "lists.csv")
        assert (code, f"no item of the run is left by {names}, so every list is empty" in error) == (0, True), error
        assert pl.read_csv("lists.csv").height == 0
    assert "is left" not in crossrec("recommend", tiny_run, "--users", 4, "--deny", *everything[1:], "--seen")[2]
    caplog.clear()
    assert tiny.for_history([3], allow=[5], deny=[5]).height == 0
    assert "no item of the run is left by allow and deny" in caplog.text  # in Python, a setting by its name there


@pytest.mark.parametrize("value", ["2.5", "2.0", "1e1", "two", ""])
def test_a_number_that_is_not_whole_is_never_rounded(crossrec, tiny_run, value):
    commands = (("recommend", tiny_run), "--k"), (("recommend", tiny_run), "--popular-days"), (("train",), "--threads")
    for command, flag in (*commands, (("compare",), "--jobs"), (("similar", tiny_run, "--of", 3), "--k")):
        code, _, error = crossrec(*command, f"{flag}={value}")
        assert (code, f"Invalid value for {flag}: '{value}' is no whole number" in error) == (2, True), error


MISTAKES = {
    "user": (["--users", 4, 77], "--users 77: none of the 60 users"),
    "file": (["--users", "none.csv"], "none.csv: no such file"),
    "unknown in a file": (["--users", "users.csv"], "users.csv, line 3: user 77 is none of the 60"),
    "empty cell": (["--allow", "items.jsonl"], "items.jsonl, line 2: item"),
    "unknown line": (["--deny", "items.txt", "--unknown", "error"], "items.txt, line 4: item x is none of the 40"),
    "no text": (["--deny", "latin.txt"], "latin.txt, line 2: not UTF-8 text; save the file as UTF-8"),
    "column": (["--users", "items.jsonl"], "no user column"),
    "k": (["--k", 0], "--k = 0"),
    "k of a billion": (["--k", 10**9], "--k = 1000000000"),
    "both": (["--users", 1, "--history", 2], "--users and --history"),
    "ending": (["--out", "lists.xlsx"], "--out lists.xlsx"),
    "category": (["--category", "tea"], "table of items"),
    "items twice": (
        ["--items", "twice.csv", "--category", "tea"],
        "twice.csv, line 3: item repeats an id; list each once",
    ),
    "no category": (["--items", "users.csv", "--category", "tea"], "no item column"),
    "items missing": (["--items", "none.csv", "--category", "tea"], "none.csv: no such file"),
    "choice": (["--history", 1, "--fold-in", "guess"], "--fold-in"),
}


@pytest.mark.parametrize(("flags", "message"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_are_one_line_and_write_nothing(crossrec, tiny_run, tmp_path, flags, message):
    here = tmp_path / "here"
    (here / "users.csv").write_text("user\n1\n77\n")
    (here / "twice.csv").write_text("item,category\n1,tea\n1,pots\n")
    (here / "items.jsonl").write_text('{"item": 3, "x": 1}\n{"item": null, "x": 1}\n')
    (here / "items.txt").write_text("3\n\n5\nx\n")
    (here / "latin.txt").write_bytes(b"3\n\xe9\n")
    (here / "lists.csv").write_text("as it was")
    before = {path.name: path.read_bytes() for path in here.iterdir()}
    out = [] if "--out" in flags else ["--out", "lists.csv"]
    code, stdout, error = crossrec("recommend", tiny_run, *flags, *out)
    assert (code, stdout) == (2, "")
    assert error.count("\n") == 1
    assert message in error
    assert {path.name: path.read_bytes() for path in here.iterdir()} == before


@pytest.mark.parametrize("index", ["none", "flat", "hnsw"])
def test_exported_vectors_give_the_same_lists(crossrec, tiny, tiny_run, index):
    code, stdout, _ = crossrec("export", tiny_run, "--out", "vectors", "--index", index)
    out = Path("vectors")
    assert code == 0
    assert sorted(stdout.split()) == sorted(str(path) for path in out.iterdir())
    user, item = (np.load(out / f"{name}.npy", allow_pickle=False) for name in ("user", "item"))
    expected = tiny.recommend(k=5, exclude_seen=False)
    score, item_rows = -np.sort(-(user @ item.T), axis=1)[:, :5], np.argsort(-(user @ item.T), axis=1)[:, :5]
    assert expected["score"].to_numpy().reshape(-1, 5) == pytest.approx(score, abs=1e-6)
    items = pl.read_parquet(out / "items.parquet")
    assert items["id"].to_list() == tiny.items.ids.to_list()
    assert np.array_equal(np.stack(items["vector"].to_numpy()), item)
    assert np.load(out / "item_text.npy", allow_pickle=False).shape == (40, 8)
    assert json.loads((out / "about.json").read_text()) == {
        "run": "lightgcn+cross",
        "identity": tiny.vectors.identity,
        "users": 60,
        "items": 40,
        "dimension": 8,
        "score": "dot product of user.npy and item.npy",
        "modalities": ["image", "text"],
        "index": index,
    }
    if index == "none":
        assert not (out / "items.faiss").exists()
    else:
        read = faiss.read_index(str(out / "items.faiss"))
        assert np.array_equal(read.search(user, 5)[1], item_rows)
    assert crossrec("export", tiny_run, "--out", "vectors")[0] == 2


def test_without_faiss_an_index_is_refused(crossrec, tiny_run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    code, _, error = crossrec("export", tiny_run, "--out", "vectors", "--index", "flat")
    assert code == 2
    assert "crossrec[knn]" in error
    assert list((tmp_path / "here").iterdir()) == []
