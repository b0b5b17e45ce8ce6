"""What the commands show: progress on stderr while they work, results on stdout."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar
from rich.table import Table

from crossrec.training import SELECTION, Progress

stderr = Console(stderr=True)
stdout = Console(width=None if Console().is_terminal else 132)


@contextmanager
def training_progress(label: str, epochs: int) -> Iterator[Callable[[Progress], None]]:
    """A bar over epochs with loss, validation metric and the best so far; plain lines where stderr is no terminal."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[state]}"),
        TimeElapsedColumn(),
    )
    with Bar(*columns, console=stderr, disable=not stderr.is_terminal) as bar:
        task = bar.add_task(label, total=epochs, state="")

        def on_epoch(progress: Progress) -> None:
            state = epoch_state(progress.history[-1], progress.best_epoch)
            bar.update(task, completed=progress.epoch, state=state)
            if not stderr.is_terminal:
                stderr.print(f"{label} epoch {progress.epoch}: {state}", highlight=False, soft_wrap=True)

        yield on_epoch


def epoch_state(row: dict[str, float], best_epoch: int) -> str:
    """One epoch in a few words."""
    metric = row.get(f"valid_{SELECTION}")
    shown = "" if metric is None else f"  valid {SELECTION} {metric:.4f}"
    return f"loss {row['loss']:.4f}{shown}  best epoch {best_epoch}"


def metrics_table(label: str, metrics: dict[str, Any], out: Path) -> None:
    """Validation and test metrics of a run, and where it lies."""
    table = Table(title=f"{label}, best epoch {metrics['best_epoch']} of {metrics['epochs']}", title_justify="left")
    table.add_column("")
    names = list(metrics["test"] or metrics["valid"])
    for name in names:
        table.add_column(name, justify="right")
    for split in ("valid", "test"):
        table.add_row(split, *(f"{metrics[split][name]:.4f}" if name in metrics[split] else "–" for name in names))
    stdout.print(table)
    unmeasured = [name for split, name in (("valid", "validation"), ("test", "test")) if not metrics[split]]
    if unmeasured:
        what = " and ".join(unmeasured)
        stdout.print(
            f"No {what} metrics: no user has such rows and training rows; label rows, or give users three or more"
        )
    stdout.print(
        f"{metrics['train_seconds_per_epoch']:.2f} s per epoch, {metrics['peak_memory_mb']:.0f} MB; run in {out}"
    )
