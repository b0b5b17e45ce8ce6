"""The estimate of a training's memory: its weights, measured peaks, and what is refused before the start."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch

from crossrec import memory
from crossrec.data import load
from crossrec.errors import MemoryLimitError
from crossrec.memory import Available
from crossrec.objective import Objective
from crossrec.runs.config import RunConfig
from crossrec.runs.execute import run
from crossrec.runs.memory import IGNORE, MATRICES, Sizes, number_of_weights, training_memory
from crossrec.types import TrainingSet

ROOT = Path(__file__).resolve().parents[2]
SIZES = Sizes(users=300, items=200, interactions=2000, held_out=100, widths=(48, 16))
GIB = 2**30


def config(backbone="lightgcn", alignment="none", **settings):
    training = {"batch_size": settings.pop("batch_size", 256), "epochs": 1, "device": "cpu"}
    backbone = {"name": backbone, "dim": 32} | settings
    return RunConfig.parse(
        {"data": {"data": "synthetic-tiny"}, "backbone": backbone, "alignment": {"name": alignment}}
        | {"training": training}
    )


@pytest.mark.parametrize("alignment", ["none", "cross", "fettle"])
@pytest.mark.parametrize("backbone", MATRICES)
def test_the_number_of_weights(backbone, alignment):
    draw = torch.Generator().manual_seed(0)
    user = torch.randint(SIZES.users, (SIZES.interactions,), generator=draw)
    item = torch.randint(SIZES.items, (SIZES.interactions,), generator=draw)
    features = {f"m{width}": torch.randn(SIZES.items, width, generator=draw) for width in SIZES.widths}
    settings = config(backbone, alignment)
    data = TrainingSet(SIZES.users, SIZES.items, user, item, features)
    objective = Objective(settings.backbone, settings.alignment, data, 0)
    assert number_of_weights(settings, SIZES) == pytest.approx(sum(p.numel() for p in objective.parameters()), rel=0.05)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the peak is read from /proc")
def test_the_estimate_is_within_a_quarter_of_the_measured_peak_at_three_sizes(tmp_path):
    command = [sys.executable, "-m", "benchmarks.memory", "--quick", "--out", str(tmp_path / "memory")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "memory.json").read_text())
    peaks = [row["peak_mb"] for row in rows]
    assert len(peaks) == 3
    assert peaks[2] > 2 * peaks[0]
    for row in rows:
        assert 0.75 <= row["ratio"] <= 1.25, row


@pytest.mark.parametrize(
    ("changed", "least"),
    [
        ({"users": 100_300}, 4 * 32 * 4 * 100_000),  # weight, best weight and two moments of every user
        ({"items": 100_200}, (4 * 32 * 4 + 4 * 128) * 100_000),
        ({"interactions": 1_002_000}, 75 * 1_000_000),
    ],
)
def test_what_a_size_adds(changed, least):
    small = training_memory(config(), SIZES)
    assert training_memory(config(), SIZES._replace(**changed)) > small + least


@pytest.mark.parametrize(
    ("larger", "least"),
    [
        ({"dim": 320}, 4 * 288 * 500 * 4),
        ({"batch_size": 2000}, 32 * 1744 * 4),
        ({"alignment": "cross"}, 4 * 32 * 192 * 4),
        ({"backbone": "ncl", "layers": 9}, 32 * 500 * 4 * 6),
        ({"backbone": "freedom"}, 4 * 4 * 200 * 64),
    ],
)
def test_what_a_setting_adds(larger, least):
    backbone = larger.get("backbone", "lightgcn")
    smaller = config(backbone if "layers" in larger else "lightgcn")
    assert training_memory(config(**larger), SIZES) > training_memory(smaller, SIZES) + least


@pytest.fixture
def available(monkeypatch):
    """Make so many GiB available."""

    def set_available(gib):
        monkeypatch.setattr(memory, "available_memory", lambda: Available(gib * GIB, "ulimit -v"))

    return set_available


def test_a_training_that_cannot_fit_is_refused_before_it_starts(tmp_path, available):
    available(1)
    with pytest.raises(MemoryLimitError, match=r"^training takes about [\d.,]+ GiB and ") as refused:
        run(config(dim=16384, alignment="cross"), tmp_path / "out")
    message = str(refused.value)
    assert " are available (ulimit -v): --dim " in message
    assert message.endswith(f"would fit; {IGNORE}=1 starts it all the same")
    assert not (tmp_path / "out").exists()


def test_what_would_fit_does_fit_and_twice_as_much_does_not(tmp_path, available):
    available(1)
    settings = config(dim=16384, alignment="cross")
    with pytest.raises(MemoryLimitError) as refused:
        run(settings, tmp_path / "out")
    dim, sizes = int(str(refused.value).split("--dim ")[1].split(" ")[0]), Sizes.of(load(settings.data))
    assert training_memory(config(dim=dim, alignment="cross"), sizes) <= GIB
    assert training_memory(config(dim=2 * dim, alignment="cross"), sizes) > GIB


def test_nothing_fits(tmp_path, available):
    available(0.001)
    with pytest.raises(MemoryLimitError, match=r"no --dim fits; train on fewer users and items, or with more memory"):
        run(config(), tmp_path / "out")


def test_a_training_starts_all_the_same_where_the_user_says_so(tmp_path, available, monkeypatch):
    available(0.001)
    monkeypatch.setenv(IGNORE, "1")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert run(config(), tmp_path / "out")["epochs"] == 1


def test_the_command_line_says_it_in_one_line(tmp_path, available, capsys):
    from crossrec.cli import main

    available(1)
    arguments = ["--data", "synthetic-tiny", "--dim", "65536", "--out", str(tmp_path / "out")]
    assert main(["train", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("crossrec: error: training takes about ")
    assert "--dim " in line
    assert os.listdir(tmp_path) == []
