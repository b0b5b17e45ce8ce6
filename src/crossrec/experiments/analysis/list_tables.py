"""Table beside the accuracy of models: properties of their lists, users with few interactions, and cost of training."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from crossrec.data import Dataset
from crossrec.errors import DataError
from crossrec.evaluation import mean_metrics
from crossrec.evaluation.groups import group_means
from crossrec.experiments.analysis.comparison import MethodRuns
from crossrec.experiments.analysis.run_evaluation import RunEvaluation, user_groups
from crossrec.experiments.analysis.seed_values import seed_values
from crossrec.experiments.analysis.wording import seeds_note
from crossrec.experiments.reporting.tables import CellValue, Column, ResultTable
from crossrec.experiments.runner.jobs import Result

LIST_METRICS = ("coverage@20", "gini@20", "popularity@20", "novelty@20", "tail@20")
"""Of the lists of the test users: docs/evaluation.md has the formulas."""
FORMATS = {"popularity@20": ".1f", "novelty@20": ".2f"} | dict.fromkeys(("coverage@20", "gini@20", "tail@20"), ".3f")
METRIC = "recall@20"


def lists_table(data: str, rows: Sequence[Sequence[CellValue]], dataset: Dataset, seeds: Sequence[int]) -> ResultTable:
    """The table of ``list_rows`` and rules. The row of a failed model is short and gets empty cells."""
    users = user_groups(dataset)
    columns = [Column("model", "left"), *(Column(name, format=FORMATS.get(name, ".4f")) for name in LIST_METRICS)]
    columns += [Column(name, best="max", group="R@20, users") for name in users.names]
    columns += [Column("epochs", format=".0f"), Column("s/epoch", format=".2f"), Column("minutes", format=".1f")]
    columns.append(Column("peak MB", format=".0f"))
    notes = (
        f"Lists of 20 for the test users{seeds_note(seeds)}. coverage: share of items in some list; gini: 0 where all "
        "items are listed equally often; popularity: training interactions of a listed item; novelty in bits; tail: "
        "share of places that hold none of the 20 % most popular items.",
        "R@20 by the users' training interactions: quarters of the users, as far as ties allow.",
        "epochs: trained, with those after the best one; minutes: training and validation of a run; peak MB: of its "
        "process.",
    )
    complete = [[*row, *[None] * (len(columns) - len(row))] if row else row for row in rows]
    return ResultTable(f"{data}: lists, users with few interactions, and cost", columns, complete, notes)


def list_rows(
    block: Sequence[MethodRuns], evaluations: Mapping[str, Sequence[RunEvaluation] | str]
) -> list[Sequence[CellValue]]:
    """A row per method, or its failure. ``evaluations``: by name of the method."""
    return [[method.label, *_method_cells(method.results, evaluations[method.name])] for method in block]


def _method_cells(results: Sequence[Result], evaluations: Sequence[RunEvaluation] | str) -> list[CellValue]:
    if isinstance(evaluations, str):
        return [evaluations]
    try:
        values_by_seed = [_list_values(evaluation) for evaluation in evaluations]
    except DataError:
        return ["no test pairs"]
    costs_by_seed = [_cost(result) for result in results]
    return [seed_values(values) for by_seed in (values_by_seed, costs_by_seed) for values in zip(*by_seed, strict=True)]


def _list_values(evaluation: RunEvaluation) -> list[float]:
    metrics = evaluation.exposure | mean_metrics(evaluation.lists)
    groups = group_means(evaluation.of_users)
    return [*(metrics[name] for name in LIST_METRICS), *(groups[name].means[METRIC] for name in evaluation.users.names)]


def _cost(result: Result) -> list[float]:
    metrics = result.metrics or {}
    epochs, seconds, memory = (
        float(metrics.get(name, math.nan)) for name in ("epochs", "train_seconds_per_epoch", "peak_memory_mb")
    )
    return [epochs, seconds, _minutes(result.folder), memory]


def _minutes(folder: Path) -> float:
    """Minutes of all epochs in a run's history; NaN where the file is missing or damaged."""
    try:
        with (folder / "history.csv").open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        return sum(float(row["train_seconds"]) + float(row["eval_seconds"]) for row in rows) / 60
    except (OSError, KeyError, TypeError, ValueError):
        return math.nan
