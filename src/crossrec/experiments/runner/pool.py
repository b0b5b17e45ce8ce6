"""Train cells in processes, several at a time, each cell once among all pools that share a folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from crossrec.data import DataConfig, Dataset
from crossrec.data.io.atomic import write_json_atomic
from crossrec.data.io.lock import FolderLock
from crossrec.data.io.manifest import MANIFEST
from crossrec.data.io.system_errors import writing
from crossrec.errors import RunError
from crossrec.experiments.runner.jobs import Cell, Result
from crossrec.runs.directory import finished_metrics

POLL_SECONDS = 0.2
"""Time between two checks of the processes."""
MAX_RETRY_SECONDS = 5.0
"""Longest time between two attempts at a cell that another worker trains; the first one is 0.1 s."""
ERROR = "crossrec: error: "
"""What the command line writes before an error."""


class Pool:
    """Processes that train cells, ``jobs`` at a time.

    Every cell has a process of its own and a folder ``out / cell.name``. A stopped run resumes from its checkpoint; a
    cell that fails leaves a ``log.txt``. Several pools, on several hosts, may share ``out``: a pool waits for the cells
    that another one trains, and takes over those whose worker has died. Leaving the context stops the processes; their
    checkpoints stay.

    ``datasets``: the data set of each cell's ``config.data`` (``Datasets()`` reads them). ``threads`` per process; 0 is
    torch's default for one job, an equal share of the cores for several. ``on_change(cell, state)`` is called with
    "started", "epoch N", "trained elsewhere", "done", "done before" and "failed: …".
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
        self._names: set[str] = set()
        self._queued: list[QueuedCell] = []
        self._running: list[TrainingProcess] = []
        self._results: list[Result] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for training in self._running:
            training.process.terminate()
        for training in self._running:
            training.process.wait()
            training.lock.release()

    def run(self, cells: Sequence[Cell]) -> list[Result]:
        """Train every cell that is not done yet; returns the results in the order of ``cells``.

        Cells of one configuration share a run. A cell that fails does not stop the others.
        """
        for cell in cells:
            self.add(cell)
        results: dict[str, Result] = {}
        while self.busy:
            results |= {result.cell.name: result for result in self.step()}
            if self.busy:
                time.sleep(POLL_SECONDS)
        return [replace(results[cell.name], cell=cell) for cell in cells]

    @property
    def has_room(self) -> bool:
        """Whether one more cell could start at once, after a ``step``."""
        return len(self._running) < self._jobs

    @property
    def busy(self) -> bool:
        """Whether a cell is queued or running, or a result is still to be fetched by ``step``."""
        return bool(self._queued or self._running or self._results)

    def add(self, cell: Cell) -> None:
        """Queue a cell. If it is trained already, the next ``step`` returns its result. A second time has no effect."""
        if cell.name not in self._names:
            self._names.add(cell.name)
            if not self._is_completed(cell, "done before"):
                self._queued.append(QueuedCell(cell, FolderLock(self._out / cell.name)))

    def close(self) -> None:
        """Drop the queue: cells that have not begun end as "not run"."""
        for queued in self._queued:
            self._finish(Result(queued.cell, queued.lock.folder, failure="not run: the time was up"))
        self._queued = []

    def step(self) -> list[Result]:
        """Start as many cells as there is room for; returns the results since the last step."""
        for queued in list(self._queued):
            if not self.has_room:
                break
            if time.monotonic() >= queued.retry_at and self._begin(queued):
                self._queued.remove(queued)
        for training in list(self._running):
            code = training.process.poll()
            if code is None:
                self._on_change(training.cell, f"epoch {_count_epochs(training.lock.folder)}")
            else:
                self._running.remove(training)
                result = self._result(training.cell) if code == 0 else None
                self._finish(result or training.failure(code))
                training.lock.release()
        results, self._results = self._results, []
        return results

    def _begin(self, queued: QueuedCell) -> bool:
        """Start a cell, unless it is trained by now; False while another worker trains it."""
        cell, lock = queued.cell, queued.lock
        if self._is_completed(cell):
            return True
        if not lock.acquire():
            self._on_change(cell, "trained elsewhere")
            queued.postpone()
            return False
        if self._is_completed(cell):  # by the worker that has just released the lock
            lock.release()
            return True
        self._running.append(TrainingProcess.start(cell, lock, self._threads))
        self._on_change(cell, "started")
        return True

    def _is_completed(self, cell: Cell, state: str = "done") -> bool:
        """Whether a cell is trained already, or its folder cannot be used; if so, its result is final."""
        result = self._result(cell)
        if result is None:
            return False
        self._finish(result, state)
        return True

    def _result(self, cell: Cell) -> Result | None:
        """The result of a cell whose run is done, a failure if its folder is damaged or of another run, else None."""
        folder = self._out / cell.name
        if not any((folder / name).exists() for name in (MANIFEST, "metrics.json")):
            return None
        try:
            metrics = finished_metrics(folder, cell.config.identity(self._datasets[cell.config.data]), resume=True)
        except RunError as error:
            return Result(cell, folder, failure=f"failed: {error}")
        return None if metrics is None else Result(cell, folder, metrics)

    def _finish(self, result: Result, state: str = "done") -> None:
        if result.metrics is not None:
            _delete_log(result.folder)
        self._results.append(result)
        self._on_change(result.cell, result.failure or state)


@dataclass
class QueuedCell:
    """A cell that waits for room, or for another worker that has locked its folder."""

    cell: Cell
    lock: FolderLock
    retry_at: float = 0.0
    pause: float = 0.1

    def postpone(self) -> None:
        """Wait before the next attempt, each time twice as long."""
        self.retry_at = time.monotonic() + self.pause
        self.pause = min(2 * self.pause, MAX_RETRY_SECONDS)


@dataclass
class TrainingProcess:
    """A process that trains one cell. It shares the folder's lock, which outlives a pool that is killed."""

    cell: Cell
    lock: FolderLock
    process: subprocess.Popen[bytes]

    @classmethod
    def start(cls, cell: Cell, lock: FolderLock, threads: int) -> Self:
        folder = lock.folder
        write_json_atomic(folder / "cell.json", cell.config.model_dump(mode="json"))
        with writing(folder / "log.txt"), open(folder / "log.txt", "wb") as log:
            command = train_command(folder, threads)
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **lock.for_child())
        return cls(cell, lock, process)

    def failure(self, code: int) -> Result:
        """The result of a process that ended without a finished run."""
        folder = self.lock.folder
        return Result(self.cell, folder, failure=f"failed: {_failure(code, folder / 'log.txt')}")


def _delete_log(folder: Path) -> None:
    """Delete what a cell leaves that has not failed, also one whose pool was killed: its log and its ``cell.json``."""
    if (folder / "cell.json").exists():
        for name in ("log.txt", "cell.json"):
            (folder / name).unlink(missing_ok=True)


def train_command(folder: Path, threads: int) -> list[str]:
    """The command that trains the cell of a folder, whose ``cell.json`` holds the configuration."""
    command = [sys.executable, "-m", "crossrec", "train", "--config", str(folder / "cell.json"), "--out", str(folder)]
    return [*command, "--resume", "--threads", str(threads)]


def _failure(code: int, log: Path) -> str:
    """Why a process ended with this exit code, given what it wrote: the signal, or the last line of an error."""
    if code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        return f"killed by {name}" + (", as the kernel does where memory runs out" if name == "SIGKILL" else "")
    lines = log.read_text(errors="replace").strip().splitlines()
    errors = [line.removeprefix(ERROR) for line in lines if line.startswith(ERROR)]
    last = f"ends with: {lines[-1]}" if lines else "is empty, as where the disk is full"
    return errors[-1] if errors else f"exit code {code}; {log} {last}"


def _count_epochs(folder: Path) -> int:
    try:
        return max(0, (folder / "history.csv").read_bytes().count(b"\n") - 1)
    except OSError:
        return 0
