"""The commands of the research questions: all alike but for their options."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from crossrec.commands.console import stdout
from crossrec.commands.flags import flat, parse
from crossrec.commands.progress import CellProgress
from crossrec.data import DataConfig, data_folder
from crossrec.errors import ConfigError
from crossrec.experiments.experiment import Base, Experiment, ExperimentConfig, read_object
from crossrec.experiments.questions.ablate import ABLATE
from crossrec.experiments.questions.coldstart import COLDSTART
from crossrec.experiments.questions.compare import COMPARE
from crossrec.experiments.questions.directions import DIRECTIONS
from crossrec.experiments.questions.popularity import POPULARITY
from crossrec.experiments.questions.robustness import ROBUSTNESS
from crossrec.experiments.questions.sensitivity import SENSITIVITY
from crossrec.experiments.questions.strengths import STRENGTHS
from crossrec.experiments.questions.visualize import VISUALIZE
from crossrec.experiments.reporting.provenance import provenance
from crossrec.experiments.reporting.result import ExperimentResult
from crossrec.experiments.reporting.result_files import write_result
from crossrec.experiments.reporting.tables import to_rich
from crossrec.experiments.runner.jobs import Datasets
from crossrec.experiments.runner.pool import run_cells
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


def visualize(*tokens: Tokens) -> int:
    """RQ5."""
    return _command(VISUALIZE, tokens)


def popularity(*tokens: Tokens) -> int:
    """RQ6."""
    return _command(POPULARITY, tokens)


def strengths(*tokens: Tokens) -> int:
    """Figure 2."""
    return _command(STRENGTHS, tokens)


def coldstart(*tokens: Tokens) -> int:
    """New items."""
    return _command(COLDSTART, tokens)


def _command(experiment: Experiment, tokens: Sequence[str]) -> int:
    """Parse the flags of an experiment and ask it."""

    def ask(options: Any, base: Base, work: Work) -> int:
        return _ask(experiment, options, base, work)

    return asked(experiment.name, experiment.help, experiment.options, tokens, ask)


@dataclass(frozen=True)
class Work:
    """How and where cells are trained."""

    out: Path
    jobs: int
    threads: int


def asked(
    name: str,
    help: str,
    options_type: type[ExperimentConfig],
    tokens: Sequence[str],
    ask: Callable[[Any, Base, Work], int],
) -> int:
    """Parse flags made from an experiment's options and from those of data and training, and ``ask`` with them."""
    if any(token.split("=")[0] == "--seed" for token in tokens):
        raise ConfigError("--seed is for one run; give --seeds, one or more")
    types = {
        "options": flat(options_type),
        "data": flat(DataConfig),
        "training": Annotated[TrainingConfig, Parameter(name="*"), Parameter()],
        "out": Path,
        "settings": Path | None,
    }
    defaults, folder = options_type(), Path("runs") / name

    def command(
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
        base = Base(data, training, {} if settings is None else read_object("--settings", settings, "backbones"))
        return ask(options, base, Work(out, jobs, threads))

    command.__doc__ = f"""{help}

        Every cell is a run in a folder of its own below --out: done ones are skipped, a stopped one goes on. Commands
        with the same --out share the work, on several hosts too. Tables, figures and {name}.json are written beside
        the cells.

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
    result = parse(command, tokens, name=f"crossrec {name}", types=types)
    return 0 if result is None else int(result)


def _ask(experiment: Experiment, options: Any, base: Base, work: Work) -> int:
    started = time.monotonic()
    todo, datasets = experiment.cells(options, base), Datasets()
    for cell in todo:  # a mistake in the data is told once, before any cell starts
        datasets[cell.config.data]
    keep_apart(work.out, datasets)
    with CellProgress("cells", len({cell.name for cell in todo})) as progress:
        on_change = progress.on_cell
        results = run_cells(todo, work.out, datasets, jobs=work.jobs, threads=work.threads, on_change=on_change)
    answer = experiment.answer(options, base, results, datasets)
    seconds = time.monotonic() - started
    asked_for = {"experiment": options.model_dump(mode="json"), "training": base.training.model_dump(mode="json")}
    write_result(answer, work.out, experiment.name, provenance(results, datasets, work.out, asked_for, seconds))
    tell(answer, work.out)
    return 1 if any(result.failure for result in results) else 0


def keep_apart(out: Path, datasets: Iterable[DataConfig]) -> None:
    """Raise ConfigError where ``out`` is the folder of a data set: its tables would be taken for interactions."""
    for config in datasets:
        if data_folder(config) == out.resolve():
            raise ConfigError(f"--out {out}: is the folder of the data set; give another one, such as {out / 'runs'}")


def tell(answer: ExperimentResult, out: Path) -> None:
    """Print tables, where the figures are, and findings."""
    for table in answer.tables.values():
        stdout.print(to_rich(table))
    for figure in answer.figures:
        stdout.print(f"figure: {out / figure}.png", soft_wrap=True, highlight=False)
    for finding in answer.findings:
        stdout.print(finding, highlight=False)
