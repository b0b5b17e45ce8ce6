"""Progress bars on stderr; plain lines where stderr is no terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from crossrec.console import stderr
from crossrec.errors import visible

if TYPE_CHECKING:
    from crossrec.experiments.runner.jobs import Cell

STATE = "{task.fields[state]}"
"""Column that shows the state of a task."""


class ProgressBar(Progress):
    """Progress of rich on stderr: description and bar of each task, followed by ``columns``.

    The time left is estimated from the steps of the last ``speed_period`` seconds.
    """

    def __init__(self, *columns: str | ProgressColumn, speed_period: float = 30.0) -> None:
        super().__init__(
            "{task.description}",
            BarColumn(bar_width=24),
            *columns,
            console=stderr,
            disable=not stderr.is_terminal,
            speed_estimate_period=speed_period,
        )

    def print_line(self, line: str) -> None:
        """Print a line where stderr is no terminal, and no bar is drawn."""
        if self.disable:
            stderr.print(visible(line), soft_wrap=True)


class CellProgress(ProgressBar):
    """One bar over cells or trials, with the time left and the state of each running cell.

    Called with a cell and its state, it is the ``on_change`` of a pool. ``note`` is shown after the states.
    """

    def __init__(self, label: str, total: int) -> None:
        super().__init__(
            MofNCompleteColumn(), TimeElapsedColumn(), "left", TimeRemainingColumn(), STATE, speed_period=3600
        )
        self.note = ""
        self._task = self.add_task(label, total=total, state="")
        self._states: dict[str, str] = {}

    def __call__(self, cell: Cell, state: str) -> None:
        """Show and log the state of a cell; one that has ended is one step."""
        self.show(cell, state)
        if _ended(state):
            self.step()
        if not state.startswith("epoch"):
            self.print_line(f"{cell.title}: {state}")

    def show(self, cell: Cell, state: str) -> None:
        """Show the state of a cell until it has ended."""
        if _ended(state):
            self._states.pop(cell.name, None)
        else:
            self._states[cell.name] = f"{cell.title}: {state}"
        self.update(self._task, state="; ".join(filter(None, [*self._states.values(), self.note])))

    def step(self) -> None:
        """Count one cell or trial as done."""
        self.advance(self._task)


def _ended(state: str) -> bool:
    return state.startswith(("done", "failed", "not run"))
