"""Compare finished runs by their folders: metrics, and whether the differences are chance."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from crossrec.config import Config
from crossrec.data.io.atomic import read_json
from crossrec.errors import ConfigError
from crossrec.evaluation import mean_metrics
from crossrec.evaluation.metrics import ListLength, Metric
from crossrec.experiments.analysis.comparison import MethodRuns, comparison_table
from crossrec.experiments.analysis.run_evaluation import evaluate_runs
from crossrec.experiments.analysis.significance_tables import PairedTests
from crossrec.experiments.execute import refuse_data_folder
from crossrec.experiments.questions.compare import block_tests
from crossrec.experiments.reporting.provenance import provenance
from crossrec.experiments.reporting.result import ExperimentResult
from crossrec.experiments.reporting.result_files import write_result
from crossrec.experiments.runner.jobs import Cell, Datasets, Result
from crossrec.runs.config import load_config
from crossrec.runs.directory import check_run


class FinishedRunsConfig(Config):
    """Options of ``crossrec compare`` for finished runs."""

    metrics: tuple[Metric, ...] | None = None
    """Metrics of the tables: recall, ndcg, precision, map, hr, mrr or module:function; default: the first run's."""
    k: tuple[ListLength, ...] | None = None
    """Lengths of lists for the metrics of the tables; default: those of the first run."""


def compare_runs(
    folders: Sequence[Path | str],
    options: FinishedRunsConfig = FinishedRunsConfig(),  # noqa: B008
    *,
    out: Path | str | None = None,
) -> ExperimentResult:
    """Compare finished runs on one data set, each with those before it. Nothing is trained.

    ``out``: folder for the tables and ``runs.json``, which ``crossrec report`` reads; nothing is written without it.
    Raises ConfigError for fewer than two runs or runs of different data settings, RunError for a run that is not done
    or damaged.
    """
    started, paths = time.monotonic(), [Path(folder) for folder in folders]
    if len(paths) < 2:
        raise ConfigError(f"compare {' '.join(map(str, paths))}: give the folders of two or more finished runs")
    methods, data, shown = [], None, {"metrics": options.metrics, "k": options.k}
    for path in paths:
        check_run(path)
        config = load_config(path / "config.json")
        if data is None:
            data, shown = config.data, {name: value or getattr(config.training, name) for name, value in shown.items()}
        if config.data != data:
            raise ConfigError(f"{path}: was trained on other data, or another split, than {paths[0]}")
        config = config.model_copy(update={"training": config.training.model_copy(update=shown)})
        result = Result(Cell(config, (str(path),)), path, read_json(path / "metrics.json"))
        methods.append(MethodRuns(f"{path.name} ({config.label})", str(path), [result]))
    datasets = Datasets()
    evaluations = {method.name: evaluate_runs(method.results, datasets) for method in methods}
    for method in methods:  # a run may have measured others than those of the tables
        of_method, metrics = evaluations[method.name], method.results[0].metrics
        if metrics is not None and not isinstance(of_method, str) and len(of_method[0].user_E):
            metrics["test"] = mean_metrics(of_method[0].test) | metrics["test"]
    tests = PairedTests(block_tests(methods, evaluations))
    assert data is not None
    name = datasets[data].name
    tables = {
        "runs": comparison_table(f"{name}: runs", [methods], "Test metrics."),
        "runs-tests": tests.table(f"{name}: is it chance?", ("backbone", "compared", "metric")),
    }
    result_of_all = ExperimentResult("How do these runs differ?", [], tables)
    if out is not None:
        refuse_data_folder(Path(out), datasets)
        runs = [method.results[0] for method in methods]
        settings = {"runs": [str(path) for path in paths], **options.model_dump(mode="json")}
        write_result(
            result_of_all,
            Path(out),
            "runs",
            provenance(runs, datasets, Path(out), settings, time.monotonic() - started),
        )
    return result_of_all
