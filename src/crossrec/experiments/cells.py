"""Many runs as one experiment: a cell is a run directory named by its whole configuration, done once and resumed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crossrec.data import Dataset
from crossrec.errors import RunError
from crossrec.run import RunConfig
from crossrec.storage import read_json, write_json_atomic

Outcome = dict[str, Any] | str
"""What ``metrics.json`` of a cell holds, or why there is none."""


@dataclass(frozen=True)
class Cell:
    """One run of an experiment. ``group``: where its result belongs, e.g. (backbone, alignment)."""

    config: RunConfig
    group: tuple[str, ...]

    @property
    def name(self) -> str:
        """Folder of the cell: readable, and different for every configuration and version of the method."""
        return f"{self.config.label}-seed{self.config.training.seed}-{self.config.digest()[:10]}"


@dataclass
class _Process:
    cell: Cell
    folder: Path
    process: subprocess.Popen[bytes]


def run_cells(
    cells: Sequence[Cell],
    out: Path,
    dataset: Dataset,
    *,
    jobs: int = 1,
    threads: int = 0,
    on_change: Callable[[Cell, str], None] = lambda cell, state: None,
    poll_seconds: float = 0.2,
) -> list[tuple[Cell, Outcome]]:
    """Run every cell that is not done, ``jobs`` at a time, each in a process of its own; returns all with outcomes.

    ``dataset``: the data set of all cells. A cell's folder is ``out / cell.name``; one that is done is left as it is,
    one that was stopped goes on from its checkpoint. ``threads`` per process (0: torch's choice for one job, else the
    cores shared out). ``on_change`` hears "done", "failed: …" and, while a cell trains, "epoch N". A cell that fails
    leaves a ``log.txt`` and does not stop the others. Interrupting stops the processes; what they have saved stays.
    """
    outcomes: dict[str, Outcome] = {}
    if not threads and jobs > 1:
        threads = max(1, (os.cpu_count() or 1) // jobs)
    waiting = []
    for cell in cells:
        folder = out / cell.name
        done = read_json(folder / "metrics.json") if (folder / "metrics.json").exists() else {}
        if done.get("identity") == cell.config.identity(dataset):
            outcomes[cell.name] = done
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
                outcomes[process.cell.name] = outcome = _outcome(process, code)
                on_change(process.cell, outcome if isinstance(outcome, str) else "done")
    finally:
        for process in running:
            process.process.terminate()
        for process in running:
            process.process.wait()
    return [(cell, outcomes[cell.name]) for cell in cells]


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


def _outcome(process: _Process, code: int) -> Outcome:
    log = process.folder / "log.txt"
    if code == 0 and (process.folder / "metrics.json").exists():
        log.unlink(missing_ok=True)
        (process.folder / "cell.json").unlink(missing_ok=True)
        outcome: dict[str, Any] = read_json(process.folder / "metrics.json")
        return outcome
    lines = log.read_text(errors="replace").strip().splitlines()
    reason = lines[-1].removeprefix("crossrec: error: ") if lines else f"exit code {code}"
    return f"failed: {reason}"


def _epochs(folder: Path) -> int:
    try:
        return max(0, (folder / "history.csv").read_bytes().count(b"\n") - 1)
    except OSError:
        return 0
