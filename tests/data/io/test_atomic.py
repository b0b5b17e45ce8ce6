"""Atomic files: what was written comes back, and a failure keeps the old file."""

from __future__ import annotations

import json
import math
import os
import stat
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
import torch

from crossrec.data.io import atomic
from crossrec.data.io.atomic import (
    files_together,
    move_into_place,
    new_file,
    new_folder,
    read_json,
    write_json_atomic,
    write_text_atomic,
)
from crossrec.data.io.id_column import save_id_map
from crossrec.data.io.lock import FolderLock
from crossrec.data.io.tables import write_frames
from crossrec.data.io.tensor_file import write_tensors
from crossrec.errors import RunError


def test_a_full_disk_is_an_error_and_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "metrics.json"
    write_json_atomic(path, {"a": 1})

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(RunError, match=r"metrics\.json: cannot be written: No space left on device"):
            write_json_atomic(path, {"a": 2})
    assert read_json(path) == {"a": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.json"]


@pytest.mark.parametrize("value", [math.nan, math.inf, object()])
def test_values_that_json_cannot_express_are_refused(tmp_path, value):
    with pytest.raises(RunError, match=r"m\.json: cannot be written as JSON"):
        write_json_atomic(tmp_path / "m.json", {"a": value})
    assert list(tmp_path.iterdir()) == []


def test_text_and_json_are_what_was_written(tmp_path):
    write_text_atomic(tmp_path / "new" / "a.txt", "größer\n")
    assert (tmp_path / "new" / "a.txt").read_bytes() == "größer\n".encode()
    write_json_atomic(tmp_path / "a.json", {"ü": [0.1, 2]})
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"ü": [0.1, 2]}
    assert (tmp_path / "a.json").read_text(encoding="utf-8").endswith("}\n")


@pytest.mark.skipif(os.name != "posix", reason="file modes are a POSIX matter")
def test_files_are_as_readable_as_others(tmp_path):
    (tmp_path / "plain").write_text("")
    write_text_atomic(tmp_path / "atomic", "")
    assert (tmp_path / "atomic").stat().st_mode == (tmp_path / "plain").stat().st_mode


KILLS = """
import os, sys
from itertools import count
from pathlib import Path
from crossrec.data.io import atomic

out, exchange = Path(sys.argv[1]), sys.argv[2] == "exchange"
if not exchange:
    atomic._exchange = lambda one, other: False
for number in count():
    child = os.fork()
    if not child:
        calls = count()
        def kill(event, arguments):
            if event.startswith(("os.", "open", "shutil.", "ctypes.")) and next(calls) == number:
                os.kill(os.getpid(), 9)
        sys.addaudithook(kill)
        if out.suffix:
            with atomic.new_file(out) as file:
                file.write(b"%d " % number)
                file.flush()
                file.write(b"%d" % number)
        else:
            with atomic.new_folder(out) as draft:
                for name in "ab":
                    (draft / name).write_text(str(number))
        os._exit(0)
    _, status = os.waitpid(child, 0)
    try:
        if not exchange:
            with atomic.new_folder(out):
                raise ZeroDivisionError
    except ZeroDivisionError:
        pass
    one, other = out.read_text().split() if out.suffix else ((out / name).read_text() for name in "ab")
    print(number, one, other, *sorted(path.name for path in out.parent.iterdir() if path != out))
    if status == 0:
        break
"""
"""Writes a file or folder again and again, killed before its first, second, … system call, until it is not killed."""


@pytest.mark.parametrize(
    ("name", "how"), [("file.txt", "exchange"), ("folder", "exchange"), ("folder", "two renames")], ids=str
)
def test_a_kill_at_any_moment_leaves_the_old_or_the_new(tmp_path, name, how):
    out = tmp_path / name
    if out.suffix:
        out.write_text("old old")
    else:
        out.mkdir()
        for part in "ab":
            (out / part).write_text("old")
    script = subprocess.run([sys.executable, "-c", KILLS, out, how], capture_output=True, text=True, check=True)
    lines = [line.split() for line in script.stdout.splitlines()]
    assert len(lines) > 8
    before = "old"
    for number, one, other, *_ in lines:
        assert one == other, "half of each"
        assert one in (before, number)
        before = one
    assert any(drafts for _, _, _, *drafts in lines[:-1]), "a kill leaves a draft"
    assert lines[-1] == [lines[-1][0]] * 3, "the next success deletes all drafts"


def test_the_draft_of_a_living_process_is_left_alone(tmp_path):
    path = tmp_path / "lists.csv"
    with new_file(path) as one:
        one.write(b"one")
        with new_file(path) as other:
            other.write(b"other")
        assert path.read_bytes() == b"other"
    assert path.read_bytes() == b"one"
    with new_folder(tmp_path / "a") as one:
        (one / "file").touch()
        with new_folder(tmp_path / "a") as other:
            (other / "other").touch()
    assert [file.name for file in (tmp_path / "a").iterdir()] == ["file"]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a", "lists.csv"]


def test_files_that_only_resemble_drafts_are_left_alone(tmp_path):
    others = [".a.txt.tmp", ".a.txt.notes.tmp", ".a.txt.0123456789ab.txt", ".b.txt.0123456789ab.tmp"]
    for name in [*others, ".a.txt.0123456789ab.tmp"]:
        (tmp_path / name).touch()
    write_text_atomic(tmp_path / "a.txt", "text")
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted([*others, "a.txt"])


@pytest.mark.parametrize("exchange", [True, False])
def test_a_failed_rename_keeps_the_old_folder(tmp_path, monkeypatch, exchange):
    out = tmp_path / "out"
    out.mkdir()
    (out / "a").write_text("old")
    rename = Path.rename

    def fail(self: Path, target: Path) -> Path:
        if self.name.endswith(".tmp"):
            raise OSError(28, "No space left on device")
        return rename(self, target)

    def refuse(one, other):
        if exchange:
            raise OSError(28, "No space left on device")
        return False

    monkeypatch.setattr(atomic, "_exchange", refuse)
    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(RunError, match="No space left"), new_folder(out) as draft:
        (draft / "a").write_text("new")
    assert [(file.name, file.read_text()) for file in out.iterdir()] == [("a", "old")]
    assert list(tmp_path.iterdir()) == [out]


def test_everything_is_flushed_before_and_after_a_rename(tmp_path, monkeypatch):
    events, fsync, replace = [], os.fsync, atomic._replace_folder

    def name(descriptor: int) -> str:
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        return "draft" if path.name.startswith(".") else path.name

    monkeypatch.setattr(os, "fsync", lambda descriptor: (events.append(name(descriptor)), fsync(descriptor)))
    monkeypatch.setattr(atomic, "_replace_folder", lambda *paths: (events.append("rename"), replace(*paths)))
    monkeypatch.setattr(os, "replace", lambda one, other: (events.append("rename"), one.rename(other)))
    (tmp_path / "parent").mkdir()
    write_text_atomic(tmp_path / "parent" / "file", "text")
    assert events == ["draft", "rename", "parent"]
    events.clear()
    with new_folder(tmp_path / "parent" / "folder") as draft:
        (draft / "below").mkdir()
        (draft / "below" / "file").touch()
    assert events == ["below", "file", "draft", "rename", "parent"]


def test_new_folders_and_moved_files_are_flushed_too(tmp_path, monkeypatch):
    events, fsync, replace = [], os.fsync, os.replace

    def flush(descriptor: int) -> None:
        events.append(os.path.relpath(os.readlink(f"/proc/self/fd/{descriptor}"), tmp_path))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", flush)
    monkeypatch.setattr(os, "replace", lambda one, other: (events.append("rename"), replace(one, other)))
    write_text_atomic(tmp_path / "runs" / "seed0" / "a.txt", "text")
    assert events[:2] == ["runs", "."], "their names are in the folders above"
    assert events[3:] == ["rename", "runs/seed0"]
    events.clear()
    move_into_place(tmp_path / "runs" / "seed0" / "a.txt", tmp_path / "runs" / "a.txt")
    assert events == ["rename", "runs"]
    events.clear()
    with FolderLock(tmp_path / "cells" / "seed0"):
        assert events == ["cells", "."]
    events.clear()
    with new_folder(tmp_path / "data" / "shop"):
        pass
    assert events[0] == "."
    assert events[-1] == "data"


@pytest.mark.parametrize("kind", ["bytes", "id map", "table", "tensors"])
def test_every_writer_flushes_its_file_before_the_rename(tmp_path, monkeypatch, kind):
    events, fsync, replace = [], os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda descriptor: (events.append("flush"), fsync(descriptor)))
    monkeypatch.setattr(os, "replace", lambda one, other: (events.append("rename"), replace(one, other)))
    if kind == "bytes":
        write_text_atomic(tmp_path / "a.txt", "text")
    elif kind == "id map":
        save_id_map(pl.Series(["a", "b"]), tmp_path / "a.parquet")
    elif kind == "table":
        write_frames(iter([pl.DataFrame({"a": [1]})]), tmp_path / "a.csv", pl.DataFrame({"a": [0]}).clear())
    else:
        write_tensors(tmp_path / "a.safetensors", {"x": torch.zeros(3)})
    assert events == ["flush", "rename", "flush"]


def test_a_pipe_or_device_is_not_replaced_and_a_link_stays(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "null").symlink_to("/dev/null")
    for name, kind in (("pipe", "a pipe"), ("null", "a device")):
        with pytest.raises(RunError, match=f"{kind}, not a file; choose another path"):
            write_text_atomic(tmp_path / name, "text")
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    assert Path("/dev/null").is_char_device()
    (tmp_path / "file").write_text("old")
    (tmp_path / "link").symlink_to("file")
    write_text_atomic(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_text() == "new"


def test_files_that_belong_together_are_replaced_all_or_none(tmp_path, monkeypatch):
    names, fsync = ("a.txt", "b.txt", "c.txt"), os.fsync

    def write(content, last=""):
        with files_together():
            for name in names:
                write_text_atomic(tmp_path / name, content + name)
            with files_together():  # part of the outer one
                write_text_atomic(tmp_path / "c.txt", content + last)
            assert content == "old" or (tmp_path / "a.txt").read_text() == "olda.txt", "nothing is replaced so far"

    def contents():
        return {path.name: path.read_text() for path in tmp_path.iterdir()}

    write("old")
    old = {"a.txt": "olda.txt", "b.txt": "oldb.txt", "c.txt": "old"}
    assert contents() == old
    calls = []

    def full(descriptor):
        calls.append(descriptor)
        if len(calls) > 3:
            raise OSError(28, "No space left on device")
        fsync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(RunError, match=r"c\.txt: cannot be written: No space left on device"):
            write("new")
    assert contents() == old
    with pytest.raises(TypeError):
        write("new", last=0)
    assert contents() == old
    write("new", "last")
    assert contents() == {"a.txt": "newa.txt", "b.txt": "newb.txt", "c.txt": "newlast"}
    write_text_atomic(tmp_path / "a.txt", "alone")
    assert (tmp_path / "a.txt").read_text() == "alone"
