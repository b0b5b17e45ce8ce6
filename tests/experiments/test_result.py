"""Results of experiments."""

from __future__ import annotations

import pytest

from crossrec.experiments.reporting.result import ExperimentResult, ResultFigure
from crossrec.experiments.reporting.tables import Column, ResultTable


def test_a_table_and_a_figure_do_not_overwrite_each_other():
    with pytest.raises(ValueError, match="both called rq"):
        ExperimentResult("?", [], {"rq": None, "a": None}, {"rq": None})


def test_a_figure_as_a_matplotlib_object():
    table = ResultTable("t", [Column("x"), Column("y")], [[1, 2.0], [2, 3.0]])
    figure = ResultFigure("f", "c", table, lambda canvas: canvas.subplots().plot([1, 2], [2.0, 3.0]), (4.0, 3.0))
    drawn = figure.to_matplotlib()
    assert drawn.get_size_inches().tolist() == [4.0, 3.0]
    assert drawn.axes[0].lines[0].get_ydata().tolist() == [2.0, 3.0]
