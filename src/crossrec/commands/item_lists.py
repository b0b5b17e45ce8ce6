"""Print lists of items, or write them to a file with a progress bar."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from rich.progress import MofNCompleteColumn, TimeElapsedColumn
from rich.table import Table

from crossrec.commands.console import stdout
from crossrec.commands.progress import ProgressBar
from crossrec.data.io.write_tables import write_frames

if TYPE_CHECKING:
    import polars as pl

MAX_PRINTED = 50
"""Rows to print where no file is given."""


def deliver(frames: Iterator[pl.DataFrame], empty: pl.DataFrame, users: int, out: Path | None) -> int:
    """Write the frames to ``out``, or print them without it; returns the exit code.

    ``empty``: a frame without rows; ``users``: total of the progress bar.
    """
    if out is None:
        import polars as pl

        _print(pl.concat([empty, *frames]))
        return 0
    key = "user" if "user" in empty.columns else None
    with ProgressBar(MofNCompleteColumn(), TimeElapsedColumn()) as bar:
        bar.add("users", users)
        write_frames(frames, out, empty, lambda frame: bar.advance("users", frame[key].n_unique() if key else users))
    print(out)
    return 0


def _print(lists: pl.DataFrame) -> None:
    table = Table()
    for name in lists.columns:
        table.add_column(name, justify="right" if name in ("rank", "score") else "left")
    for row in lists.head(MAX_PRINTED).rows():
        table.add_row(*(f"{cell:.4f}" if isinstance(cell, float) else str(cell) for cell in row))
    stdout.print(table)
    if lists.height > MAX_PRINTED:
        stdout.print(f"{MAX_PRINTED} of {lists.height} rows; --out FILE writes them all")
