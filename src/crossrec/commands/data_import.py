"""``crossrec data import``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.progress import BarColumn, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar
from rich.table import Table

from crossrec.commands.show import stderr, stdout
from crossrec.data.importers import Card, ImportConfig
from crossrec.data.importers import import_data as make_folder

Rules = Annotated[ImportConfig, Parameter(name="*")]


def import_data(
    sources: list[Path],
    /,
    *,
    out: Path,
    overwrite: bool = False,
    rules: Rules = ImportConfig(),  # noqa: B008
) -> int:
    """Make a data folder of somebody's dump.

    Parameters
    ----------
    sources
        A folder, a file, or several files of one log.
    out
        Folder to make.
    overwrite
        Replace the folder if an earlier import made it; it stays until the new one is complete.
    """
    with _progress() as on_progress:
        card = make_folder(sources, out, rules, overwrite=overwrite, on_progress=on_progress)
    show(card, out)
    return 0


def show(card: Card, out: Path) -> None:
    """What each rule left, and what is in the folder."""
    table = Table(title=f"{card.name}, from {card.kind}", title_justify="left")
    for name in ("step", "rule", "interactions", "dropped", "users", "items"):
        table.add_column(name, justify="left" if name in ("step", "rule") else "right")
    for row in card.report():
        table.add_row(*row)
    stdout.print(table)
    for what, value in card.facts():
        stdout.print(f"{what}: {value}", highlight=False, soft_wrap=True)
    for note in card.notes:
        stdout.print(note, highlight=False, soft_wrap=True)
    stdout.print(f"{out}: complete; crossrec data validate --data {out}", highlight=False, soft_wrap=True)


@contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None]]:
    """A bar for what is being done, where stderr is a terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), TaskProgressColumn(), TimeElapsedColumn())
    with Bar(*columns, console=stderr, disable=not stderr.is_terminal) as bar:
        tasks: dict[str, TaskID] = {}

        def on_progress(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total or None)
            bar.update(tasks[what], completed=done)

        yield on_progress
