"""Commands of the research questions. All work alike; only the options differ."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from crossrec.cluster import ClusterConfig
from crossrec.commands.flags import check_jobs, check_threads, flat, parse
from crossrec.commands.progress import CellProgress
from crossrec.commands.whole_number import WholeNumber
from crossrec.console import say, stdout
from crossrec.data import DataConfig
from crossrec.errors import ConfigError
from crossrec.experiments.analysis.search_budget import read_trials
from crossrec.experiments.execute import run_question
from crossrec.experiments.experiment import ExperimentConfig, SharedSettings, read_object
from crossrec.experiments.finished_runs import FinishedRunsConfig, compare_runs
from crossrec.experiments.registry import QUESTIONS
from crossrec.experiments.reporting.result import ExperimentResult
from crossrec.experiments.reporting.tables import to_rich
from crossrec.training import TrainingConfig


def question_command(name: str, tokens: Sequence[str]) -> int:
    """Run the research question ``name`` with the flags in ``tokens``, print its result and return the exit code."""
    if name == "compare" and tokens and not tokens[0].startswith("-"):
        return parse(compare_finished, tokens, name="crossrec compare", types={"options": flat(FinishedRunsConfig)})
    question = QUESTIONS[name]

    def run(options: Any, shared: SharedSettings, out: Path, **workers: Any) -> int:
        result, runs = run_question(name, options, shared, out=out, progress=partial(CellProgress, "cells"), **workers)
        print_result(result, out)
        return 1 if any(run.failure for run in runs) else 0

    return run_with_flags(name, question.help, question.load().config_type, tokens, run)


def compare_finished(
    *runs: Path,
    out: Path | None = None,
    options: Any = FinishedRunsConfig(),  # noqa: B008
) -> int:
    """Compare finished runs on one data set: metrics and paired tests. Nothing is trained.

    Parameters
    ----------
    runs
        Folders of two or more runs; each is compared with those before it.
    out
        Folder for the tables as files and for runs.json, which crossrec report reads.
    """
    result = compare_runs(runs, options, out=out)
    print_result(result, Path() if out is None else out)
    return 0


def run_with_flags(
    name: str,
    help: str,
    config_type: type[ExperimentConfig],
    tokens: Sequence[str],
    run: Callable[..., int],
) -> int:
    """Parse flags made from the options of an experiment, the data and the training, and call ``run`` with them.

    Its arguments are the options, the shared settings, the folder ``out``, and ``jobs``, ``threads`` and ``cluster`` as
    those of ``Pool``.
    """
    if any(token.split("=")[0] == "--seed" for token in tokens):
        raise ConfigError("--seed is for one run; give --seeds, one or more")
    types = {
        "options": flat(config_type),
        "data": flat(DataConfig),
        "training": flat(TrainingConfig),
        "cluster": flat(ClusterConfig),
        "out": Path,
        "settings": Path | None,
    }
    default_options, default_out = config_type(), Path("runs") / name

    def command(
        *,
        out: Path = default_out,
        settings: Path | None = None,
        jobs: WholeNumber = 1,
        threads: WholeNumber = 0,
        options: Any = default_options,
        data: Any = DataConfig(),  # noqa: B008
        training: Any = TrainingConfig(),  # noqa: B008
        cluster: Any = ClusterConfig(),  # noqa: B008
    ) -> int:
        check_jobs(jobs)
        check_threads(threads)
        on_cluster = cluster.checked(jobs > 1)
        model_settings = {} if settings is None else read_object("--settings", settings, "backbones")
        shared = SharedSettings(data, training, model_settings, read_trials(settings))
        return run(options, shared, out, jobs=jobs, threads=threads, cluster=on_cluster)

    command.__doc__ = f"""{help}

        Every cell is a run in its own folder below --out. Finished cells are skipped, stopped ones are resumed. A
        second command with the same --out waits for the first one. Tables, figures and {name}.json are written beside
        the cells.

        Parameters
        ----------
        out
            Folder of the cells and of the result.
        settings
            JSON file of settings per backbone: {{"bpr": {{"backbone": {{"reg": 0.1}}, "cross": {{"alpha": 0.1}}}}}}.
        jobs
            Cells to train at the same time.
        threads
            Processor threads per cell; 0 for torch's own choice.
        """
    return parse(command, tokens, name=f"crossrec {name}", types=types)


def print_result(result: ExperimentResult, out: Path) -> None:
    """Print tables, paths of figures, and findings."""
    for table in result.tables.values():
        stdout.print(to_rich(table))
    for figure in result.figures:
        say(f"figure: {out / figure}.png")
    for finding in result.findings:
        say(finding)
