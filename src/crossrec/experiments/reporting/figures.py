"""Figures for a paper: readable in grey, the same file for the same numbers. matplotlib without global state."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crossrec.data.io.atomic import write_bytes_atomic
from crossrec.experiments.reporting.tables import CellStatistics, CellValue, cell_statistics

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#4d4d4d", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Okabe and Ito's colours, which the colour-blind can tell apart. Grey, for the baseline, comes first."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
LINES = ("--", "-", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)))
HATCHES = ("", "//", "\\\\", "..", "xx", "--", "++")
"""Markers, dashes and hatches tell series apart without colour."""

STYLE: dict[str, Any] = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.grid.axis": "y",
    "grid.alpha": 0.3,
    "legend.frameon": False,
    "hatch.linewidth": 0.6,
    "pdf.fonttype": 42,
}
DOTS_PER_INCH = 200
OFFSET_INCHES = 1 / 24
"""Distance between curves at the same x."""


def literal(text: str) -> str:
    """A text from the data as matplotlib shows it as it is: between two unescaped $ would be a formula."""
    return text.replace("$", r"\$")


def line_style(number: int) -> dict[str, Any]:
    """Colour, marker and dashes of series ``number``."""
    return {
        "color": COLOURS[number % len(COLOURS)],
        "marker": MARKERS[number % len(MARKERS)],
        "linestyle": LINES[number % len(LINES)],
        "linewidth": 1.2,
        "markersize": 4,
    }


def bar_style(number: int) -> dict[str, Any]:
    """Colour, hatching and edge of the bars of series ``number``."""
    return {
        "color": COLOURS[number % len(COLOURS)],
        "hatch": HATCHES[number % len(HATCHES)],
        "edgecolor": "white",
        "error_kw": {"elinewidth": 0.8, "capsize": 2},
    }


def means_and_deviations(cells: Sequence[CellValue]) -> tuple[list[float], list[float]]:
    """Means and deviations of cells. NaN makes a failure a gap, and leaves a single seed without error bar."""
    statistics = [cell_statistics(cell) or CellStatistics(math.nan, None, 0) for cell in cells]
    deviations = [math.nan if numbers.deviation is None else numbers.deviation for numbers in statistics]
    return [numbers.mean for numbers in statistics], deviations


def plot_curve(
    axes: Axes, x: Sequence[float], cells: Sequence[CellValue], number: int, label: str, *, offset: float = 0.0
) -> None:
    """Draw a line over ``x`` with error bars over seeds, in the style of series ``number``.

    ``offset`` moves it to the right by so many OFFSET_INCHES, so that error bars at the same x do not overlap.
    """
    from matplotlib.transforms import offset_copy

    means, deviations = means_and_deviations(cells)
    bars = axes.errorbar(x, means, yerr=deviations, label=label, elinewidth=0.8, capsize=2, **line_style(number))
    transform = offset_copy(axes.transData, axes.get_figure(root=True), OFFSET_INCHES * offset, units="inches")
    for artist in bars.get_children():  # after errorbar has set the limits of the axes by the data
        artist.set_transform(transform)


def plot_band(axes: Axes, x: Sequence[float], cells: Sequence[CellValue], number: int, label: str) -> None:
    """Draw a line with ten markers over many ``x``, and a band of the deviation over seeds."""
    means, deviations = means_and_deviations(cells)
    style = line_style(number)
    # unclipped, a line along the lower edge is drawn in full; an empty unclipped line breaks the layout
    axes.plot(x, means, label=label, markevery=max(1, len(x) // 10), clip_on=not len(x), **style)
    low, high = ([m + sign * d for m, d in zip(means, deviations, strict=True)] for sign in (-1, 1))
    axes.fill_between(x, low, high, color=style["color"], alpha=0.15, linewidth=0)


def label_bar(axes: Axes, cell: CellValue, end: tuple[float, float], deviation: float, *, sideways: bool) -> None:
    """Write a change in % behind the ``end`` of a bar and its error bar; nothing where the change is not known."""
    change = cell_statistics(cell)
    if change is None or math.isnan(change.mean):
        return
    error = 0.0 if math.isnan(deviation) else deviation
    x, y = end
    placement: dict[str, Any]
    if sideways:
        placement = {"xy": (x + error, y), "xytext": (3, 0), "ha": "left", "va": "center"}
    else:
        placement = {"xy": (x, y + error), "xytext": (0, 3), "ha": "center", "va": "bottom", "rotation": 90}
    axes.annotate(f"{change.mean:+.1f} %", textcoords="offset points", fontsize=7, **placement)


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


def legend_below(figure: Figure, handles: Sequence[Any]) -> None:
    """Draw one legend for all panels, below them, in as many columns as fit."""
    for columns in range(max(1, len(handles)), 0, -1):
        legend = figure.legend(handles=handles, loc="outside lower center", ncols=columns)
        if columns == 1 or legend.get_window_extent().width <= figure.bbox.width:
            break
        legend.remove()


def make_figure(draw: Callable[[Figure], None], inches: tuple[float, float]) -> Figure:
    """A figure of matplotlib, drawn in the style of all figures."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):  # type: ignore[arg-type]
        figure = Figure(figsize=inches, layout="constrained")
        draw(figure)
    return figure


def save_figure(draw: Callable[[Figure], None], stem: Path, inches: tuple[float, float]) -> None:
    """Draw a figure and write STEM.png and STEM.pdf, each atomically. Raises RunError where one cannot be written."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):  # type: ignore[arg-type]
        figure = Figure(figsize=inches, layout="constrained")
        draw(figure)
        for ending, options in (
            ("png", {"dpi": DOTS_PER_INCH, "metadata": {"Software": None}}),
            ("pdf", {"metadata": {"CreationDate": None}}),
        ):
            buffer = io.BytesIO()
            figure.savefig(buffer, format=ending, **options)
            write_bytes_atomic(stem.with_name(f"{stem.name}.{ending}"), buffer.getvalue())
