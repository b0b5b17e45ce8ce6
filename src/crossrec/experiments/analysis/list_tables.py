"""What tables of accuracy leave out: what lists hold, users with few interactions, and what training cost."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from crossrec.data import Dataset
from crossrec.errors import DataError
from crossrec.evaluation import mean_metrics
from crossrec.evaluation.groups import group_means
from crossrec.experiments.analysis.comparison import Row, Values
from crossrec.experiments.analysis.run_evaluation import RunEvaluation, user_groups
from crossrec.experiments.experiment import over_seeds
from crossrec.experiments.reporting.tables import CellValue, Column, ResultTable
from crossrec.experiments.runner.jobs import Result

LISTS = ("coverage@20", "gini@20", "popularity@20", "novelty@20", "tail@20")
"""Of the lists of the test users: docs/evaluation.md has the formulas."""
FORMATS = {"popularity@20": ".1f", "novelty@20": ".2f"} | dict.fromkeys(("coverage@20", "gini@20", "tail@20"), ".3f")
METRIC = "recall@20"


def lists_table(data: str, rows: Sequence[Sequence[CellValue]], dataset: Dataset, seeds: Sequence[int]) -> ResultTable:
    """``rows``: of ``block_rows``, and rules. One that is short, as its runs failed, is filled up."""
    users = user_groups(dataset)
    columns = [Column("model", "left"), *(Column(name, format=FORMATS.get(name, ".4f")) for name in LISTS)]
    columns += [Column(name, best="max", group="R@20, users") for name in users.names]
    columns += [Column("epochs", format=".0f"), Column("s/epoch", format=".2f"), Column("minutes", format=".1f")]
    columns.append(Column("peak MB", format=".0f"))
    notes = (
        f"Lists of 20 for the test users{over_seeds(seeds)}. coverage: share of items in some list; gini: 0 where all "
        "items are listed equally often; popularity: training interactions of a listed item; novelty in bits; tail: "
        "share of places that hold none of the 20 % most popular items.",
        "R@20 by the users' training interactions: quarters of the users, as far as ties allow.",
        "epochs: trained, with those after the best one; minutes: training and validation of a run; peak MB: of its "
        "process.",
    )
    filled = [[*row, *[None] * (len(columns) - len(row))] if row else row for row in rows]
    return ResultTable(f"{data}: lists, users with few interactions, and cost", columns, filled, notes)


def block_rows(
    block: Sequence[Row], outcomes: Mapping[str, Sequence[RunEvaluation] | str]
) -> list[Sequence[CellValue]]:
    """A row a model, or what it failed on. ``outcomes``: by name of the row."""
    rows: list[Sequence[CellValue]] = []
    for row in block:
        found = outcomes[row.name]
        if isinstance(found, str):
            rows.append([row.label, found])
            continue
        try:
            of_seeds = [_values(outcome) for outcome in found]
        except DataError:
            rows.append([row.label, "no test pairs"])
            continue
        costs = [_cost(result) for result in row.results]
        rows.append([row.label, *map(_over, zip(*of_seeds, strict=True)), *map(_over, zip(*costs, strict=True))])
    return rows


def _values(outcome: RunEvaluation) -> list[float]:
    found = outcome.exposure | mean_metrics(outcome.lists)
    users = group_means(outcome.of_users)
    return [*(found[name] for name in LISTS), *(users[name].means[METRIC] for name in outcome.users.names)]


def _cost(result: Result) -> list[float]:
    metrics = result.metrics or {}
    known = [float(metrics.get(name, math.nan)) for name in ("epochs", "train_seconds_per_epoch", "peak_memory_mb")]
    return [*known[:2], _minutes(result.folder), known[2]]


def _minutes(folder: Path) -> float:
    """Of all epochs in a run's history; NaN where it is not there any more."""
    try:
        with (folder / "history.csv").open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        return sum(float(row["train_seconds"]) + float(row["eval_seconds"]) for row in rows) / 60
    except (OSError, KeyError, TypeError, ValueError):
        return math.nan


def _over(values: Sequence[float]) -> Values:
    return tuple(values) if len(values) > 1 else values[0]
