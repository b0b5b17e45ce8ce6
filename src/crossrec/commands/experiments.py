"""The commands of the research questions: all alike but for their options."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from crossrec.commands.flags import flat, parse
from crossrec.commands.show import stderr, stdout
from crossrec.data import DataConfig
from crossrec.errors import ConfigError
from crossrec.experiments.ablate import ABLATE
from crossrec.experiments.about import about
from crossrec.experiments.answer import write_answer
from crossrec.experiments.cells import Cell, Datasets, run_cells
from crossrec.experiments.compare import COMPARE
from crossrec.experiments.directions import DIRECTIONS
from crossrec.experiments.plan import Base, Experiment
from crossrec.experiments.robustness import ROBUSTNESS
from crossrec.experiments.sensitivity import SENSITIVITY
from crossrec.experiments.tables import to_rich
from crossrec.training import TrainingConfig

Tokens = Annotated[str, Parameter(allow_leading_hyphen=True)]


def compare(*tokens: Tokens) -> int:
    """RQ1."""
    return _command(COMPARE, tokens)


def ablate(*tokens: Tokens) -> int:
    """RQ2."""
    return _command(ABLATE, tokens)


def directions(*tokens: Tokens) -> int:
    """RQ3."""
    return _command(DIRECTIONS, tokens)


def robustness(*tokens: Tokens) -> int:
    """RQ4."""
    return _command(ROBUSTNESS, tokens)


def sensitivity(*tokens: Tokens) -> int:
    """RQ7."""
    return _command(SENSITIVITY, tokens)


def _command(experiment: Experiment, tokens: Sequence[str]) -> int:
    """Parse the flags of an experiment, made from its options and from those of data and training, and ask it."""
    if any(token.split("=")[0] == "--seed" for token in tokens):
        raise ConfigError("--seed is for one run; give --seeds, one or more")
    types = {
        "options": flat(experiment.options),
        "data": flat(DataConfig),
        "training": Annotated[TrainingConfig, Parameter(name="*"), Parameter()],
        "out": Path,
        "settings": Path | None,
    }
    defaults, folder = experiment.options(), Path("runs") / experiment.name

    def ask(
        *,
        out: Path = folder,
        settings: Path | None = None,
        jobs: int = 1,
        threads: int = 0,
        options: Any = defaults,
        data: Any = DataConfig(),  # noqa: B008
        training: Any = TrainingConfig(),  # noqa: B008
    ) -> int:
        if jobs < 1 or threads < 0:
            raise ConfigError(f"--jobs {jobs} --threads {threads}: at least one job, and 0 or more threads")
        base = Base(data, training, _read_settings(settings))
        return _ask(experiment, options, base, out, jobs, threads)

    ask.__doc__ = f"""{experiment.help}

        Every cell is a run in a folder of its own below --out: done ones are skipped, a stopped one goes on.
        Tables, figures and {experiment.name}.json are written beside them.

        Parameters
        ----------
        out
            Folder of the cells and the answer.
        settings
            JSON file of settings per backbone: {{"bpr": {{"backbone": {{"reg": 0.1}}, "cross": {{"alpha": 0.1}}}}}}.
        jobs
            Cells to train at the same time.
        threads
            Processor threads per cell; 0 for torch's own choice.
        """
    result = parse(ask, tokens, name=f"crossrec {experiment.name}", types=types)
    return 0 if result is None else int(result)


def _ask(experiment: Experiment, options: Any, base: Base, out: Path, jobs: int, threads: int) -> int:
    started = time.monotonic()
    todo, datasets = experiment.cells(options, base), Datasets()
    for cell in todo:  # a mistake in the data is told once, before any cell starts
        datasets[cell.config.data]
    with _progress(todo) as on_change:
        results = run_cells(todo, out, datasets, jobs=jobs, threads=threads, on_change=on_change)
    answer = experiment.answer(options, base, results, datasets)
    seconds = time.monotonic() - started
    asked = {"experiment": options.model_dump(mode="json"), "training": base.training.model_dump(mode="json")}
    write_answer(answer, out, experiment.name, about(results, datasets, out, asked, seconds))
    for table in answer.tables.values():
        stdout.print(to_rich(table))
    for figure in answer.figures:
        stdout.print(f"figure: {out / figure}.png", soft_wrap=True, highlight=False)
    for finding in answer.findings:
        stdout.print(finding, highlight=False)
    return 1 if any(result.failure for result in results) else 0


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
    """A bar over cells, with time left and what each running one is at; plain lines where stderr is no terminal."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[state]}"),
    )
    states: dict[str, str] = {}
    total = len({cell.name for cell in todo})
    with Bar(*columns, console=stderr, disable=not stderr.is_terminal, speed_estimate_period=3600) as bar:
        task = bar.add_task("cells", total=total, state="")

        def on_change(cell: Cell, state: str) -> None:
            name = cell.title
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
