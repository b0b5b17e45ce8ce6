"""Results that cells might have come to, without training any."""

from __future__ import annotations

import csv
import io
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure as Canvas

from crossrec.data import DataConfig, load
from crossrec.evaluation.groups import Groups
from crossrec.experiments.analysis.run_evaluation import RunEvaluation
from crossrec.experiments.experiment import SharedSettings
from crossrec.experiments.registry import QUESTIONS
from crossrec.experiments.reporting.figures import STYLE
from crossrec.experiments.reporting.result import ExperimentResult
from crossrec.experiments.reporting.tables import ResultTable, cell_statistics, to_csv
from crossrec.experiments.runner.jobs import Cell, Result

TINY = SharedSettings(data=DataConfig(data="synthetic-tiny"))
NO_MEMORY = "failed: no memory"


def fake_results(cells: list[Cell], value: Callable[[Cell], float | None]) -> list[Result]:
    """One result a cell: Recall@10 is ``value``, the other metrics follow from it; None is a failure.

    Metrics that the training names are 1 - ``value``, so that they say the contrary.
    """
    results = []
    for cell in cells:
        recall = value(cell)
        test = {} if recall is None else {"recall@10": recall, "recall@20": 1.5 * recall, "ndcg@10": recall / 2}
        training = cell.config.training
        if recall is not None and (training.metrics or training.k):
            test |= dict.fromkeys(training.shown, 1 - recall)
        metrics = {"test": test | {"ndcg@20": test.get("ndcg@10")}, "valid": {"recall@20": 0.5}}
        done = None if recall is None else metrics | {"train_seconds_per_epoch": 1.0}
        results.append(Result(cell, Path(cell.name), done, NO_MEMORY if recall is None else ""))
    return results


def result_from(
    name: str, options: Any, value: Callable[[Cell], float | None], shared: SharedSettings = TINY
) -> ExperimentResult:
    """The result of a question whose cells have these values of Recall@10."""
    experiment = QUESTIONS[name].load()
    cells = experiment.cells(options, shared)
    datasets = {config: load(config) for config in {cell.config.data for cell in cells}}
    return experiment.result(options, shared, fake_results(cells, value), datasets)


def draw(figure: Any) -> Canvas:
    """The figure on a canvas, laid out; a warning is an error, and so is a legend that does not fit."""
    with warnings.catch_warnings(), matplotlib.rc_context(STYLE):
        warnings.simplefilter("error")
        canvas = Canvas(figsize=figure.inches, layout="constrained")
        figure.draw(canvas)
        canvas.draw_without_rendering()
    for legend in (*canvas.legends, *(axes.get_legend() for axes in canvas.axes if axes.get_legend())):
        box = legend.get_window_extent()
        assert 0 <= box.x0 < box.x1 <= canvas.bbox.width
    return canvas


def table_rows(table: ResultTable) -> list[dict[str, Any]]:
    """Rows by header, rules left out, texts stripped."""
    names = [column.header for column in table.columns]
    rows = [dict(zip(names, row, strict=True)) for row in table.rows if row]
    return [{k: v.strip() if isinstance(v, str) else v for k, v in row.items()} for row in rows]


def mean(cell: Any) -> float:
    """The mean of a cell that has numbers."""
    numbers = cell_statistics(cell)
    assert numbers is not None, cell
    return numbers[0]


def figure_rows(figure: Any) -> list[dict[str, str]]:
    """The rows of the CSV beside a figure."""
    return list(csv.DictReader(io.StringIO(to_csv(figure.data))))


def fake_evaluation(values: dict[str, list[float]], users: Groups, items: Groups, **parts: Any) -> RunEvaluation:
    """What a run might have come to: ``values`` of every test user, who all are in the first group of users."""
    test = {metric: np.array(of_users, dtype=float) for metric, of_users in values.items()}
    count = len(next(iter(test.values())))
    missing = {metric: np.full(count, np.nan) for metric in test}
    of_users = {name: missing if number else test for number, name in enumerate(users.names)}
    lists = {f"{name}@20": np.full(count, float(n)) for n, name in enumerate(("popularity", "novelty", "tail"), 2)}
    evaluation = RunEvaluation(
        user_E=np.arange(count),
        valid_user_E=np.arange(count),
        test=test,
        valid=test,
        item_EK=np.zeros((count, 20), dtype=int),
        items=items,
        users=users,
        of_items=dict.fromkeys(items.names, test),
        of_users=of_users,
        lists=lists,
        exposure={"coverage@20": 0.5, "gini@20": 0.75},
    )
    return replace(evaluation, **parts)
