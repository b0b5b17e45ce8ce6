"""What a change does: metrics of the runs that have it, and how far they are from those of the runs that have not."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import fmean
from typing import Any

from crossrec.experiments.experiment import values_of
from crossrec.experiments.reporting.tables import RULE, CellValue, Column, ResultTable
from crossrec.experiments.runner.jobs import Result
from crossrec.training import SELECTION

METRICS = ("recall@10", "recall@20", "ndcg@10", "ndcg@20")
"""The four columns of the paper's tables."""
PLAIN = "none"
"""What a backbone with nothing on top is called in groups of cells, as ``--alignment`` calls it."""

Values = tuple[float, ...] | float | str
"""A metric of a group of runs: one number a seed, the number of the only seed, or why there is none."""


@dataclass(frozen=True)
class Row:
    """A row of a comparison: how it is shown, what it is called within its block, and its runs, one a seed."""

    label: str
    name: str
    results: Sequence[Result]

    @property
    def backbone(self) -> str:
        return self.results[0].cell.config.backbone.name

    def values(self, metric: str) -> Values:
        """A test metric."""
        return values_of(self.results, "test", metric)


def short(metric: str) -> str:
    """R@10 for recall@10."""
    name, k = metric.split("@")
    return f"{name[0].upper()}@{k}"


def named(metric: str) -> str:
    """Recall@10 for recall@10, NDCG@10 for ndcg@10: for sentences and axes."""
    name, k = metric.split("@")
    return f"{'NDCG' if name == 'ndcg' else name.capitalize()}@{k}"


COLUMNS = (
    *(Column(short(m), best="max") for m in METRICS),
    *(Column(f"Δ{short(m)}", format="+.1f") for m in METRICS),
    Column("valid R@20"),
    Column("s/epoch", format=".2f"),
)
"""Columns of a comparison, behind what names the row."""
DELTA = "Δ: change of the mean against the first row of the block, in %."


def blocks_of(results: Sequence[Result]) -> list[list[Row]]:
    """Rows by all of their group but its last part. The last part but one is the backbone, the last what is on it."""
    blocks = []
    for _, block in groupby(results, key=lambda result: result.cell.group[:-1]):
        rows: list[Row] = []
        for group, of_row in groupby(block, key=lambda result: result.cell.group):
            backbone, name = group[-2:]
            stacked = f"  + {name}" if rows else f"{backbone} + {name}"
            rows.append(Row(backbone if name == PLAIN else stacked, name, list(of_row)))
        blocks.append(rows)
    return blocks


def comparison(blocks: Iterable[Sequence[Row]]) -> list[Sequence[CellValue]]:
    """Rows of label and COLUMNS; Δ is against the first row of a block; then, of several blocks, averages of Δ."""
    rows: list[Sequence[CellValue]] = []
    gains: dict[str, list[list[float]]] = {}
    for block in blocks:
        first = block[0].results
        for place, row in enumerate(block):
            cells = measured(row.results, first if place else None)
            rows.append([row.label, *cells])
            deltas = cells[len(METRICS) : 2 * len(METRICS)]
            if all(isinstance(delta, float) for delta in deltas):
                gains.setdefault(row.name, []).append(deltas)
        rows.append(RULE)
    if not any(len(changes) > 1 for changes in gains.values()):
        return rows[:-1]
    most = max(map(len, gains.values()))
    for name, changes in gains.items():
        average = [fmean(change[k] for change in changes) for k in range(len(METRICS))]
        share = "" if len(changes) == most else f" (of {len(changes)})"
        rows.append([f"average + {name}{share}", *[""] * len(METRICS), *average, "", ""])
    return rows


def measured(results: Sequence[Result], base: Sequence[Result] | None) -> list[Any]:
    """What COLUMNS show of one row's runs. ``base``: what Δ compares with; without it Δ is empty. A failure is told."""
    values = [values_of(results, "test", m) for m in METRICS]
    if isinstance(values[0], str):
        return [told(values[0]), *[None] * (len(COLUMNS) - 1)]
    old = [""] * len(METRICS) if base is None else [values_of(base, "test", m) for m in METRICS]
    delta = [change(new, of_base) if base else "" for new, of_base in zip(values, old, strict=True)]
    done = [r.metrics for r in results if r.metrics is not None]
    valid = [metrics["valid"].get(SELECTION) for metrics in done]
    seconds = fmean(metrics["train_seconds_per_epoch"] for metrics in done)
    return [*values, *delta, None if None in valid else fmean(valid), seconds]


def numbers(title: str, blocks: Iterable[Sequence[Row]], what: str, metrics: Sequence[str]) -> ResultTable:
    """What a figure of a comparison shows: backbone, row (headed ``what``), metrics, and their change in the block."""
    rows = []
    for block in blocks:
        for row in block:
            found = [row.values(metric) for metric in metrics]
            changes = [change(new, block[0].values(metric)) for new, metric in zip(found, metrics, strict=True)]
            shown = [told(value) if isinstance(value, str) else value for value in found]
            rows.append([row.backbone, row.name, *shown, *changes])
    heads = [Column("backbone", "left"), Column(what, "left"), *map(Column, metrics)]
    return ResultTable(
        title, [*heads, *(Column(f"change of {metric} in %", format="+.1f") for metric in metrics)], rows
    )


def told(failure: str) -> str:
    """Why there is no value, for a table."""
    return "no test pairs" if failure == "none" else failure


def mean(values: Values) -> float | None:
    """Over seeds; None where there is no value."""
    if isinstance(values, str):
        return None
    return fmean(values) if isinstance(values, tuple) else float(values)


def change(new: Values, old: Values) -> float | str:
    """Change of the mean in %; NaN from a mean of 0, "–" where there is nothing to compare with."""
    after, before = mean(new), mean(old)
    if after is None or before is None:
        return "–"
    return 100 * (after / before - 1) if before else float("nan")


def change_cell(new: Values, old: Values) -> float | str:
    """The change for a table: "from 0" where that is where it comes from, which no percentage tells."""
    percent = change(new, old)
    return "from 0" if isinstance(percent, float) and math.isnan(percent) else percent


def average(values: Sequence[Values]) -> Values:
    """Seed by seed; the first failure where there is one."""
    failed = [value for value in values if isinstance(value, str)]
    if failed or not values:
        return failed[0] if failed else "none"
    by_seed = zip(*(value if isinstance(value, tuple) else (value,) for value in values), strict=True)
    means = tuple(fmean(of_seed) for of_seed in by_seed)
    return means if len(means) > 1 else means[0]


def rise(new: Values, old: Values) -> str:
    """The change in words: "+3.2 %, higher in 2 of 3 seeds"."""
    percent = change(new, old)
    if isinstance(percent, str):
        return "– (a result is missing)"
    if math.isnan(percent):
        return f"from 0 to {mean(new):.4f}"
    if not (isinstance(new, tuple) and isinstance(old, tuple)):
        return f"{percent:+.1f} %, one seed"
    higher = sum(a > b for a, b in zip(new, old, strict=True))
    return f"{percent:+.1f} %, higher in {higher} of {len(new)} seeds"


MISSING = "results are missing"
"""Why a claim cannot be judged, most of the time."""


def verdict(
    where: str,
    claim: str,
    holds: bool | None,
    detail: str = "",
    shown: Sequence[str | None] = (),
    unknown: str = MISSING,
) -> str:
    """Whether what the paper claims holds here, in a sentence; None where it cannot be told, and ``unknown`` is why.

    ``holds`` goes by means. ``shown``: what the paired tests say of the differences that the claim is made of, each
    claimed to be "higher"; without any the sentence is silent about chance.
    """
    judged = {True: "holds", False: "does not hold", None: f"cannot be judged, as {unknown}"}[holds]
    tested = [one for one in shown if one is not None]
    if tested and holds is not None:
        told = " beyond chance" if holds else ": the contrary is beyond chance"
        beyond = all(one == "higher" for one in tested) if holds else "lower" in tested
        judged += told if beyond else " in the mean, which may be chance"
    return f"{where}: the paper's claim that {claim} {judged}{f' ({detail})' if detail else ''}."


def above(new: Values, old: Values) -> bool | None:
    """Whether the mean is higher; None where there is nothing to compare."""
    after, before = mean(new), mean(old)
    return None if after is None or before is None else after > before


def listed(names: Sequence[str]) -> str:
    """ "A, B and C"."""
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def every(judgements: Iterable[bool | None]) -> bool | None:
    """False where one is, else None where one is not known, or there is none, else True."""
    found = list(judgements)
    if False in found:
        return False
    return None if None in found or not found else True


def best(values: Mapping[str, Values]) -> str | None:
    """The name with the highest mean; None where a mean is missing."""
    means = {name: mean(value) for name, value in values.items()}
    known = {name: value for name, value in means.items() if value is not None}
    return max(known, key=known.__getitem__) if known and len(known) == len(means) else None
