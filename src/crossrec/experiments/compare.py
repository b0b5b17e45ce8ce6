"""RQ1: does alignment help? Backbones × alignments × seeds on one data set or several (Tables 2 and 3)."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from pathlib import Path

from pydantic import Field

from crossrec.data import DataConfig, Dataset
from crossrec.experiments.answer import Answer
from crossrec.experiments.cells import Cell
from crossrec.experiments.effects import COLUMNS, DELTA, blocks_of, comparison
from crossrec.experiments.plan import Base, Experiment, ExperimentConfig, Results, over_seeds
from crossrec.experiments.tables import Column, Table


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
    notes = (
        f"Test metrics{over_seeds(r.cell.config.training.seed for r in results)}; the epoch is chosen by validation "
        "Recall@20.",
        DELTA,
    )
    title = f"{data}: backbones and what is stacked on them"
    return Table(title, [Column("model", "left"), *COLUMNS], comparison(blocks_of(results)), notes)


def _findings(shown: Table, data: str) -> list[str]:
    """One sentence a row of averages, or a row that has a gain where there is no average."""
    gain = [column.header for column in shown.columns].index("ΔR@20")
    rows = [row for row in shown.rows if row and isinstance(row[gain], float)]
    averages = [row for row in rows if str(row[0]).startswith("average")] or rows
    return [f"{data}: {str(row[0]).strip()} changes Recall@20 by {row[gain]:+.1f} %." for row in averages]


COMPARE = Experiment("compare", "Backbones x alignments x seeds x data sets (RQ1).", CompareConfig, cells, answer)
