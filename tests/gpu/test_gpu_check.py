"""``make gpu-check`` runs on a CPU, on an emulated GPU where that can be, and each check apart from the others."""

from __future__ import annotations

import json
from argparse import Namespace

import pytest
import torch
from benchmarks.gpu_check import __main__ as gpu_check, numbers, speed
from benchmarks.gpu_check.common import Session
from benchmarks.gpu_check.row import Row

from .emulated import CUDA, emulated_cuda

IN_PROCESS = [name for name in gpu_check.CHECKS if name not in ("numbers.command", "numbers.golden", "numbers.resume")]


def rows_of(name, device, tmp_path):
    """The rows of a check in this process."""
    session = Session(device, True, tmp_path / "rows.jsonl", 600)
    module, _, function = name.partition(".")
    getattr({"numbers": numbers, "speed": speed}[module], function)(session)
    return [Row(**json.loads(line)) for line in session.rows_file.read_text().splitlines()]


@pytest.mark.parametrize("name", IN_PROCESS)
def test_a_check_on_a_cpu(name, tmp_path):
    rows = rows_of(name, torch.device("cpu"), tmp_path)
    assert rows
    assert [row for row in rows if row.ok is False] == []
    assert all(row.skipped or row.value for row in rows)


@pytest.mark.parametrize("name", ["numbers.golden", "numbers.ranking", "numbers.precision"])
def test_a_check_on_an_emulated_gpu(name, tmp_path):
    with emulated_cuda():
        rows = rows_of(name, CUDA, tmp_path)
    assert {row.ok for row in rows} == {True}, rows


def test_a_part_that_fails_is_a_row_and_not_the_end(tmp_path):
    session = Session(torch.device("cpu"), True, tmp_path / "rows.jsonl", 600)
    with session.part("first"):
        raise RuntimeError("CUDA error: an illegal memory access\nmore")
    with session.part("second") as row:
        row.value, row.ok = "1", True
    session.seconds = -1
    assert not session.has_time("third")
    rows = [Row(**json.loads(line)) for line in session.rows_file.read_text().splitlines()]
    assert [row.result for row in rows] == ["FAILED", "ok", "skipped"]
    assert rows[0].value == "RuntimeError: CUDA error: an illegal memory access"


def test_a_check_that_takes_too_long_is_stopped_and_fails(monkeypatch):
    monkeypatch.setattr(gpu_check, "STARTING", 0)
    (row,) = gpu_check.start_check("numbers.golden", Namespace(device="cpu", tiny=True), 0.2)
    assert row.result == "FAILED"
    assert row.value == "stopped after 0 s"


def test_the_table_and_the_exit_code(monkeypatch, tmp_path, capsys):
    made = {
        "numbers.golden": [Row("golden", "1e-6", "≤ 1e-4", ok=True), Row("a | b", "2", "1", ok=False)],
        "speed.rates": [Row("rates", "9 TFLOP/s")],
    }
    monkeypatch.setattr(gpu_check, "start_check", lambda name, *_: made[name])
    options = ["--device", "cpu", "--out", str(tmp_path / "check"), "--only"]
    assert gpu_check.main([*options, "speed.rates"]) == 0
    assert gpu_check.main([*options, "speed.rates", "numbers.golden"]) == 1
    results = json.loads((tmp_path / "check.json").read_text())["rows"]
    assert [row["result"] for row in results] == ["ok", "FAILED", "measured"]
    assert "1 of 3 failed." in (tmp_path / "check.md").read_text()
    capsys.readouterr()
    monkeypatch.setattr(gpu_check, "NEEDED", ("torch", "no_such_package"))
    assert gpu_check.main([*options, "speed.rates"]) == 2
    assert "pip download -d wheels no-such-package" in capsys.readouterr().err


def test_the_checks_fit_into_six_minutes():
    beside = sum(seconds for name, seconds in gpu_check.CHECKS.items() if name.startswith("numbers."))
    alone = sum(seconds + gpu_check.STARTING for name, seconds in gpu_check.CHECKS.items() if name.startswith("speed."))
    assert beside / gpu_check.BESIDE + alone < gpu_check.TOTAL < 360


def test_without_a_gpu_it_says_so(capsys):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    assert gpu_check.main([]) == 2
    assert "torch finds no GPU here" in capsys.readouterr().err
