"""Many runs as one experiment: a cell is a run directory named by its whole configuration, done once and resumed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from crossrec.data import DataConfig, Dataset, load
from crossrec.data.io.atomic import read_json, write_json_atomic
from crossrec.data.io.lock import FolderLock
from crossrec.runs.config import RunConfig

POLL_SECONDS = 0.2
"""Between two looks at the processes."""
LOOK_SECONDS = 5.0
"""Between two looks at a cell that another worker trains, once it has been looked at a few times."""


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


class Pool:
    """Processes that train cells, ``jobs`` at a time, each cell once: ``run_cells`` is this for a list of them.

    Every cell has a process of its own and a folder ``out / cell.name``, which several pools may share, on several
    hosts: what another one trains is waited for, and taken over if that one dies. As a context it stops its processes
    at the end; what they have saved stays. ``datasets``, ``threads`` and ``on_change`` as for ``run_cells``.
    """

    def __init__(
        self,
        out: Path,
        datasets: Mapping[DataConfig, Dataset],
        *,
        jobs: int = 1,
        threads: int = 0,
        on_change: Callable[[Cell, str], None] = lambda cell, state: None,
    ) -> None:
        self._out, self._datasets, self._jobs, self._on_change = out, datasets, max(1, jobs), on_change
        self._threads = max(1, (os.cpu_count() or 1) // jobs) if not threads and jobs > 1 else threads
        self._seen: set[str] = set()
        self._waiting: list[_Waiting] = []
        self._running: list[_Process] = []
        self._ended: list[Result] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._running:
            process.process.terminate()
        for process in self._running:
            process.process.wait()
            process.lease.release()

    @property
    def room(self) -> bool:
        """Whether one more cell could be started at once, after a ``step``."""
        return len(self._running) < self._jobs

    @property
    def busy(self) -> bool:
        """Whether anything is left to wait for."""
        return bool(self._waiting or self._running or self._ended)

    def add(self, cell: Cell) -> None:
        """Have a cell trained; its result, where it is done, comes with the next ``step``. Twice is once."""
        if cell.name not in self._seen:
            self._seen.add(cell.name)
            if not self._found(cell, "done before"):
                folder = self._out / cell.name
                self._waiting.append(_Waiting(cell, FolderLock(folder, folder / "history.csv")))

    def close(self) -> None:
        """Start nothing more: what has not begun is "not run"."""
        for waiting in self._waiting:
            self._end(Result(waiting.cell, self._out / waiting.cell.name, failure="not run: the time was up"))
        self._waiting = []

    def step(self) -> list[Result]:
        """Start what there is room for and see to what runs; returns what has ended since the last step."""
        for waiting in list(self._waiting):
            if not self.room:
                break
            if time.monotonic() >= waiting.look_at and self._begin(waiting):
                self._waiting.remove(waiting)
        for process in list(self._running):
            code = process.process.poll()
            if code is not None:
                self._running.remove(process)
                self._end(_result(process, code))
                process.lease.release()
            elif process.lease.renew():
                self._on_change(process.cell, f"epoch {_epochs(process.folder)}")
            else:  # this process slept so long that another worker took over
                process.process.terminate()
                process.process.wait()
                self._running.remove(process)
                self._waiting.append(_Waiting(process.cell, FolderLock(process.folder, process.folder / "history.csv")))
        ended, self._ended = self._ended, []
        return ended

    def _begin(self, waiting: _Waiting) -> bool:
        """Start a cell, or find it done by now; False while another worker has it."""
        cell, lease = waiting.cell, waiting.lease
        if self._found(cell):
            return True
        if not lease.take():
            self._on_change(cell, "trained elsewhere")
            waiting.look_at = time.monotonic() + waiting.pause
            waiting.pause = min(2 * waiting.pause, LOOK_SECONDS)
            return False
        if self._found(cell):  # by the worker that has just given the lease back
            lease.release()
            return True
        self._running.append(_start(cell, self._out, self._threads, lease))
        self._on_change(cell, "started")
        return True

    def _found(self, cell: Cell, state: str = "done") -> bool:
        """Whether a cell is done: if so, it has ended.

        One done on other contents of the data set does not count; the run itself will refuse it.
        """
        path = self._out / cell.name / "metrics.json"
        if not path.exists():
            return False
        metrics = read_json(path)
        if metrics.get("identity") != cell.config.identity(self._datasets[cell.config.data]):
            return False
        self._end(Result(cell, path.parent, metrics), state)
        return True

    def _end(self, result: Result, state: str = "done") -> None:
        self._ended.append(result)
        self._on_change(result.cell, result.failure or state)


@dataclass
class _Waiting:
    cell: Cell
    lease: FolderLock
    look_at: float = 0.0
    pause: float = 0.1


@dataclass
class _Process:
    cell: Cell
    folder: Path
    process: subprocess.Popen[bytes]
    lease: FolderLock


def run_cells(
    cells: Sequence[Cell],
    out: Path,
    datasets: Mapping[DataConfig, Dataset],
    *,
    jobs: int = 1,
    threads: int = 0,
    on_change: Callable[[Cell, str], None] = lambda cell, state: None,
    poll_seconds: float = POLL_SECONDS,
) -> list[Result]:
    """Run every cell that is not done, ``jobs`` at a time, each in a process of its own; returns all with outcomes.

    ``datasets``: the data set of each cell's ``config.data`` (``Datasets()`` reads them). A cell's folder is
    ``out / cell.name``; one that is done is left as it is, one that was stopped goes on from its checkpoint, one that
    another worker trains is waited for, and two cells of one configuration are one run. ``threads`` per process (0:
    torch's choice for one job, else the cores shared out). ``on_change`` hears "done", "failed: …", "trained elsewhere"
    and, while a cell trains, "epoch N". A cell that fails leaves a ``log.txt`` and does not stop the others.
    Interrupting stops the processes; what they have saved stays.
    """
    results: dict[str, Result] = {}
    with Pool(out, datasets, jobs=jobs, threads=threads, on_change=on_change) as pool:
        for cell in cells:
            pool.add(cell)
        while pool.busy:
            results |= {result.cell.name: result for result in pool.step()}
            if pool.busy:
                time.sleep(poll_seconds)
    found = [results[cell.name] for cell in cells]
    return [Result(cell, r.folder, r.metrics, r.failure) for cell, r in zip(cells, found, strict=True)]


def _start(cell: Cell, out: Path, threads: int, lease: FolderLock) -> _Process:
    folder = out / cell.name
    write_json_atomic(folder / "cell.json", cell.config.model_dump(mode="json"))
    with open(folder / "log.txt", "wb") as log:
        process = subprocess.Popen(_train(folder, threads), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    lease.add(process.pid)  # whoever is killed without a word, its process keeps others out of the folder
    return _Process(cell, folder, process, lease)


def _train(folder: Path, threads: int) -> list[str]:
    command = [sys.executable, "-m", "crossrec", "train", "--config", str(folder / "cell.json"), "--out", str(folder)]
    return [*command, "--resume", "--threads", str(threads)]


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
