"""Progress bars: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import io
from types import SimpleNamespace

import pytest
from rich.console import Console
from rich.progress import MofNCompleteColumn

from crossrec.commands import progress
from crossrec.commands.progress import STATE, CellProgress, ProgressBar

CELL = SimpleNamespace(name="bpr-seed0", title="bpr seed 0")


@pytest.fixture
def console(monkeypatch):
    """Replace stderr by a console that writes to memory, a terminal or not; returns what it writes."""

    def replace(*, terminal: bool) -> io.StringIO:
        file = io.StringIO()
        monkeypatch.setattr(progress, "stderr", Console(file=file, force_terminal=terminal, width=100))
        return file

    return replace


def fill_bar() -> None:
    with ProgressBar(MofNCompleteColumn(), STATE) as bar:
        task = bar.add_task("users", total=3, completed=1, state="")
        bar.advance(task)
        bar.update(task, state="loss 0.5")
        bar.print_line("2 of 3")
        bar.update(task, completed=3)


def test_a_terminal_shows_the_bar(console):
    output = console(terminal=True)
    fill_bar()
    assert all(part in output.getvalue() for part in ("users", "3/3", "loss 0.5"))
    assert "2 of 3" not in output.getvalue()


def test_elsewhere_only_lines_are_written(console):
    output = console(terminal=False)
    fill_bar()
    assert output.getvalue() == "2 of 3\n"


def test_states_of_cells(console):
    output = console(terminal=True)
    with CellProgress("cells", 2) as cells:
        cells(CELL, "epoch 1 of 2")
        cells.note = "best 0.1"
        cells.show(CELL, "epoch 2 of 2")
        cells.refresh()
        assert "bpr seed 0: epoch 2 of 2; best 0.1" in output.getvalue()
        cells(CELL, "done")
    assert "1/2" in output.getvalue()


def test_lines_of_cells(console):
    output = console(terminal=False)
    with CellProgress("cells", 1) as cells:
        for state in ("started", "epoch 1 of 2", "done"):
            cells(CELL, state)
    assert output.getvalue() == "bpr seed 0: started\nbpr seed 0: done\n"
