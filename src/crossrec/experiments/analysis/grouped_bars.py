"""Bars of several methods side by side in groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from crossrec.experiments.reporting.figures import bar_style, label_bar, means_and_deviations
from crossrec.experiments.reporting.tables import CellValue

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_grouped_bars(
    axes: Axes, groups: Sequence[str], series: Mapping[str, Sequence[tuple[CellValue, CellValue]]]
) -> None:
    """Draw a bar per group and series, with error bars over seeds, from 0.

    ``series``: by its name in the legend the value and the change in % of every group. The first series is what the
    changes are against, and has none written above.
    """
    width = 0.84 / len(series)
    for number, (label, cells) in enumerate(series.items()):
        means, deviations = means_and_deviations([value for value, _ in cells])
        positions = [group + (number - (len(series) - 1) / 2) * width for group in range(len(cells))]
        axes.bar(positions, means, width, yerr=deviations, label=label, **bar_style(number))
        for (_, change), mean, x, deviation in zip(cells, means, positions, deviations, strict=True):
            if number:
                label_bar(axes, change, (x, mean), deviation, sideways=False)
    axes.set_xticks(range(len(groups)), groups)
    axes.margins(y=0.22)
    axes.set_ylim(bottom=0)  # an error bar may reach below 0, a metric cannot
