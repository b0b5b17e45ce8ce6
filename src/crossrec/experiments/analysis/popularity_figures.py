"""Figure 10: popularity of items, and recall within groups of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from crossrec.evaluation.groups import Groups
from crossrec.experiments.analysis.comparison import PLAIN, MethodRuns
from crossrec.experiments.analysis.seed_values import SeedValues, percent_change, table_cell
from crossrec.experiments.analysis.wording import metric_label, seeds_note
from crossrec.experiments.reporting.figures import legend_below, plot_grouped_bars
from crossrec.experiments.reporting.result import ResultFigure
from crossrec.experiments.reporting.tables import CellValue, Column, ResultTable

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def distribution_figure(data: str, groups: Groups, degree_I: np.ndarray) -> ResultFigure:
    """Figure 10(a): training interactions of items by rank, with the share of every group."""
    rows: list[Sequence[CellValue]] = []
    for group, name in reversed(list(enumerate(groups.names))):
        share = 100 * float(groups.share_G[group])
        value, count = np.unique(degree_I[groups.members(name)], return_counts=True)
        rows += [[name, share, int(v), int(n)] for v, n in zip(value[::-1], count[::-1], strict=True)]
    heads = ("group", "share of interactions in %", "interactions an item", "items with so many")
    numbers = ResultTable(f"{data}: popularity", [Column(head) for head in heads], rows)

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
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
        for group, name in reversed(list(enumerate(groups.names))):
            start, end = end, end + 100 * float(groups.size_G[group]) / max(len(degree), 1)
            shade = "#d9d9d9" if (len(groups.names) - group) % 2 else "#f2f2f2"
            axes.axvspan(start, end, color=shade, zorder=0, linewidth=0)
            share = 100 * float(groups.share_G[group])
            axes.text((start + end) / 2, 0.97, f"{name}\n{share:.1f} %", transform=axes.get_xaxis_transform(), **TOP)
        axes.set_xlabel("items from the most to the least popular, in %")
        axes.set_ylabel("training interactions")

    caption = (
        f"{data}: training interactions of every item, and the share of all interactions that each group of items has. "
        "Head: the 20 % most popular items; the others in four groups of equally many."
    )
    return ResultFigure("Items by popularity", caption, numbers, draw, (4.6, 2.8))


TOP: dict[str, Any] = {"ha": "center", "va": "top", "fontsize": 8}


def groups_figure(
    data: str,
    blocks: Sequence[Sequence[MethodRuns]],
    recall: Sequence[Mapping[str, Mapping[str, SeedValues]]],
    names: Sequence[str],
    metric: str,
    seeds: Sequence[int],
) -> ResultFigure:
    """Figure 10(b): bars of every group side by side, a panel per backbone.

    ``recall``: ``metric`` by name of the method and group, per block. ``names``: of the groups.
    """
    rows: list[Sequence[CellValue]] = []
    for block, by_method in zip(blocks, recall, strict=True):
        plain = by_method[block[0].name]
        for method in block:
            for name in names:
                values = by_method[method.name][name]
                change = percent_change(values, plain[name])
                rows.append([method.backbone, method.name, name, table_cell(values), change])
    heads = ("backbone", "alignment", "items")
    columns = [*(Column(head, "left") for head in heads), Column(metric), Column(f"change of {metric} in %")]
    numbers = ResultTable(f"{data}: {metric_label(metric)} by popularity", columns, rows)

    def draw(figure: Figure) -> None:
        panels = figure.subplots(len(blocks), 1, squeeze=False, sharex=True)[:, 0]
        for axes, block in zip(panels, blocks, strict=True):
            series = {
                "the backbone alone" if method.name == PLAIN else f"+ {method.name}": [
                    (row[3], row[4]) for row in rows if row[:2] == [method.backbone, method.name]
                ]
                for method in block
            }
            plot_grouped_bars(axes, names, series)
            axes.set_ylabel(f"{block[0].backbone}\n{metric_label(metric)}")
        legend_below(figure, panels[0].get_legend_handles_labels()[0])

    caption = (
        f"{data}: {metric_label(metric)} of the held-out items of each group, rarest items left{seeds_note(seeds)}; "
        "the percentages are changes of the mean against the backbone alone."
    )
    return ResultFigure("Who gains, popular items or rare ones", caption, numbers, draw, (6.4, 0.6 + 2.5 * len(blocks)))
