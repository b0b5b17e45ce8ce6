"""``crossrec data import``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.progress import TaskID, TaskProgressColumn, TimeElapsedColumn
from rich.table import Table

from crossrec.commands.progress import ProgressBar
from crossrec.console import add_cells, say, stdout
from crossrec.data.importers import ImportCard, ImportConfig, import_data as import_files

Rules = Annotated[ImportConfig, Parameter(name="*")]


def import_data(
    sources: list[Path],
    /,
    *,
    out: Path,
    overwrite: bool = False,
    rules: Rules = ImportConfig(),  # noqa: B008
) -> int:
    """Import files of another format into a data folder.

    Parameters
    ----------
    sources
        A folder, a file, or several files of one log.
    out
        Folder to create.
    overwrite
        Replace the folder if an earlier import made it; it stays until the new one is complete.
    """
    tasks: dict[str, TaskID] = {}
    with ProgressBar(TaskProgressColumn(), TimeElapsedColumn()) as bar:

        def on_progress(step: str, done: int, total: int) -> None:
            if step not in tasks:
                tasks[step] = bar.add_task(step, total=total or None)
            bar.update(tasks[step], completed=done)

        card = import_files(sources, out, rules, overwrite=overwrite, on_progress=on_progress)
    show(card, out)
    return 0


def show(card: ImportCard, out: Path) -> None:
    """Print the steps of the import and the content of the folder."""
    table = Table(title=f"{card.name}, from {card.kind}", title_justify="left")
    for name in ("step", "rule", "interactions", "dropped", "users", "items"):
        table.add_column(name, justify="left" if name in ("step", "rule") else "right")
    for row in card.report():
        add_cells(table, row)
    stdout.print(table)
    for name, value in card.facts():
        say(f"{name}: {value}")
    for note in card.notes:
        say(note)
    say(f"{out}: complete; crossrec data validate --data {out}")
