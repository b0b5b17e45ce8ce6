"""Progress bars on stderr; plain lines where stderr is no terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from crossrec.commands.console import stderr

if TYPE_CHECKING:
    from crossrec.experiments.runner.jobs import Cell

STATE = "{task.fields[state]}"
"""Column that shows the state of a task."""


class ProgressBar:
    """Label and bar of each task, followed by ``columns``. Use as a context manager.

    The time left is estimated from the steps of the last ``speed_period`` seconds.
    """

    def __init__(self, *columns: str | ProgressColumn, speed_period: float = 30.0) -> None:
        self._bar = Progress(
            "{task.description}",
            BarColumn(bar_width=24),
            *columns,
            console=stderr,
            disable=not stderr.is_terminal,
            speed_estimate_period=speed_period,
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def add(self, label: str, total: int | None, *, done: int = 0) -> None:
        """Add a task of ``total`` steps (None: unknown), ``done`` of them before; a label that exists is left alone."""
        if label not in self._tasks:
            self._tasks[label] = self._bar.add_task(label, total=total, completed=done, state="")

    def update(self, label: str, *, done: int | None = None, state: str | None = None) -> None:
        """Set the number of steps done, the state, or both."""
        fields: dict[str, Any] = {} if state is None else {"state": state}
        self._bar.update(self._tasks[label], completed=done, **fields)

    def advance(self, label: str, steps: int = 1) -> None:
        """Count ``steps`` more as done."""
        self._bar.advance(self._tasks[label], steps)

    def log(self, line: str) -> None:
        """Print a line where stderr is no terminal, and no bar is drawn."""
        if not stderr.is_terminal:
            stderr.print(line, highlight=False, soft_wrap=True)


class CellProgress(ProgressBar):
    """One bar over cells or trials, with the time left and the state of each running cell.

    ``note`` is shown after the states.
    """

    def __init__(self, label: str, total: int) -> None:
        super().__init__(
            MofNCompleteColumn(), TimeElapsedColumn(), "left", TimeRemainingColumn(), STATE, speed_period=3600
        )
        self.add(label, total)
        self.note = ""
        self._label = label
        self._states: dict[str, str] = {}

    def on_cell(self, cell: Cell, state: str) -> None:
        """Show and log a state that ``run_cells`` reports; a cell that has ended is one step."""
        self.show(cell, state)
        if _ended(state):
            self.step()
        if not state.startswith("epoch"):
            self.log(f"{cell.title}: {state}")

    def show(self, cell: Cell, state: str) -> None:
        """Show the state of a cell until it has ended."""
        if _ended(state):
            self._states.pop(cell.name, None)
        else:
            self._states[cell.name] = f"{cell.title}: {state}"
        self.update(self._label, state="; ".join(filter(None, [*self._states.values(), self.note])))

    def step(self) -> None:
        """Count one cell or trial as done."""
        self.advance(self._label)


def _ended(state: str) -> bool:
    return state.startswith(("done", "failed", "not run"))
