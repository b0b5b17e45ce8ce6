"""The attacks of ``make torture`` see what must not happen."""

from __future__ import annotations

import random
import shutil

import pytest
from benchmarks.torture import __main__ as torture
from benchmarks.torture.arena import Arena
from benchmarks.torture.damage import alter
from benchmarks.torture.process import Ended
from benchmarks.torture.world import Task, hidden, tree

ERROR = "crossrec: error: out: cannot be written"


@pytest.mark.parametrize(
    ("code", "err", "line"),
    [
        (2, f"crossrec: warning: odd\nbpr epoch 1: loss 0.5\n{ERROR}\n", ERROR),
        (2, f"{ERROR}\n{ERROR}\n", None),
        (2, "no error\n", None),
        (1, f"{ERROR}\n", None),
        (-9, "", None),
        (2, f"ValueError: bad\n{ERROR}\n", None),
    ],
)
def test_only_one_error_line_is_one_error_line(code, err, line):
    assert Ended(code, "", err, 0.0).error_line == line


@pytest.mark.parametrize(
    ("err", "expected"),
    [("Traceback (most recent call last):\n", True), ("thread 'x' panicked at src/lib.rs", True), (ERROR, False)],
)
def test_tracebacks_and_panics_are_seen(err, expected):
    assert Ended(1, "", err, 0.0).has_traceback == expected


def test_every_way_of_damage_alters_the_file_or_says_where(tmp_path):
    draw, ways = random.Random(0), set()
    path = tmp_path / "file"
    for _ in range(80):
        path.write_bytes(bytes(range(256)))
        how = alter(path, draw)
        way = how.rpartition(" at ")[0]
        ways.add(way)
        assert path.exists() == (way != "gone")
        assert not path.exists() or path.read_bytes() != bytes(range(256)) or how == "moved at 0"
    assert ways == {"a bit", "bytes", "cut", "longer", "empty", "zeros", "moved", "gone"}


@pytest.fixture
def arena(tmp_path):
    return Arena("kills", tmp_path, [Task("write", (), "out")], 0, 0.0)


def test_half_an_output_is_a_failure(arena, tmp_path, monkeypatch):
    task, out = arena.tasks[0], tmp_path / "out"
    out.mkdir()
    (out / "a").write_text("new")
    monkeypatch.setitem(Arena._whole, "write", (tree(out), 1.0))
    before = {"a": "old"}
    assert arena.check_untorn(task, tmp_path, before) == tree(out)
    shutil.rmtree(out)
    arena.check_untorn(task, tmp_path, {})
    assert arena.result.failures == []
    out.mkdir()
    (out / "a").write_text("half")
    arena.check_untorn(task, tmp_path, before)
    assert [failure.split(": ")[1] for failure in arena.result.failures] == ["left neither the old nor the new content"]
    (out / ".a.tmp").touch()
    assert hidden(tmp_path, ["b"]) == ["out/.a.tmp"]


def test_the_exit_code_says_whether_something_was_wrong(monkeypatch, capsys):
    def attack(arena):
        arena.saw("refused")
        if arena.name == "second":
            arena.fail(arena.tasks[0], "accepted", Ended(0, "fine", "", 0.0))

    monkeypatch.setattr(torture, "ATTACKS", {"first": (attack, 0.5), "second": (attack, 0.5)})
    monkeypatch.setattr(torture, "preload", lambda: None)
    monkeypatch.setattr(torture, "build", lambda world, draw: [Task("write", (), "out")])
    assert torture.main(["--seconds", "1", "--only", "first"]) == 0
    assert "FAILED" not in capsys.readouterr().out
    assert torture.main(["--seconds", "1"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].startswith("| first | 0 |")
    assert lines[-1] == "FAILED: trial 0 of second, write: accepted (exit code 0: fine)"
