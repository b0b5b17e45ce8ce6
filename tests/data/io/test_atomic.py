"""Atomic files: what was written comes back, and a failure keeps the old file."""

from __future__ import annotations

import json
import math
import os

import pytest

from crossrec.data.io.atomic import read_json, write_json_atomic, write_text_atomic
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
