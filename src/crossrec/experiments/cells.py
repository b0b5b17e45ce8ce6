"""Many runs as one experiment: a cell is a run directory named by its whole configuration, done once and resumed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crossrec.data import DataConfig, Dataset, load
from crossrec.errors import RunError
from crossrec.run import RunConfig
from crossrec.storage import read_json, write_json_atomic


@dataclass(frozen=True)
class Cell:
    """One run of an experiment. ``group``: where its result belongs, e.g. (data set, backbone, alignment)."""

    config: RunConfig
    group: tuple[str, ...]

    @property
    def name(self) -> str:
        """Folder of the cell: readable, and different for every configuration and version of the method."""
        return f"{self.config.label}-seed{self.config.training.seed}-{self.config.digest()[:10]}"

    @property
    def title(self) -> str:
        """What progress is told of, e.g. ``tiktok freedom ILDA&DT seed 0``."""
        return " ".join([*(Path(part).name for part in self.group if part), f"seed {self.config.training.seed}"])


@dataclass(frozen=True)
class Result:
    """What became of a cell: ``metrics`` as in its ``metrics.json``, or the ``failure`` for want of which."""

    cell: Cell
    folder: Path
    metrics: dict[str, Any] | None = None
    failure: str = ""


class Datasets(dict[DataConfig, Dataset]):
    """Data sets by configuration, each read once, when it is first asked for. Raises DataError as ``load`` does."""

    def __missing__(self, config: DataConfig) -> Dataset:
        made = self[config] = load(config)
        return made


@dataclass
class _Process:
    cell: Cell
    folder: Path
    process: subprocess.Popen[bytes]


def run_cells(
    cells: Sequence[Cell],
    out: Path,
    datasets: Mapping[DataConfig, Dataset],
    *,
    jobs: int = 1,
    threads: int = 0,
    on_change: Callable[[Cell, str], None] = lambda cell, state: None,
    poll_seconds: float = 0.2,
) -> list[Result]:
    """Run every cell that is not done, ``jobs`` at a time, each in a process of its own; returns all with outcomes.

    ``datasets``: the data set of each cell's ``config.data`` (``Datasets()`` reads them). A cell's folder is
    ``out / cell.name``; one that is done is left as it is, one that was stopped goes on from its checkpoint, and two
    cells of one configuration are one run. ``threads`` per process (0: torch's choice for one job, else the cores
    shared out). ``on_change`` hears "done", "failed: …" and, while a cell trains, "epoch N". A cell that fails leaves a
    ``log.txt`` and does not stop the others. Interrupting stops the processes; what they have saved stays.
    """
    results: dict[str, Result] = {}
    if not threads and jobs > 1:
        threads = max(1, (os.cpu_count() or 1) // jobs)
    waiting = []
    for name, cell in {cell.name: cell for cell in cells}.items():
        folder = out / name
        done = read_json(folder / "metrics.json") if (folder / "metrics.json").exists() else {}
        if done.get("identity") == cell.config.identity(datasets[cell.config.data]):
            results[name] = Result(cell, folder, done)
            on_change(cell, "done before")
        else:  # not done, or done on other contents of the data set, which the run itself will refuse
            waiting.append(cell)
    running: list[_Process] = []
    try:
        while waiting or running:
            while waiting and len(running) < max(1, jobs):
                running.append(_start(waiting.pop(0), out, threads))
                on_change(running[-1].cell, "started")
            time.sleep(poll_seconds)
            for process in list(running):
                code = process.process.poll()
                if code is None:
                    on_change(process.cell, f"epoch {_epochs(process.folder)}")
                    continue
                running.remove(process)
                results[process.cell.name] = result = _result(process, code)
                on_change(process.cell, result.failure or "done")
    finally:
        for process in running:
            process.process.terminate()
        for process in running:
            process.process.wait()
    found = [results[cell.name] for cell in cells]
    return [Result(cell, r.folder, r.metrics, r.failure) for cell, r in zip(cells, found, strict=True)]


def _start(cell: Cell, out: Path, threads: int) -> _Process:
    folder = out / cell.name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"cannot make the folder {folder}: {error.strerror}; give another --out") from None
    write_json_atomic(folder / "cell.json", cell.config.model_dump(mode="json"))
    command = [sys.executable, "-m", "crossrec", "train", "--config", str(folder / "cell.json"), "--out", str(folder)]
    command += ["--resume", "--threads", str(threads)]
    with open(folder / "log.txt", "wb") as log:
        return _Process(cell, folder, subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log))


def _result(process: _Process, code: int) -> Result:
    cell, folder, log = process.cell, process.folder, process.folder / "log.txt"
    if code == 0 and (folder / "metrics.json").exists():
        log.unlink(missing_ok=True)
        (folder / "cell.json").unlink(missing_ok=True)
        return Result(cell, folder, read_json(folder / "metrics.json"))
    lines = log.read_text(errors="replace").strip().splitlines()
    reason = lines[-1].removeprefix("crossrec: error: ") if lines else f"exit code {code}"
    return Result(cell, folder, failure=f"failed: {reason}")


def _epochs(folder: Path) -> int:
    try:
        return max(0, (folder / "history.csv").read_bytes().count(b"\n") - 1)
    except OSError:
        return 0
