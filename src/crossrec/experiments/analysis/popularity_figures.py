"""Figure 10: how popular items are, and what each group of them gets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from crossrec.evaluation.groups import Groups
from crossrec.experiments.analysis.comparison import PLAIN, Row, Values, change, named, told
from crossrec.experiments.experiment import over_seeds
from crossrec.experiments.reporting.figures import (
    bar_style,
    label_bar,
    legend_below,
    legend_handles,
    means_and_deviations,
)
from crossrec.experiments.reporting.result import ResultFigure
from crossrec.experiments.reporting.tables import CellValue, Column, ResultTable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas


def distribution(data: str, groups: Groups, degree_I: np.ndarray) -> ResultFigure:
    """Figure 10(a): training interactions by rank, with the groups' shares."""
    rows: list[Sequence[CellValue]] = []
    for place, name in reversed(list(enumerate(groups.names))):
        share = 100 * float(groups.share_G[place])
        value, count = np.unique(degree_I[groups.members(name)], return_counts=True)
        rows += [[name, share, int(v), int(n)] for v, n in zip(value[::-1], count[::-1], strict=True)]
    heads = ("group", "share of interactions in %", "interactions an item", "items with so many")
    numbers = ResultTable(f"{data}: popularity", [Column(head) for head in heads], rows)

    def draw(canvas: Canvas) -> None:
        axes = canvas.subplots()
        degree = np.repeat([row[2] for row in rows], [row[3] for row in rows])  # type: ignore[arg-type]
        percent = 100 * np.arange(len(degree) + 1) / max(len(degree), 1)
        if len(degree) and degree.min() > 0:
            axes.set_yscale("log")
        else:
            axes.set_yscale("symlog", linthresh=1)
        axes.stairs(degree, percent, color="black", linewidth=1.4, baseline=None)
        axes.set_ylim(0.8 * int(degree.min(initial=1)), 8 * max(int(degree.max(initial=1)), 1))
        axes.set_xlim(0, 100)
        end = 0.0
        for place, name in reversed(list(enumerate(groups.names))):
            start, end = end, end + 100 * float(groups.size_G[place]) / max(len(degree), 1)
            shade = "#d9d9d9" if (len(groups.names) - place) % 2 else "#f2f2f2"
            axes.axvspan(start, end, color=shade, zorder=0, linewidth=0)
            share = 100 * float(groups.share_G[place])
            axes.text((start + end) / 2, 0.97, f"{name}\n{share:.1f} %", transform=axes.get_xaxis_transform(), **TOP)
        axes.set_xlabel("items from the most to the least popular, in %")
        axes.set_ylabel("training interactions")

    caption = (
        f"{data}: training interactions of every item, and the share of all interactions that each group of items has. "
        "Head: the 20 % most popular items; the others in four groups of equally many."
    )
    return ResultFigure("Items by popularity", caption, numbers, draw, (4.6, 2.8))


TOP: dict[str, Any] = {"ha": "center", "va": "top", "fontsize": 8}


def by_group(
    data: str,
    blocks: Sequence[Sequence[Row]],
    measured: Sequence[Mapping[str, Mapping[str, Values]]],
    names: Sequence[str],
    metric: str,
    seeds: Sequence[int],
) -> ResultFigure:
    """Figure 10(b): bars of a group side by side, a row of panels a backbone."""
    rows: list[Sequence[CellValue]] = []
    for block, values in zip(blocks, measured, strict=True):
        plain = values[block[0].name]
        for row in block:
            for name in names:
                value = values[row.name][name]
                shown = told(value) if isinstance(value, str) else value
                rows.append([row.backbone, row.name, name, shown, change(value, plain[name])])
    heads = ("backbone", "alignment", "items")
    columns = [*(Column(head, "left") for head in heads), Column(metric), Column(f"change of {metric} in %")]
    numbers = ResultTable(f"{data}: {named(metric)} by popularity", columns, rows)

    def draw(canvas: Canvas) -> None:
        panels = canvas.subplots(len(blocks), 1, squeeze=False, sharex=True)[:, 0]
        for axes, block in zip(panels, blocks, strict=True):
            _bars(axes, block, [row for row in rows if row[0] == block[0].backbone], names, named(metric))
        legend_below(canvas, legend_handles(panels[0]))

    caption = (
        f"{data}: Recall@10 of the held-out items of each group, rarest items left{over_seeds(seeds)}; the percentages "
        "are changes of the mean against the backbone alone."
    )
    return ResultFigure("Who gains, popular items or rare ones", caption, numbers, draw, (6.4, 0.6 + 2.5 * len(blocks)))


def _bars(
    axes: Axes, block: Sequence[Row], rows: Sequence[Sequence[CellValue]], names: Sequence[str], metric: str
) -> None:
    width = 0.84 / len(block)
    for number, row in enumerate(block):
        own = [cells for cells in rows if cells[1] == row.name]
        means, deviations = means_and_deviations([cells[3] for cells in own])
        places = [at + (number - (len(block) - 1) / 2) * width for at in range(len(names))]
        label = "the backbone alone" if row.name == PLAIN else f"+ {row.name}"
        axes.bar(places, means, width, yerr=deviations, label=label, **bar_style(number))
        for cells, mean, place, deviation in zip(own, means, places, deviations, strict=True):
            if number:
                label_bar(axes, cells[4], (place, mean), deviation, sideways=False)
    axes.set_xticks(range(len(names)), names)
    axes.set_ylabel(f"{block[0].backbone}\n{metric}")
    axes.margins(y=0.22)
    axes.set_ylim(bottom=0)  # a deviation may reach below, a recall cannot
