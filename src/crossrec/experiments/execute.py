"""Run a research question from Python or for the command line: train its cells, measure them, write the result."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from crossrec.cluster import ClusterConfig
from crossrec.data import DataConfig, data_folder
from crossrec.errors import ConfigError
from crossrec.experiments.experiment import ExperimentConfig, SharedSettings
from crossrec.experiments.registry import QUESTIONS
from crossrec.experiments.reporting.provenance import provenance
from crossrec.experiments.reporting.result import ExperimentResult
from crossrec.experiments.reporting.result_files import write_result
from crossrec.experiments.runner.jobs import Cell, Datasets, Result
from crossrec.experiments.runner.pool import Pool

CellCallback = Callable[[Cell, str], None]


def no_progress(total: int) -> AbstractContextManager[CellCallback]:
    """Show nothing while ``total`` cells are trained."""
    return nullcontext(lambda cell, state: None)


def run_question(
    name: str,
    options: ExperimentConfig | None = None,
    shared: SharedSettings | None = None,
    *,
    out: Path | str,
    jobs: int = 1,
    threads: int = 0,
    cluster: ClusterConfig | None = None,
    progress: Callable[[int], AbstractContextManager[CellCallback]] = no_progress,
) -> tuple[ExperimentResult, Sequence[Result]]:
    """Do what ``crossrec NAME`` does: train the missing cells and write tables, figures and NAME.json to ``out``.

    Parameters
    ----------
    name
        A question of ``QUESTIONS``.
    options
        Options of the question, such as ``CompareConfig``; its defaults unless given.
    shared
        Data, training and settings of the models; defaults unless given.
    out
        Folder of the cells and of the result.
    jobs, threads
        Cells to train at the same time, and processor threads of each (0: torch's own choice).
    cluster
        Ray cluster to train them on instead, as many as it has room for.
    progress
        Context manager over so many cells; it yields the ``on_change`` callback of ``Pool``.

    Returns
    -------
    The result, and what became of every cell.

    Raises
    ------
    ConfigError, DataError
        For a mistake in the options or in the data, before any cell is trained. A cell that fails does not raise.
    """
    experiment, out, started = QUESTIONS[name].load(), Path(out), time.monotonic()
    options, shared = options or experiment.config_type(), shared or SharedSettings()
    cells, datasets = experiment.cells(options, shared), Datasets()
    for cell in cells:  # a mistake in the data is reported once, before any cell starts
        datasets[cell.config.data]
    refuse_data_folder(out, datasets)
    with (
        progress(len({cell.name for cell in cells})) as on_change,
        Pool(out, datasets, jobs=jobs, threads=threads, cluster=cluster, on_change=on_change) as pool,
    ):
        runs = pool.run(cells)
    result = experiment.result(options, shared, runs, datasets)
    seconds = time.monotonic() - started
    settings = {"experiment": options.model_dump(mode="json"), "training": shared.training.model_dump(mode="json")}
    write_result(result, out, name, provenance(runs, datasets, out, settings, seconds))
    return result, runs


def refuse_data_folder(out: Path, datasets: Iterable[DataConfig]) -> None:
    """Raise ConfigError where ``out`` is the folder of a data set: its tables would be read as interactions."""
    for config in datasets:
        if data_folder(config) == out.resolve():
            raise ConfigError(f"--out {out}: is the folder of the data set; give another one, such as {out / 'runs'}")
