"""How good vectors of new items are: tables, a figure and findings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np

from crossrec.data import Dataset
from crossrec.experiments.analysis.comparison import METRICS, Values, change, mean, named, rise, short, told
from crossrec.experiments.experiment import over_seeds
from crossrec.experiments.reporting.figures import bar_style, means_and_deviations
from crossrec.experiments.reporting.result import ResultFigure
from crossrec.experiments.reporting.tables import RULE, CellValue, Column, ResultTable
from crossrec.recommend.cold_start import DEFAULT_METHOD
from crossrec.recommend.measure import cold_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

METRIC = "recall@20"
"""The metric of the figure and of the findings."""
NEW, OTHERS = "new", "others"
"""Items taken out, and those of the run; the metric of the latter without any new ones is called OTHERS too."""
POPULARITY, HISTORY, TRUE = "popularity", "content like the history", "true popularity"
"""What needs no model."""


def by_features(how: str) -> str:
    """What a way is called that goes by features as they are, not by what a run makes of them."""
    return f"{how} by features"


@dataclass(frozen=True)
class Line:
    """A model, "" for none, a way to order new items, and metrics by name. A model that failed has no way."""

    model: str
    way: str
    values: Mapping[str, Values]

    @property
    def name(self) -> str:
        return self.model or self.way


def representatives(lines: Sequence[Line]) -> list[Line]:
    """One line a model: by ``own`` where a backbone alone has that, else by the default of the library.

    A model that knows no content has that by features.
    """
    chosen: dict[str, Line] = {}
    for line in lines:
        order = (by_features(DEFAULT_METHOD), DEFAULT_METHOD, *(() if " + " in line.model else ("own",)))
        rank = {way: place for place, way in enumerate(order)}
        best = chosen.get(line.name)
        if best is None or rank.get(line.way, -1) > rank.get(best.way, -1):
            chosen[line.name] = line
    return list(chosen.values())


def table(data: str, lines: Sequence[Line], seeds: Sequence[int], share: float) -> ResultTable:
    """All lines."""
    taken = {id(line) for line in representatives(lines) if line.model and line.way}
    columns = [Column("model", "left"), Column("new items by", "left"), *(Column(short(m)) for m in METRICS)]
    rows: list[Sequence[CellValue]] = []
    for place, line in enumerate(lines):
        if place and line.model != lines[place - 1].model:
            rows.append(RULE)
        values: list[CellValue] = [line.values.get(metric, "–") for metric in METRICS]
        if not line.way:
            values = [told(str(values[0])), *["–"] * (len(values) - 1)]
        way = f"{line.way}{' *' if id(line) in taken else ''}"
        rows.append([line.model or "–", way, *values])
    notes = (
        f"{100 * share:g} % of the items are taken out before training, others for every seed, and ranked among "
        f"themselves by everything that was done with them{over_seeds(seeds)}.",
        "popularity: nobody has touched them, so any order; true popularity is not known of a new item. *: what "
        "figure and differences take of a model.",
    )
    return ResultTable(f"{data}: items that nobody has touched", columns, rows, notes)


def pairs(lines: Sequence[Line], alone: Sequence[str]) -> Iterator[tuple[Line, Line]]:
    """Every aligned model beside its backbone, the other backbones alone, and what needs no model."""
    chosen = {line.name: line for line in representatives(lines)}
    for name, line in chosen.items():
        backbone, plus, _ = name.partition(" + ")
        if plus:
            others = dict.fromkeys((backbone, HISTORY, *alone, POPULARITY))
            yield from ((line, chosen[other]) for other in others)


def differences(data: str, lines: Sequence[Line], alone: Sequence[str]) -> ResultTable:
    """Seed by seed: both models of a seed know the same items, and their users are the same."""
    columns = [Column("compared", "left"), Column("against", "left")]
    for metric in (METRIC, "ndcg@20"):
        heads = (("difference", ".4f"), ("Δ %", "+.1f"), ("higher in", ""))
        columns += [Column(head, format=format, group=short(metric)) for head, format in heads]
    rows: list[Sequence[CellValue]] = []
    for new, old in pairs(lines, alone):
        if rows and rows[-1][0] != new.name:
            rows.append(RULE)
        cells = [cell for metric in (METRIC, "ndcg@20") for cell in _apart(new.values[metric], old.values[metric])]
        rows.append([new.name, old.name, *cells])
    note = "Differences are taken seed by seed, on the same items and users; mean ± sample deviation over seeds."
    return ResultTable(f"{data}: new items, what alignment adds", columns, rows, (note,))


def among(name: str, quantile: float) -> str:
    """What METRIC among all items is called: of NEW or OTHERS, with new items of the length of a quantile."""
    return f"{name} at {quantile:g}"


def among_all(data: str, lines: Sequence[Line], quantiles: Sequence[float]) -> ResultTable:
    """What new items get, and what they take from the others, by the length of their vectors."""
    columns = [Column("model", "left"), Column("length", "left"), Column("new items"), Column("other items")]
    columns.append(Column("Δ %", format="+.1f"))
    rows: list[Sequence[CellValue]] = []
    for line in lines:
        if line.model and not line.way:
            rows += [RULE, [line.model, "", told(str(line.values[METRIC])), "–", "–"]]
        found = [quantile for quantile in quantiles if among(NEW, quantile) in line.values]
        if not found:
            continue
        without = line.values[OTHERS]
        rows += [RULE, [f"{line.model} ({line.way})", "no new items", "–", _cell(without), ""]]
        for quantile in found:
            new, others = (line.values.get(among(name, quantile), "none") for name in (NEW, OTHERS))
            rows.append(["", f"quantile {quantile:g}", _cell(new), _cell(others), change(others, without)])
    note = (
        "Recall@20 among all items. Length: of the vectors of new items, as a quantile of the others'. Other items: by "
        "the test split; Δ: change of the mean against no new items, in %."
    )
    return ResultTable(f"{data}: new items among all", columns, rows[1:], (note,))


def _cell(values: Values) -> CellValue:
    return told(values) if isinstance(values, str) else values


def _apart(new: Values, old: Values) -> list[CellValue]:
    """Difference, change in % and in how many seeds it is higher; the failure where there is one."""
    for value in (new, old):
        if isinstance(value, str):
            return [told(value), None, None]
    by_seed = [a - b for a, b in zip(_each(new), _each(old), strict=True)]
    higher = f"{sum(difference > 0 for difference in by_seed)} of {len(by_seed)}"
    return [by_seed if len(by_seed) > 1 else by_seed[0], change(new, old), higher]


def _each(values: Values) -> Sequence[float]:
    assert not isinstance(values, str)
    return values if isinstance(values, tuple) else (values,)


def findings(data: str, lines: Sequence[Line], alone: Sequence[str], drawn: Sequence[Dataset]) -> list[str]:
    """How much was taken out, and every comparison in words."""
    colds = [cold_of(dataset) for dataset in drawn]
    items, taken = len(colds[0].item_ids), fmean(len(cold.interactions) for cold in colds)
    users = fmean(
        len(np.intersect1d(cold.interactions.user_N, dataset.train.user_N))
        for cold, dataset in zip(colds, drawn, strict=True)
    )
    said = [
        f"{data}: {items} items taken out, with {taken:.0f} interactions of {users:.0f} users that training knows"
        f"{' on average' if len(drawn) > 1 else ''}."
    ]
    for new, old in pairs(lines, alone):
        said.append(f"{new.name} against {old.name}: {named(METRIC)} {rise(new.values[METRIC], old.values[METRIC])}.")
    return said


def figure(data: str, lines: Sequence[Line], seeds: Sequence[int]) -> ResultFigure:
    """Bars, one a model; what is not known of a new item as a line."""
    chosen = representatives(lines)
    columns = [Column("model", "left"), Column("new items by", "left"), Column(METRIC), Column("ndcg@20")]
    rows: list[Sequence[CellValue]] = [
        [line.name, line.way if line.model else "", *(_cell(line.values[metric]) for metric in (METRIC, "ndcg@20"))]
        for line in chosen
    ]
    true = next(mean(line.values[METRIC]) for line in chosen if line.name == TRUE)
    bars = [row for row in rows if row[0] != TRUE]

    def draw(canvas: Canvas) -> None:
        axes = canvas.subplots()
        means, deviations = means_and_deviations([row[2] for row in bars])
        for place, (row, value, deviation) in enumerate(zip(bars, means, deviations, strict=True)):
            number = 1 if " + " in str(row[0]) else 0
            axes.barh(place, value, xerr=deviation, height=0.7, **bar_style(number))
        if true is not None:
            axes.axvline(true, color="black", linestyle=":", linewidth=1)
        axes.set_yticks(range(len(bars)), [f"{row[0]} ({row[1]})" if row[1] else str(row[0]) for row in bars])
        axes.invert_yaxis()
        axes.grid(axis="x")
        axes.grid(visible=False, axis="y")
        axes.set_xlabel(f"{named(METRIC)} of new items")

    caption = (
        f"{data}: {named(METRIC)} of items that were taken out before training, ranked among themselves"
        f"{over_seeds(seeds)}. Dotted: {TRUE}, which nobody knows of a new item."
    )
    return ResultFigure(
        "Items that nobody has touched", caption, ResultTable(data, columns, rows), draw, (6.4, 0.8 + 0.3 * len(bars))
    )
