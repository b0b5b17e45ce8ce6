"""``crossrec data import``: folder, report, errors in one line, and a stop that leaves nothing."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest


def test_a_table_becomes_a_folder_that_validates_and_trains(crossrec, tabular, tiny):
    columns = ("--user-column", "customer", "--item-column", "product", "--time-column", "when")
    answer = crossrec("data", "import", tabular, "--out", "shop", *columns, "--min-user-interactions", 3)
    assert (answer.code, answer.err) == (0, "")
    for text in (
        "shop, from tables",
        "│ read",
        "│ k-core",
        "3 a user, 0 an item; 0 rounds",
        "train / valid / test: 72 / 12 / 12",
    ):
        assert text in answer.out
    assert "features sound: 6 columns of float32" in answer.out
    assert answer.out.splitlines()[-1] == "shop: complete; crossrec data validate --data shop"
    assert crossrec("data", "validate", "--data", "shop").code == 0
    assert crossrec("train", "--data", "shop", *tiny[2:], "--out", "run").code == 0


def test_several_files_and_overwriting(crossrec, tmp_path):
    (tmp_path / "here" / "a.csv").write_text("user,item\nu,x\nu,y\n")
    (tmp_path / "here" / "b.csv").write_text("user,item\nv,x\nv,y\n")
    assert crossrec("data", "import", "a.csv", "b.csv", "--out", "both", "--split", "none").code == 0
    line = crossrec("data", "import", "a.csv", "--out", "both").mistake
    assert line == "--out both: is there already; name another folder, or replace it with --overwrite"
    answer = crossrec("data", "import", "a.csv", "--out", "both", "--overwrite")
    assert "1 │" in answer.out


MISTAKES = {
    "no source": (["--out", "o"], ["SOURCES"]),
    "no target": (["log.csv"], ["--out"]),
    "source that is not there": (
        ["lag.csv", "--out", "o"],
        ["lag.csv: no such file or folder; did you mean 'log.csv'?"],
    ),
    "bad date": (["log.csv", "--out", "o", "--since", "soon"], ["--since", "soon", "neither a number nor an ISO date"]),
    "bad kind": (["log.csv", "--out", "o", "--kind", "csv"], ["--kind", "csv"]),
    "negative core": (["log.csv", "--out", "o", "--min-user-interactions", "-1"], ["--min-user-interactions", "-1"]),
    "unknown flag": (["log.csv", "--out", "o", "--min-users", "1"], ["--min-users"]),
    "a bad cell": (["log.csv", "--out", "o"], ["log.csv, line 3: item is empty"]),
    "nothing left": (
        ["log.csv", "--out", "o", "--bad-rows", "drop", "--min-item-interactions", "9"],
        ["k-core", "lower"],
    ),
}


@pytest.mark.parametrize(("arguments", "parts"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes(arguments, parts, crossrec, tmp_path):
    folder = tmp_path / "here"
    (folder / "log.csv").write_text("user,item\nu,x\nu,\n")
    line = crossrec("data", "import", *arguments).mistake
    for part in parts:
        assert part in line
    assert [path.name for path in folder.iterdir()] == ["log.csv"]


DRIVER = """
import os, sys
from crossrec.cli import main
from crossrec.commands import data_import

real = data_import.import_files

def stopped_on_the_way(*arguments, on_progress, **others):
    def tell(what, done, total):
        on_progress(what, done, total)
        if what == sys.argv[1]:
            os.kill(os.getpid(), int(sys.argv[2]))

    return real(*arguments, on_progress=tell, **others)

data_import.import_files = stopped_on_the_way
sys.exit(main(["data", "import", "log.csv", "--out", "deep/out"]))
"""


@pytest.mark.parametrize(("stage", "sent"), [("reading", signal.SIGINT), ("splitting", signal.SIGTERM)])
def test_a_stop_leaves_nothing_behind(stage, sent, tmp_path):
    (tmp_path / "log.csv").write_text("user,item\n" + "".join(f"u{n % 50},i{n % 70}\n" for n in range(5000)))
    command = [sys.executable, "-c", DRIVER, stage, str(int(sent))]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 130, done.stderr
    assert done.stderr.startswith("crossrec: stopped")
    assert [path.name for path in tmp_path.iterdir()] == ["log.csv"]
