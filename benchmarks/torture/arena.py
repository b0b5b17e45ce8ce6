"""Where attacks take place: trials of the tasks in turn, each in a fresh folder, until the time is up."""

from __future__ import annotations

import random
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from benchmarks.torture.process import Ended, run
from benchmarks.torture.world import Task, Tree, hidden, tree


@dataclass
class Outcomes:
    """What came of an attack. ``outcomes``: how often each way to end was seen; ``failures``: what must not happen."""

    name: str
    trials: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)


class Arena:
    """The world, its tasks, and the random numbers and the time of one attack."""

    _whole: ClassVar[dict[str, tuple[Tree, float]]] = {}

    def __init__(self, name: str, world: Path, tasks: list[Task], seed: int, seconds: float) -> None:
        self.name, self.world, self.tasks, self.result = name, world, tasks, Outcomes(name)
        self.draw = random.Random(f"{name} {seed}")
        self._until = time.monotonic() + seconds

    def has_time(self) -> bool:
        """Whether the time is not up."""
        return time.monotonic() < self._until

    def trials(self, tasks: list[Task] | None = None) -> Iterator[tuple[Task, Path]]:
        """Yield a task and the folder of a trial until the time is up, every task once at least."""
        while True:
            for task in tasks or self.tasks:
                if not self.has_time() and self.result.trials >= len(tasks or self.tasks):
                    return
                folder = self.world / f"trial-{self.result.name}-{self.result.trials}"
                self.result.trials += 1
                yield task, folder
                shutil.rmtree(folder, ignore_errors=True)

    def whole(self, task: Task) -> tuple[Tree, float]:
        """What the task leaves when nothing disturbs it, and the seconds that it takes."""
        if task.name not in self._whole:
            folder = self.world / f"whole-{self.result.name}"
            task.set_up(self.world, folder)
            ended = run(task.arguments, folder)
            if ended.code != 0:
                raise RuntimeError(f"{task.name} fails undisturbed: {ended}")
            self._whole[task.name] = tree(folder / task.out), ended.seconds
            shutil.rmtree(folder)
        return self._whole[task.name]

    def saw(self, outcome: str) -> None:
        """Count one way to end."""
        self.result.outcomes[outcome] += 1

    def fail(self, task: Task, what: str, ended: Ended | None = None) -> None:
        """Record what must not happen, with the number of the trial."""
        detail = "" if ended is None else f" ({ended})"
        self.result.failures.append(f"trial {self.result.trials} of {self.result.name}, {task.name}: {what}{detail}")

    def check_spoken(self, task: Task, ended: Ended) -> None:
        """A traceback, a panic or a command that hangs is a failure, however the command ended."""
        if ended.has_traceback or ended.code is None:
            self.fail(task, "a traceback" if ended.has_traceback else "hangs", ended)

    def check_untorn(self, task: Task, folder: Path, before: Tree) -> Tree:
        """What the task has left, which is the old or the new content where the task replaces it at once."""
        after = tree(folder / task.out)
        if task.replaces and after not in (before, self.whole(task)[0]):
            self.fail(task, "left neither the old nor the new content")
        return after

    def check_repeated(self, task: Task, folder: Path, after: Tree) -> None:
        """Run the task again, undisturbed, and compare what it leaves with what it would have left at once."""
        expected = self.whole(task)[0]
        if task.replaces and after == expected:
            return
        ended = run(task.arguments, folder)
        self.check_spoken(task, ended)
        if ended.code != 0:
            self.fail(task, "a second run fails", ended)
        elif tree(folder / task.out) != expected:
            self.fail(task, "a second run leaves something else than one undisturbed run")
        elif rest := hidden(folder, task.allowed):
            self.fail(task, f"hidden files are left: {', '.join(rest[:5])}")
