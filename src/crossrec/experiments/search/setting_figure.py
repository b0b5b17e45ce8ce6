"""Figure of a search: validation Recall@20 against each setting."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from crossrec.experiments.reporting.figures import line_style
from crossrec.experiments.reporting.result import ResultFigure
from crossrec.experiments.reporting.tables import CellValue, Column, ResultTable
from crossrec.experiments.search.spaces import Choice, Scalar
from crossrec.experiments.search.stages import Stage
from crossrec.experiments.search.trials import Trial

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANELS = 3
"""Panels in a row."""


def setting_figure(stage: Stage, trials: Sequence[Trial], plain: Trial | None) -> ResultFigure | None:
    """Validation against every parameter that varied; None if none did. ``plain``: the best without alignment."""
    trials = [trial for trial in trials if trial.value is not None]
    panels = {}
    for name in stage.space.free:
        column = [trial.setting.get(name, trial.point[name]) for trial in trials]
        if len(set(column)) > 1:
            panels[name] = column
    if not panels:
        return None
    recalls = [trial.value or 0.0 for trial in trials]
    data = ResultTable(
        f"{stage.label}: validation Recall@20 by setting",
        [*(Column(name) for name in panels), Column("valid recall@20")],
        [[*map(cell_value, point), recall] for *point, recall in zip(*panels.values(), recalls, strict=True)],
    )
    caption = "Every dot is a setting, a line the best one at each listed value, the circle the best of all"
    caption += "." if plain is None else f"; dashed: {stage.backbone} alone at its best."
    lists = [name for name in panels if isinstance(stage.space.free[name], Choice)]
    draw = partial(_draw, panels=panels, lists=lists, recalls=recalls, plain=None if plain is None else plain.value)
    rows, columns = _grid_shape(len(panels))
    return ResultFigure(data.title, caption, data, draw, (0.6 + 2.2 * columns, 0.4 + 2.1 * rows))


def format_scalar(value: Scalar) -> str:
    """A setting's value as text."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def cell_value(value: Scalar) -> CellValue:
    """A setting's value for a table: numbers as they are, the rest as text."""
    return str(value) if value is None or isinstance(value, bool) else value


def _grid_shape(panels: int) -> tuple[int, int]:
    """Rows and columns."""
    return math.ceil(panels / PANELS), min(PANELS, panels)


def _draw(
    figure: Figure,
    panels: Mapping[str, Sequence[Scalar]],
    lists: Sequence[str],
    recalls: Sequence[float],
    plain: float | None,
) -> None:
    grid = figure.subplots(*_grid_shape(len(panels)), sharey=True, squeeze=False)
    top = recalls.index(max(recalls))
    line = {name: value for name, value in line_style(1).items() if name != "capsize"}
    for axes, (name, column) in zip(grid.flat, panels.items(), strict=False):
        xs = _x_positions(axes, name, column)
        axes.plot(xs, recalls, "o", color="#4d4d4d", markersize=4, alpha=0.6)
        if name in lists:
            best_at = {x: max(r for other, r in zip(xs, recalls, strict=True) if other == x) for x in xs}
            axes.plot(*zip(*sorted(best_at.items()), strict=True), **line)
        axes.plot(xs[top], recalls[top], "o", color="#d55e00", markersize=9, fillstyle="none", markeredgewidth=1.5)
        if plain is not None:
            axes.axhline(plain, color="#4d4d4d", linestyle="--", linewidth=1)
    for axes in list(grid.flat)[len(panels) :]:
        axes.set_axis_off()
    for axes in grid[:, 0]:
        axes.set_ylabel("validation Recall@20")


def _x_positions(axes: Axes, name: str, column: Sequence[Scalar]) -> list[float]:
    """Positions of values on the x axis, which is configured for them.

    The axis is logarithmic if the values span more than a decade. Values are evenly spaced if some are not numbers, or
    if some are zero or less on what would be a logarithmic axis.
    """
    axes.set_xlabel(name)
    numbers = [value for value in column if isinstance(value, int | float) and not isinstance(value, bool)]
    positive = [number for number in numbers if number > 0]
    decades = bool(positive) and max(positive) / min(positive) > 20
    if len(numbers) == len(column) and (not decades or len(positive) == len(column)):
        if decades:
            axes.set_xscale("log")
        return [float(number) for number in numbers]
    labels = sorted(set(column), key=lambda value: (0, value, "") if value in numbers else (1, 0, str(value)))
    axes.set_xticks(range(len(labels)), [format_scalar(label) for label in labels])
    return [float(labels.index(value)) for value in column]
