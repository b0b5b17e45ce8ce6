"""Train cells, several at a time: in processes of this host, or on a Ray cluster."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, Self

from crossrec.cluster import ClusterConfig
from crossrec.data import DataConfig, Dataset
from crossrec.data.io.atomic import write_json_atomic
from crossrec.data.io.lock import POLL_SECONDS, FolderLock
from crossrec.data.io.manifest import MANIFEST
from crossrec.data.io.system_errors import writing
from crossrec.errors import RunError
from crossrec.experiments.runner.jobs import Cell, Result
from crossrec.experiments.runner.ray import RayTrainings
from crossrec.runs.directory import finished_metrics

ERROR = "crossrec: error: "
"""What the command line writes before an error."""


class Training(Protocol):
    """A cell that is being trained somewhere, with ``folder`` as its run directory in the end."""

    cell: Cell
    folder: Path

    def poll(self) -> bool:
        """Take over what is new, and return whether it has ended."""

    @property
    def succeeded(self) -> bool:
        """Whether it has ended well, as far as it says."""

    def failure(self) -> str:
        """Why it has ended without a finished run."""

    def stop(self) -> None:
        """Let it end at once, without waiting; its last checkpoint stays."""

    def wait(self) -> None:
        """Wait until it has stopped."""


class Pool:
    """Trains cells, as many at the same time as there is room for.

    Every cell has a folder ``out / cell.name``. A stopped run resumes from its checkpoint; a cell that fails leaves a
    ``log.txt``. The context locks ``out``: another pool on this host waits until this one ends, and then uses its
    results. Leaving the context stops what still trains; the checkpoints stay.

    ``datasets``: the data set of each cell's ``config.data`` (``Datasets()`` reads them). Cells train in ``jobs``
    processes with so many ``threads`` each; 0 is torch's default for one job, an equal share of the cores for several.
    With a ``cluster`` they are tasks of Ray, as many as its nodes hold, and 0 is the processors of a task.
    ``on_change(cell, state)`` is called with "started", "epoch N", "done", "done before" and "failed: …".
    """

    def __init__(
        self,
        out: Path,
        datasets: Mapping[DataConfig, Dataset],
        *,
        jobs: int = 1,
        threads: int = 0,
        cluster: ClusterConfig | None = None,
        on_change: Callable[[Cell, str], None] = lambda cell, state: None,
    ) -> None:
        self._out, self._datasets, self._cluster, self._on_change = out, datasets, cluster, on_change
        self._lock, self._context = FolderLock(out), ExitStack()
        self._room: Callable[[], int] = (lambda: jobs) if cluster is None else cluster.room
        self._start: Callable[[Cell, Path], Training]
        if cluster is not None:
            self._start = RayTrainings(datasets, cluster, threads).start
        else:
            threads = max(1, (os.cpu_count() or 1) // jobs) if not threads and jobs > 1 else threads
            self._start = lambda cell, folder: TrainingProcess.start(cell, folder, threads, self._lock.descriptors)
        self._names: set[str] = set()
        self._queued: deque[Cell] = deque()
        self._running: list[Training] = []
        self._results: list[Result] = []

    def __enter__(self) -> Self:
        with ExitStack() as context:
            if self._cluster is not None:
                context.enter_context(self._cluster.connect())
            self._lock.wait()
            context.callback(self._lock.release)
            context.callback(self._stop)
            self._context = context.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._context.close()

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
        return len(self._running) < self._room()

    @property
    def busy(self) -> bool:
        """Whether a cell is queued or running, or a result is still to be fetched by ``step``."""
        return bool(self._queued or self._running or self._results)

    def add(self, cell: Cell) -> None:
        """Queue a cell. If it is trained already, the next ``step`` returns its result. A second time has no effect."""
        if cell.name not in self._names:
            self._names.add(cell.name)
            if (result := self._result(cell)) is not None:
                self._finish(result, "done before")
            else:
                self._queued.append(cell)

    def folder(self, cell: Cell) -> Path:
        """The run directory of a cell."""
        return self._out / cell.name

    def stop(self, cell: Cell) -> None:
        """Stop a cell that trains or is queued; ``step`` returns no result of it. Its checkpoint stays."""
        self._queued = deque(queued for queued in self._queued if queued.name != cell.name)
        for training in [training for training in self._running if training.cell.name == cell.name]:
            training.stop()
            training.wait()
            self._running.remove(training)
        self._on_change(cell, "done")

    def close(self) -> None:
        """Drop the queue: cells that have not begun end as "not run"."""
        while self._queued:
            cell = self._queued.popleft()
            self._finish(Result(cell, self.folder(cell), failure="not run: the time was up"))

    def step(self) -> list[Result]:
        """Start as many cells as there is room for; returns the results since the last step."""
        while self._queued and self.has_room:
            cell = self._queued.popleft()
            self._running.append(self._start(cell, self.folder(cell)))
            self._on_change(cell, "started")
        for training in list(self._running):
            if not training.poll():
                self._on_change(training.cell, f"epoch {_count_epochs(training.folder)}")
                continue
            self._running.remove(training)
            result = self._result(training.cell) if training.succeeded else None
            self._finish(result or Result(training.cell, training.folder, failure=f"failed: {training.failure()}"))
        results, self._results = self._results, []
        return results

    def _result(self, cell: Cell) -> Result | None:
        """The result of a cell whose run is done, a failure if its folder is damaged or of another run, else None."""
        folder = self.folder(cell)
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

    def _stop(self) -> None:
        for training in self._running:
            training.stop()
        for training in self._running:
            training.wait()


@dataclass
class TrainingProcess:
    """A process that trains one cell. It shares the lock of the pool, which outlives a pool that is killed."""

    cell: Cell
    folder: Path
    process: subprocess.Popen[bytes]

    @classmethod
    def start(cls, cell: Cell, folder: Path, threads: int, locks: Sequence[int] = ()) -> Self:
        """Start the process; ``locks``: descriptors of locks that it holds too."""
        write_json_atomic(folder / "cell.json", cell.config.model_dump(mode="json"))
        with writing(folder / "log.txt"), open(folder / "log.txt", "wb") as log:
            command = train_command(folder, threads)
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=locks)
        return cls(cell, folder, process)

    def poll(self) -> bool:
        """Whether the process has ended."""
        return self.process.poll() is not None

    @property
    def succeeded(self) -> bool:
        """Whether its exit code is 0."""
        return self.process.returncode == 0

    def failure(self) -> str:
        """The signal that ended it, or what it wrote last."""
        return _failure(self.process.returncode, self.folder / "log.txt")

    def stop(self) -> None:
        """Terminate the process."""
        self.process.terminate()

    def wait(self) -> None:
        """Wait for its end."""
        self.process.wait()


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
