"""The command line in this process, and small data sets in files."""

from __future__ import annotations

import csv
import json
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from crossrec.cli import main
from crossrec.experiments.runner.jobs import Cell, Result
from crossrec.experiments.runner.pool import Pool
from crossrec.runs.config import RunConfig
from crossrec.runs.execute import run


@dataclass
class CommandOutput:
    """Exit code and output of a command."""

    code: int
    out: str
    err: str

    @property
    def mistake(self) -> str:
        """The error line of a user's mistake, which must be the only output."""
        assert self.code == 2, self
        (line,) = self.err.splitlines()
        assert line.startswith("crossrec: error: "), line
        assert self.out == ""
        return line.removeprefix("crossrec: error: ")


@pytest.fixture
def crossrec(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., CommandOutput]:
    """Run ``crossrec ARGUMENT …`` in an empty folder. No exception may leave it."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "200")

    def call(*arguments: object) -> CommandOutput:
        threads = torch.get_num_threads()
        with warnings.catch_warnings():  # main() sets how warnings are shown
            code = main([str(argument) for argument in arguments])
        torch.set_num_threads(threads)
        return CommandOutput(code, *capsys.readouterr())

    return call


TINY = ("--data", "synthetic-tiny", "--epochs", "2", "--batch-size", "256", "--dim", "8", "--device", "cpu")


@pytest.fixture
def pairs() -> list[tuple[int, int, int]]:
    """(user, item, split) of 12 users and 10 items, eight of ten items each: 6 train, 1 valid, 1 test."""
    rows = []
    for user in range(12):
        items = np.random.default_rng(user).permutation(10)[:8]
        rows += [(user, int(item), max(0, position - 5)) for position, item in enumerate(items)]
    return rows


@pytest.fixture
def features() -> dict[str, np.ndarray]:
    """Two content modalities of the ten items."""
    draw = np.random.default_rng(3)
    return {"sound": draw.normal(size=(10, 6)).astype(np.float32), "scent": draw.normal(size=(10, 4))}


@pytest.fixture
def mmrec(tmp_path: Path, pairs: list[tuple[int, int, int]], features: dict[str, np.ndarray]) -> Path:
    """A folder in the layout of MMRec."""
    folder = tmp_path / "shop"
    folder.mkdir()
    rows = "".join(f"{user}\t{item}\t5.0\t{split}\n" for user, item, split in pairs)
    (folder / "shop.inter").write_text("userID\titemID\trating\tx_label\n" + rows)
    for name, matrix in features.items():
        np.save(folder / f"{name}_feat.npy", matrix)
    return folder


@pytest.fixture
def tabular(tmp_path: Path, pairs: list[tuple[int, int, int]], features: dict[str, np.ndarray]) -> Path:
    """A folder with a CSV of text ids and a list of items in the order of the features."""
    folder = tmp_path / "table"
    folder.mkdir()
    with (folder / "interactions.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["customer", "product", "when", "split"])
        for user, item, split in pairs:
            writer.writerow([f"Ann-{user}", f"tea, {item}", "2024-05-31", ("train", "valid", "test")[split]])
    with (folder / "items.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["product"], *([f"tea, {item}"] for item in range(10))])
    for name, matrix in features.items():
        np.save(folder / f"{name}_feat.npy", matrix)
    return folder


def content(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Time and bytes of every file below."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


def read(path: Path) -> Any:
    return json.loads(path.read_text())


@pytest.fixture(name="content")
def _content() -> Callable[[Path], dict[str, tuple[int, bytes]]]:
    return content


@pytest.fixture(name="read")
def _read() -> Callable[[Path], Any]:
    return read


@pytest.fixture
def tiny() -> tuple[str, ...]:
    """Flags of a run that takes a moment."""
    return TINY


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Train cells in this process, from the configuration that would be written for another one."""

    def train_here(pool: Pool, cells: Sequence[Cell]) -> list[Result]:
        results = []
        for cell in cells:
            config = RunConfig.parse(json.loads(json.dumps(cell.config.model_dump(mode="json"))))
            assert config == cell.config
            folder = pool._out / cell.name
            metrics = run(config, folder, resume=True, dataset=pool._datasets[cell.config.data])
            pool._on_change(cell, "done")
            results.append(Result(cell, folder, metrics))
        return results

    monkeypatch.setattr(Pool, "run", train_here)
