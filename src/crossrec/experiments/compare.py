"""RQ1: does alignment help? Backbones × alignments × seeds on one data set or several (Tables 2 and 3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from statistics import fmean
from typing import Any

from pydantic import Field

from crossrec.data import DataConfig, Dataset
from crossrec.experiments.answer import Answer
from crossrec.experiments.cells import Cell
from crossrec.experiments.plan import Base, Experiment, ExperimentConfig, Results, over_seeds, values_of
from crossrec.experiments.tables import RULE, Column, Table
from crossrec.training import SELECTION

METRICS = ("recall@10", "recall@20", "ndcg@10", "ndcg@20")
"""The four columns of the paper's tables."""


class CompareConfig(ExperimentConfig):
    """What to compare."""

    datasets: tuple[str, ...] | None = Field(default=None, min_length=1)
    """Data sets to compare on, one table each; the one of --data unless given."""
    alignments: tuple[str, ...] = Field(default=("none", "fettle", "cross"), min_length=1)
    """Alignments, one row of a block each."""


def cells(options: CompareConfig, base: Base) -> list[Cell]:
    """One cell per data set, backbone, alignment and seed."""
    return [
        Cell(
            base.config(backbone, alignment, seed, data=base.data.model_copy(update={"data": data})),
            group=(data, backbone, alignment),
        )
        for data in options.datasets or (base.data.data,)
        for backbone in options.backbones
        for alignment in options.alignments
        for seed in options.seeds
    ]


def answer(options: CompareConfig, base: Base, results: Results, datasets: Mapping[DataConfig, Dataset]) -> Answer:
    """A table per data set."""
    tables, findings = {}, []
    for data, of_data in groupby(results, key=lambda result: result.cell.group[0]):
        name = Path(data).name
        shown = table(list(of_data), name)
        tables[f"compare-{name}" if options.datasets and len(options.datasets) > 1 else "compare"] = shown
        findings += _findings(shown, name)
    return Answer("Does alignment improve recommenders, and which alignment does so most?", findings, tables)


def table(results: Results, data: str) -> Table:
    """Mean ± deviation over seeds per backbone and alignment, and the improvement over the first alignment in %.

    A row in which a cell failed says so.
    """
    columns = [
        Column("model", "left"),
        *(Column(_short(m), best="max") for m in METRICS),
        *(Column(f"Δ{_short(m)}", format="+.1f") for m in METRICS),
        Column("valid R@20"),
        Column("s/epoch", format=".2f"),
    ]
    rows: list[Sequence[Any]] = []
    gains: dict[str, list[list[float]]] = {}
    for _, of_backbone in groupby(results, key=lambda result: result.cell.group[1]):
        base: list[float] | None = None
        groups = groupby(list(of_backbone), key=lambda result: result.cell.group)
        for row, ((_, backbone, alignment), group) in enumerate(groups):
            of_row = list(group)
            name = backbone if alignment == "none" else f"{backbone} + {alignment}" if row == 0 else f"  + {alignment}"
            values = [values_of(of_row, "test", m) for m in METRICS]
            if isinstance(values[0], str):
                text = "no test pairs" if values[0] == "none" else values[0]
                rows.append([name, text, *[None] * (len(columns) - 2)])
                continue
            means = [fmean(value) if isinstance(value, tuple) else float(value) for value in values]
            delta: list[Any] = [""] * len(METRICS)
            if row == 0:
                base = means
            elif base is None:  # the row to compare with has failed
                delta = ["–"] * len(METRICS)
            else:
                delta = [100 * (new / old - 1) if old else float("nan") for new, old in zip(means, base, strict=True)]
                gains.setdefault(alignment, []).append(delta)
            done = [r.metrics for r in of_row if r.metrics is not None]
            valid = [metrics["valid"].get(SELECTION) for metrics in done]
            seconds = fmean(metrics["train_seconds_per_epoch"] for metrics in done)
            rows.append([name, *values, *delta, None if None in valid else fmean(valid), seconds])
        rows.append(RULE)
    if any(len(blocks) > 1 for blocks in gains.values()):
        for alignment, blocks in gains.items():
            average = [fmean(block[k] for block in blocks) for k in range(len(METRICS))]
            share = "" if len(blocks) == max(map(len, gains.values())) else f" (of {len(blocks)})"
            rows.append([f"average + {alignment}{share}", *[""] * len(METRICS), *average, "", ""])
    else:
        rows.pop()
    notes = (
        f"Test metrics{over_seeds(r.cell.config.training.seed for r in results)}; the epoch is chosen by validation "
        "Recall@20.",
        "Δ: change of the mean against the first row of the block, in %.",
    )
    return Table(f"{data}: backbones and what is stacked on them", columns, rows, notes)


def _findings(shown: Table, data: str) -> list[str]:
    """One sentence a row of averages, or a row that has a gain where there is no average."""
    gain = [column.header for column in shown.columns].index("ΔR@20")
    rows = [row for row in shown.rows if row and isinstance(row[gain], float)]
    averages = [row for row in rows if str(row[0]).startswith("average")] or rows
    return [f"{data}: {str(row[0]).strip()} changes Recall@20 by {row[gain]:+.1f} %." for row in averages]


def _short(metric: str) -> str:
    name, k = metric.split("@")
    return f"{name[0].upper()}@{k}"


COMPARE = Experiment("compare", "Backbones x alignments x seeds x data sets (RQ1).", CompareConfig, cells, answer)
