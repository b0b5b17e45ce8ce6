"""Compare finished runs by their folders: metrics, and whether the differences are chance."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from crossrec.data.io.atomic import read_json
from crossrec.errors import ConfigError
from crossrec.experiments.analysis.comparison import MethodRuns, comparison_table
from crossrec.experiments.analysis.run_evaluation import evaluate_runs
from crossrec.experiments.analysis.significance_tables import PairedTests
from crossrec.experiments.questions.compare import block_tests
from crossrec.experiments.reporting.result import ExperimentResult
from crossrec.experiments.runner.jobs import Cell, Datasets, Result
from crossrec.runs.config import load_config
from crossrec.runs.directory import check_run


def compare_runs(folders: Sequence[Path | str]) -> ExperimentResult:
    """Compare finished runs on one data set, each with those before it. Nothing is trained or written.

    Raises ConfigError for fewer than two runs or runs of different data settings, RunError for a run that is not done
    or damaged.
    """
    paths = [Path(folder) for folder in folders]
    if len(paths) < 2:
        raise ConfigError(f"compare {' '.join(map(str, paths))}: give the folders of two or more finished runs")
    methods = []
    for path in paths:
        check_run(path)
        config = load_config(path / "config.json")
        result = Result(Cell(config, (str(path),)), path, read_json(path / "metrics.json"))
        methods.append(MethodRuns(f"{path.name} ({config.label})", str(path), [result]))
    configs = [method.results[0].cell.config for method in methods]
    for path, config in zip(paths, configs, strict=True):
        if config.data != configs[0].data:
            raise ConfigError(f"{path}: was trained on other data, or another split, than {paths[0]}")
    datasets = Datasets()
    evaluations = {method.name: evaluate_runs(method.results, datasets) for method in methods}
    tests = PairedTests(block_tests(methods, evaluations))
    name = datasets[configs[0].data].name
    tables = {
        "runs": comparison_table(f"{name}: runs", [methods], "Test metrics."),
        "runs-tests": tests.table(f"{name}: is it chance?", ("backbone", "compared", "metric")),
    }
    return ExperimentResult("How do these runs differ?", [], tables)
