"""Figure of a search: the validation metric against each setting."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from crossrec.experiments.analysis.wording import metric_label
from crossrec.experiments.reporting.figures import COLOURS, line_style
from crossrec.experiments.reporting.result import ResultFigure
from crossrec.experiments.reporting.tables import CellValue, Column, ResultTable
from crossrec.experiments.search.spaces import Choice, Scalar, is_number
from crossrec.experiments.search.stages import Stage
from crossrec.experiments.search.trials import Trial, selection_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANELS = 3
"""Panels in a row."""


def setting_figure(stage: Stage, trials: Sequence[Trial], plain: Trial | None) -> ResultFigure | None:
    """Validation against every parameter that varied; None if none did. ``plain``: the best without alignment."""
    trials = [trial for trial in trials if trial.value is not None]
    columns = {name: [trial.setting.get(name, trial.point[name]) for trial in trials] for name in stage.space.free}
    panels = {name: column for name, column in columns.items() if len(set(column)) > 1}
    if not panels:
        return None
    metric = selection_of({stage.key: list(trials)})
    label = metric_label(metric)
    recalls = [trial.value or 0.0 for trial in trials]
    top = recalls.index(max(recalls))
    height, width = math.ceil(len(panels) / PANELS), min(PANELS, len(panels))
    data = ResultTable(
        f"{stage.label}: validation {label} by setting",
        [*(Column(name) for name in panels), Column(f"valid {metric}")],
        [[*map(cell_value, point), recall] for *point, recall in zip(*panels.values(), recalls, strict=True)],
    )
    caption = "Every dot is a setting, a line the best one at each listed value, the circle the best of all"
    caption += "." if plain is None else f"; dashed: {stage.backbone} alone at its best."

    def draw(figure: Figure) -> None:
        grid = figure.subplots(height, width, sharey=True, squeeze=False)
        for axes, (name, column) in zip(grid.flat, panels.items(), strict=False):
            xs = _x_positions(axes, name, column)
            axes.plot(xs, recalls, "o", color=COLOURS[0], markersize=4, alpha=0.6)
            if isinstance(stage.space.free[name], Choice):
                best_at = {x: max(r for other, r in zip(xs, recalls, strict=True) if other == x) for x in xs}
                axes.plot(*zip(*sorted(best_at.items()), strict=True), **line_style(1))
            axes.plot(xs[top], recalls[top], "o", color=COLOURS[2], markersize=9, fillstyle="none", markeredgewidth=1.5)
            if plain is not None and plain.value is not None:
                axes.axhline(plain.value, color=COLOURS[0], linestyle="--", linewidth=1)
        for axes in list(grid.flat)[len(panels) :]:
            axes.set_axis_off()
        for axes in grid[:, 0]:
            axes.set_ylabel(f"validation {label}")

    return ResultFigure(data.title, caption, data, draw, (0.6 + 2.2 * width, 0.4 + 2.1 * height))


def format_scalar(value: Scalar) -> str:
    """A setting's value as text."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def cell_value(value: Scalar) -> CellValue:
    """A setting's value for a table: numbers as they are, the rest as text."""
    return str(value) if value is None or isinstance(value, bool) else value


def _x_positions(axes: Axes, name: str, column: Sequence[Scalar]) -> list[float]:
    """Positions of values on the x axis, which is configured for them.

    The axis is logarithmic if the values span more than a decade. Values are evenly spaced if some are not numbers, or
    if some are zero or less on what would be a logarithmic axis.
    """
    axes.set_xlabel(name)
    numbers = [value for value in column if is_number(value)]
    positive = [number for number in numbers if number > 0]
    decades = bool(positive) and max(positive) / min(positive) > 20
    if len(numbers) == len(column) and (not decades or len(positive) == len(column)):
        if decades:
            axes.set_xscale("log")
        return [float(number) for number in numbers]
    labels = sorted(set(column), key=lambda value: (0, value, "") if value in numbers else (1, 0, str(value)))
    axes.set_xticks(range(len(labels)), [format_scalar(label) for label in labels])
    return [float(labels.index(value)) for value in column]
