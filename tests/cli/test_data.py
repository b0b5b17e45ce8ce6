"""``crossrec data``: description, and the list of what is wrong."""

from __future__ import annotations

import numpy as np
import pytest


def cells(answer):
    """What stands beside what in the table."""
    rows = [line.split("│")[1:3] for line in answer.out.splitlines() if line.count("│") == 3]
    return {name.strip(): value.strip() for name, value in rows}


@pytest.mark.parametrize("kind", ["mmrec", "tabular"])
def test_describe(kind, request, crossrec):
    folder = request.getfixturevalue(kind)
    columns = ["--user-column", "customer", "--item-column", "product"] if kind == "tabular" else []
    answer = crossrec("data", "describe", "--data", folder, *columns)
    assert answer.code == 0, answer.err
    assert answer.err == ""
    assert answer.out.splitlines()[0].strip() == folder.name
    values = cells(answer)
    assert values["Users"] == "12"
    assert values["Items"] == "10"
    assert values["Interactions"] == "96"
    assert values["Train / valid / test"] == "72 / 12 / 12"
    assert values["Sparsity"] == "20.00%"
    assert (values["sound: columns"], values["scent: columns"]) == ("6", "4")
    feature = np.load(folder / "sound_feat.npy").astype(float)
    unit = feature / np.linalg.norm(feature, axis=1, keepdims=True)
    mean = ((unit @ unit.T).sum() - 10) / 90
    assert values["sound: mean cosine of two items"] == f"{mean:.4f}"


def test_describe_takes_the_name_as_a_word_too(crossrec):
    word, flag = (
        crossrec("data", "describe", "synthetic-tiny"),
        crossrec("data", "describe", "--data", "synthetic-tiny"),
    )
    assert word == flag
    assert cells(word)["Users"] == "60"


def test_validate_finds_nothing(crossrec, mmrec):
    answer = crossrec("data", "validate", "--data", mmrec)
    assert (answer.code, answer.err) == (0, "")
    assert str(mmrec) in answer.out


def test_validate_lists_all_problems(crossrec, mmrec, content):
    table = mmrec / "shop.inter"
    table.write_text(table.read_text() + "3\tmilk\t5.0\t0\nhe\t4\t5.0\t0\n")
    sound = np.load(mmrec / "sound_feat.npy")
    sound[4, 2] = np.nan
    np.save(mmrec / "sound_feat.npy", sound)
    before = content(mmrec)
    answer = crossrec("data", "validate", "--data", mmrec)
    assert answer.code == 2
    assert answer.out == ""
    lines = answer.err.splitlines()
    assert len(lines) == 3
    assert all(line.startswith("crossrec: error: ") for line in lines)
    for message in ("line 98: itemID 'milk'", "line 99: userID 'he'", "sound_feat.npy, row 4, column 2"):
        assert sum(message in line for line in lines) == 1
    assert content(mmrec) == before


def test_validate_marks_warnings(crossrec, mmrec):
    sound = np.load(mmrec / "sound_feat.npy")
    sound[4] = 0
    np.save(mmrec / "sound_feat.npy", sound)
    answer = crossrec("data", "validate", "--data", mmrec)
    assert answer.code == 2
    (line,) = answer.err.splitlines()
    assert line.startswith("crossrec: warning: ")
    assert "1 of 10 items have no feature" in line
    assert crossrec("train", "--data", mmrec, "--epochs", 1, "--out", "out").code == 0
