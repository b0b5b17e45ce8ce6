"""``crossrec compare``."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from crossrec.commands.flags import flat, parse
from crossrec.commands.show import stderr, stdout
from crossrec.data import DataConfig, load
from crossrec.errors import ConfigError
from crossrec.experiments.cells import Cell, run_cells
from crossrec.experiments.compare import CompareConfig, cells, table
from crossrec.experiments.tables import to_rich, write_all
from crossrec.training import TrainingConfig


def compare(*tokens: Annotated[str, Parameter(allow_leading_hyphen=True)]) -> int:
    """Backbones x alignments x seeds on one data set, as one table (RQ1)."""
    if any(token.split("=")[0] == "--seed" for token in tokens):
        raise ConfigError("--seed is for one run; give --seeds, one or more")
    types = {
        "options": flat(CompareConfig),
        "data": flat(DataConfig),
        "training": Annotated[TrainingConfig, Parameter(name="*"), Parameter()],
        "out": Path,
        "settings": Path | None,
    }
    result = parse(_compare, tokens, name="crossrec compare", types=types)
    return 0 if result is None else int(result)


def _compare(
    *,
    out: Path = Path("runs/compare"),
    settings: Path | None = None,
    jobs: int = 1,
    threads: int = 0,
    options: Any = CompareConfig(),  # noqa: B008
    data: Any = DataConfig(),  # noqa: B008
    training: Any = TrainingConfig(),  # noqa: B008
) -> int:
    """Backbones x alignments x seeds on one data set, as one table (RQ1).

    Every cell is a run in a folder of its own below --out: cells that are done are skipped, one that was stopped goes
    on. The table is written as compare.txt, .md, .tex and .csv beside them.

    Parameters
    ----------
    out
        Folder of the cells and the table.
    settings
        JSON file of settings per backbone: {"lightgcn": {"backbone": {"layers": 2}, "cross": {"alpha": 0.1}}}.
    jobs
        Cells to train at the same time.
    threads
        Processor threads per cell; 0 for torch's own choice.
    """
    if jobs < 1 or threads < 0:
        raise ConfigError(f"--jobs {jobs} --threads {threads}: at least one job, and 0 or more threads")
    todo = cells(options, data, training, _read_settings(settings))
    dataset = load(data)  # a mistake in the data is told once, before any cell starts
    with _progress(todo) as on_change:
        results = run_cells(todo, out, dataset, jobs=jobs, threads=threads, on_change=on_change)
    made = table(results, Path(data.data).name)
    write_all(made, out, "compare")
    stdout.print(to_rich(made))
    failed = [outcome for _, outcome in results if isinstance(outcome, str)]
    return 1 if failed else 0


def _read_settings(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"--settings {path}: {error.strerror}") from None
    except ValueError as error:
        raise ConfigError(f"--settings {path}: not JSON: {error}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"--settings {path}: must hold an object of backbones")
    return values


@contextmanager
def _progress(todo: list[Cell]) -> Iterator[Callable[[Cell, str], None]]:
    """A bar over cells, with what each running one is at; plain lines where stderr is no terminal."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[state]}"),
    )
    states: dict[str, str] = {}
    with Bar(*columns, console=stderr, disable=not stderr.is_terminal) as bar:
        task = bar.add_task("cells", total=len(todo), state="")

        def on_change(cell: Cell, state: str) -> None:
            name = f"{cell.config.label} seed {cell.config.training.seed}"
            ended = state.startswith(("done", "failed"))
            if ended:
                states.pop(name, None)
            else:
                states[name] = state
            shown = "; ".join(f"{name}: {at}" for name, at in states.items())
            bar.update(task, advance=int(ended), state=shown)
            if not stderr.is_terminal and not state.startswith("epoch"):
                stderr.print(f"{name}: {state}", highlight=False, soft_wrap=True)

        yield on_change
