"""Train cells as tasks of Ray: they go on from their last checkpoint on another node where a worker or node dies.

A task trains in a folder of its node. It sends every file that is new, above all checkpoints, to the process that
started it, which keeps the run directory. So nodes need no common folder.
"""

from __future__ import annotations

import queue
import shutil
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from crossrec.cluster import ClusterConfig
from crossrec.data import DataConfig, Dataset
from crossrec.data.io.atomic import write_bytes_atomic, write_text_atomic
from crossrec.errors import CrossrecError
from crossrec.experiments.runner.jobs import DATASETS_IN_MEMORY, Cell
from crossrec.memory import keep_freed_memory
from crossrec.runs.config import RunConfig
from crossrec.runs.execute import run

MAX_LOSSES = 3
"""How often the worker of a cell may die without a new checkpoint before the cell fails."""
SEND_SECONDS = 1.0
"""Least time between two updates of a training, so that short epochs do not only send files."""
CHECKPOINT = "checkpoint"
"""Folder of a run that is not yet done, in which files are replaced and deleted."""


@dataclass(frozen=True)
class Update:
    """What a training has written since its last update.

    ``files``: name below the folder → content, in the order in which they were written. ``names``: all there are.
    ``failure``: what is wrong with the cell, in one line.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    names: tuple[str, ...] = ()
    failure: str = ""


class RayTrainings:
    """Starts cells on the cluster that this process is connected to. A data set is sent to each node once.

    ``threads`` per task; 0 for its processors.
    """

    def __init__(self, datasets: Mapping[DataConfig, Dataset], cluster: ClusterConfig, threads: int) -> None:
        self._cluster, self._threads = cluster, threads or cluster.cpus_per_run
        self._send = lru_cache(DATASETS_IN_MEMORY)(lambda config: _put(datasets[config]))

    def start(self, cell: Cell, folder: Path) -> RayTraining:
        """Train a cell, from the checkpoint in its folder if there is one."""
        import ray

        task = ray.remote(max_retries=0, max_calls=1, **self._cluster.resources)(train_cell)
        values, dataset = cell.config.model_dump(mode="json"), self._send(cell.config.data)
        return RayTraining(cell, folder, lambda: task.remote(values, _content(folder), dataset, self._threads))


def _put(dataset: Dataset) -> Any:
    import ray

    return ray.put(dataset)


class RayTraining:
    """A task that trains one cell; ``submit`` starts it anew from what its folder holds."""

    def __init__(self, cell: Cell, folder: Path, submit: Any) -> None:
        self.cell, self.folder, self._submit = cell, folder, submit
        self._updates, self._failure, self._losses = submit(), "", 0

    def poll(self) -> bool:
        """Write the files that have come; where the worker has died, start again. Whether the training has ended."""
        import ray
        from ray.exceptions import RayError, RayTaskError

        while ray.wait([self._updates], timeout=0)[0]:
            try:
                update = ray.get(next(self._updates))
            except StopIteration:
                return True
            except RayTaskError as error:  # an exception in the task
                write_text_atomic(self.folder / "log.txt", str(error))
                self._failure = f"{_first_line(error.cause)}; see {self.folder / 'log.txt'}"
                return True
            except RayError as error:  # the worker or its node has died
                self._losses += 1
                if self._losses > MAX_LOSSES:
                    self._failure = (
                        f"its worker died {self._losses} times without a new checkpoint: {_first_line(error)}"
                    )
                    return True
                self._updates = self._submit()
            else:
                self._take(update)
        return False

    @property
    def succeeded(self) -> bool:
        """Whether neither the task nor its workers have failed."""
        return not self._failure

    def failure(self) -> str:
        """Why the training ended without a finished run."""
        return self._failure or f"{self.folder} holds no finished run"

    def stop(self) -> None:
        """Cancel the task."""
        import ray

        ray.cancel(self._updates, force=False)

    def wait(self) -> None:
        """Nothing to wait for: what a cancelled task writes is on its node."""

    def _take(self, update: Update) -> None:
        self._failure = update.failure or self._failure
        for name, content in update.files.items():
            write_bytes_atomic(self.folder / name, content)
            if name.startswith(CHECKPOINT):
                self._losses = 0
        for path in _files(self.folder / CHECKPOINT):
            if str(path.relative_to(self.folder)) not in update.names:
                path.unlink()
        if update.names and not any(name.startswith(CHECKPOINT) for name in update.names):
            shutil.rmtree(self.folder / CHECKPOINT, ignore_errors=True)


def train_cell(values: dict[str, Any], files: dict[str, bytes], dataset: Dataset, threads: int) -> Iterator[Update]:
    """The task: train the configuration ``values`` from these files of its run directory, and yield what is new."""
    keep_freed_memory()
    updates: queue.Queue[Update | Exception | None] = queue.Queue(1)
    cancelled = threading.Event()
    with TemporaryDirectory(prefix="crossrec-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        for file, content in files.items():
            write_bytes_atomic(folder / file, content)
        news = _News(folder)

        def put(update: Update | Exception | None) -> None:
            while not cancelled.is_set():
                with suppress(queue.Full):
                    return updates.put(update, timeout=0.5)
            raise SystemExit  # ends the thread

        def send(*_: object, at_once: bool = False) -> None:
            if at_once or time.monotonic() - news.sent >= SEND_SECONDS:
                put(news.update())

        def train() -> None:
            with suppress(SystemExit):
                try:
                    torch.set_num_threads(threads)
                    config = RunConfig.parse(values)
                    run(config, folder, resume=True, dataset=dataset, on_epoch=send, on_refit_epoch=send)
                    send(at_once=True)
                except CrossrecError as error:
                    put(Update(failure=str(error)))
                except Exception as error:  # goes on in the main thread
                    put(error)
                put(None)

        training = threading.Thread(target=train, daemon=True)  # so that the main thread hears of a cancellation
        training.start()
        try:
            while True:
                try:
                    update = updates.get(timeout=0.5)
                except queue.Empty:
                    continue
                if update is None:
                    return
                if isinstance(update, Exception):
                    raise update
                yield update
        finally:
            cancelled.set()
            training.join(timeout=5.0)


class _News:
    """The files of a folder that were written since the last update."""

    def __init__(self, folder: Path) -> None:
        self.sent = time.monotonic()
        self._folder, self._times = folder, {path: path.stat().st_mtime_ns for path in _files(folder)}

    def update(self) -> Update:
        self.sent = time.monotonic()
        times = {path: path.stat().st_mtime_ns for path in _files(self._folder)}
        changed = sorted((path for path in times if times[path] != self._times.get(path)), key=times.__getitem__)
        self._times = times
        return Update(_read(self._folder, changed), tuple(str(path.relative_to(self._folder)) for path in times))


def _files(folder: Path) -> list[Path]:
    """All files below a folder but hidden ones, such as a lock."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))


def _content(folder: Path) -> dict[str, bytes]:
    return _read(folder, _files(folder))


def _read(folder: Path, paths: list[Path]) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def _first_line(error: object) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
