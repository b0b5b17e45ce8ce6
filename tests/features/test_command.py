"""``crossrec data features``: its tables, resuming, and its errors."""

from __future__ import annotations

import re
import warnings

import numpy as np
import polars as pl
import pytest
import torch

from crossrec.cli import main
from crossrec.features.text import SentenceEncoder


@pytest.fixture
def crossrec(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")

    def call(*arguments):
        threads = torch.get_num_threads()
        with warnings.catch_warnings():  # main() sets how warnings are shown
            code = main(["data", "features", *map(str, arguments), "--device", "cpu"])
        torch.set_num_threads(threads)
        return code, *capsys.readouterr()

    return call


def rows(out):
    cells = [line.split("│")[1:3] for line in out.splitlines() if line.count("│") == 3]
    return [(name.strip(), value.strip()) for name, value in cells]


def test_texts_and_pictures_twice(shop, bert, vit, picture, crossrec):
    files = [f"{n}.png" if n < 7 else None for n in range(9)]
    items = pl.read_parquet(shop / "items.parquet").with_columns(picture=pl.Series(files))
    items.with_columns(title=items["title"].set(items["title"].str.contains("bike"), "")).write_parquet(
        shop / "items.parquet"
    )
    for n in range(5):
        picture(n, "L").save(shop / f"{n}.png")
    (shop / "5.png").write_bytes(b"")
    command = ["--data", shop, "--text", "title", "--text-model", bert, "--image", "picture", "--image-model", vit]
    command += ["--image-name", "looks", "--threads", 1]
    code, out, err = crossrec(*command)
    assert code == 0, err
    text, looks = out.split("looks_feat.npy")
    assert text.startswith("text_feat.npy")
    assert rows(text) == [
        *[("items", "9"), ("with a vector", "7"), ("without text", "2")],
        *[("columns", "24 float32"), ("model", str(bert))],
    ]
    assert re.search(r"^7 encoded in \d+ s, [\d.]+ a second$", text, re.MULTILINE)
    assert rows(looks) == [
        *[("items", "9"), ("with a vector", "5"), ("without picture", "2"), ("picture missing or unreadable", "1")],
        *[("picture broken, or no picture", "1"), ("picture turned into RGB", "5")],
        *[("columns", "16 float32"), ("model", str(vit))],
    ]
    assert err == ""
    assert np.load(shop / "looks_feat.npy").shape == (9, 16)
    code, again, err = crossrec(*command)
    assert (code, err) == (0, "")
    assert again.count("up to date: model and inputs are those it was made of") == 2
    assert rows(again) == rows(out)


def test_an_interrupted_command_resumes(shop, bert, crossrec, monkeypatch):
    command = ["--data", shop, "--text", "title", "--text-model", bert, "--batch-size", 2]
    vectors, calls = SentenceEncoder._vectors, []

    def interrupted(self, texts):
        calls.append(texts)
        if len(calls) == 5:  # after two calls that try the model, and two batches
            raise KeyboardInterrupt
        return vectors(self, texts)

    with monkeypatch.context() as patch:
        patch.setattr(SentenceEncoder, "_vectors", interrupted)
        code, out, err = crossrec(*command)
    assert (code, out) == (130, "")
    assert err.startswith("crossrec: stopped; the same command goes on")
    code, out, err = crossrec(*command)
    assert (code, err) == (0, "")
    assert re.search(r"^5 encoded in \d+ s, [\d.]+ a second, 4 kept from before$", out, re.MULTILINE)


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ([], ["nothing to encode", "--text COLUMNS with --text-model"]),
        (["--text", "titel", "--text-model", "m"], ["items.parquet: no column 'titel'; did you mean 'title'?"]),
        (["--text", "title", "--text-modle", "m"], ["--text-modle", "--text-model"]),
        (["--text", "title", "--text-model", "m", "--batch-size", "0"], ["--batch-size", "greater than or equal to 1"]),
        (["--text", "title", "--text-model", "m", "--text-name", "a.b"], ["--text-name", "has no '.'"]),
        (["--text", "title", "--text-model", "m", "--threads", "-1"], ["--threads -1"]),
        (["--text", "title", "--text-model", "m", "--dtype", "int8"], ["--dtype", "int8"]),
        (["--text", "title", "--text-model", "./m"], ["--text-model ./m: no such folder"]),
    ],
)
def test_a_mistake_is_one_line(shop, crossrec, arguments, parts):
    before = sorted(shop.rglob("*"))
    code, out, err = crossrec("--data", shop, *arguments)
    assert (code, out) == (2, "")
    (line,) = err.splitlines()
    assert line.startswith("crossrec: error: ")
    assert all(part in line for part in parts), line
    assert sorted(shop.rglob("*")) == before


def test_pictures_that_cannot_be_read_are_named_as_they_are(shop, vit, picture, crossrec):
    names = ["kids [xl]:shoe:.png", "\x1b[2J[b].png", "whole.png"]
    for name in names[:2]:
        (shop / name).write_bytes(b"no picture")
    picture(1).save(shop / "whole.png")
    items = pl.read_parquet(shop / "items.parquet")
    items.with_columns(picture=pl.Series(names + [None] * 6)).write_parquet(shop / "items.parquet")
    code, out, err = crossrec("--data", shop, "--image", "picture", "--image-model", vit)
    assert code == 0, err
    table = shop / "items.parquet"
    assert f"no vector: {table}, row 1: kids [xl]:shoe:.png: broken\n" in out
    assert f"no vector: {table}, row 2: \\x1b[2J[b].png: broken\n" in out
    assert ("picture broken, or no picture", "2") in rows(out)
    assert "\x1b" not in out + err
