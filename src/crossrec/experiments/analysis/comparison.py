"""Compare runs with and without a change: rows of methods on a backbone, their metrics, and differences in %."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from crossrec.experiments.analysis.seed_values import SeedValues, metric_values, percent_change, table_cell
from crossrec.experiments.analysis.wording import short_metric
from crossrec.experiments.reporting.tables import RULE, CellValue, Column, ResultTable
from crossrec.experiments.runner.jobs import Result

METRICS = ("recall@10", "recall@20", "ndcg@10", "ndcg@20")
"""The four metrics of the paper's tables."""
PLAIN = "none"
"""Name of the backbone alone in groups of cells, as for ``--alignment``."""
DELTA_NOTE = "Δ: change of the mean against the first row of the block, in %."


def shown_metrics(results: Sequence[Result]) -> tuple[str, ...]:
    """The metrics that the runs' configuration names for tables."""
    return results[0].cell.config.training.shown


def comparison_columns(results: Sequence[Result]) -> list[Column]:
    """Columns of a comparison, after those that name the row: the metrics that the runs' configuration names."""
    training = results[0].cell.config.training
    return [
        *(Column(short_metric(m), best="max") for m in training.shown),
        *(Column(f"Δ{short_metric(m)}", format="+.1f") for m in training.shown),
        Column(f"valid {short_metric(training.selection)}"),
        Column("s/epoch", format=".2f"),
    ]


def headline_metric(results: Sequence[Result], default: str) -> str:
    """The metric that findings and figures speak of: ``default`` unless the runs' configuration names metrics."""
    return results[0].cell.config.training.headline(default)


@dataclass(frozen=True)
class MethodRuns:
    """The runs of one method, a backbone with what is stacked on it, one per seed.

    ``label`` heads its row in a table; ``name`` is its name within the block of its backbone.
    """

    label: str
    name: str
    results: Sequence[Result]

    @property
    def backbone(self) -> str:
        return self.results[0].cell.config.backbone.name

    def values(self, metric: str) -> SeedValues:
        """A test metric."""
        return metric_values(self.results, "test", metric)


def runs_by_group(results: Iterable[Result]) -> dict[tuple[str, ...], list[Result]]:
    """Runs by the group of their cell, in order: one run per seed."""
    by_group: dict[tuple[str, ...], list[Result]] = {}
    for result in results:
        by_group.setdefault(result.cell.group, []).append(result)
    return by_group


def method_blocks(results: Iterable[Result]) -> list[list[MethodRuns]]:
    """Group runs by method, and methods into blocks by backbone.

    The last two parts of a cell's group are backbone and method; a block has all parts but the last in common.
    """
    blocks: dict[tuple[str, ...], list[MethodRuns]] = {}
    for group, runs in runs_by_group(results).items():
        block, (backbone, name) = blocks.setdefault(group[:-1], []), group[-2:]
        stacked = f"  + {name}" if block else f"{backbone} + {name}"
        block.append(MethodRuns(backbone if name == PLAIN else stacked, name, runs))
    return list(blocks.values())


def comparison_table(
    title: str, blocks: Iterable[Sequence[MethodRuns]], note: str, further_notes: Sequence[str] = ()
) -> ResultTable:
    """A row per method, with ``comparison_columns``. The note on Δ follows ``note``."""
    blocks = list(blocks)
    columns = [Column("model", "left"), *comparison_columns(blocks[0][0].results)]
    return ResultTable(title, columns, comparison_rows(blocks), (note, DELTA_NOTE, *further_notes))


def comparison_rows(blocks: Iterable[Sequence[MethodRuns]]) -> list[Sequence[CellValue]]:
    """Label and cells of every method; Δ is against the first of its block. Of several blocks also averages of Δ."""
    rows: list[Sequence[CellValue]] = []
    deltas_by_name: dict[str, list[list[float]]] = {}
    shown: tuple[str, ...] = ()
    for block in blocks:
        shown = shown_metrics(block[0].results)
        for number, method in enumerate(block):
            cells = comparison_cells(method.results, block[0].results if number else None)
            rows.append([method.label, *cells])
            deltas = cells[len(shown) : 2 * len(shown)]
            if all(isinstance(delta, float) for delta in deltas):
                deltas_by_name.setdefault(method.name, []).append(deltas)
        rows.append(RULE)
    if not any(len(deltas) > 1 for deltas in deltas_by_name.values()):
        return rows[:-1]
    most = max(map(len, deltas_by_name.values()))
    for name, all_deltas in deltas_by_name.items():
        averages = [fmean(deltas[k] for deltas in all_deltas) for k in range(len(shown))]
        share = "" if len(all_deltas) == most else f" (of {len(all_deltas)})"
        rows.append([f"average + {name}{share}", *[""] * len(shown), *averages, "", ""])
    return rows


def comparison_cells(results: Sequence[Result], baseline: Sequence[Result] | None) -> list[Any]:
    """``comparison_columns`` for the runs of one row.

    Δ is against ``baseline``, empty without one. A failure fills the first cell.
    """
    shown = shown_metrics(results)
    values = [metric_values(results, "test", m) for m in shown]
    if isinstance(values[0], str):
        return [table_cell(values[0]), *[None] * (2 * len(shown) + 1)]
    deltas: list[float | str] = [""] * len(shown)
    if baseline is not None:
        old = [metric_values(baseline, "test", m) for m in shown]
        deltas = [percent_change(a, b) for a, b in zip(values, old, strict=True)]
    metrics = [result.metrics for result in results if result.metrics is not None]
    selection = results[0].cell.config.training.selection
    valid = [of_run["valid"].get(selection) for of_run in metrics]
    seconds = fmean(of_run["train_seconds_per_epoch"] for of_run in metrics)
    return [*values, *deltas, None if None in valid else fmean(valid), seconds]


def figure_table(title: str, blocks: Iterable[Sequence[MethodRuns]], head: str, metrics: Sequence[str]) -> ResultTable:
    """Numbers of a figure: backbone, method (in a column ``head``), metrics, and changes within the block."""
    columns = [Column("backbone", "left"), Column(head, "left"), *map(Column, metrics)]
    columns += [Column(f"change of {metric} in %", format="+.1f") for metric in metrics]
    rows = []
    for block in blocks:
        for method in block:
            values = [table_cell(method.values(metric)) for metric in metrics]
            changes = [percent_change(method.values(metric), block[0].values(metric)) for metric in metrics]
            rows.append([method.backbone, method.name, *values, *changes])
    return ResultTable(title, columns, rows)
