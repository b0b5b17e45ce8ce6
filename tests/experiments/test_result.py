"""Results of experiments."""

from __future__ import annotations

import pytest

from crossrec.experiments.reporting.result import ExperimentResult


def test_a_table_and_a_figure_do_not_overwrite_each_other():
    with pytest.raises(ValueError, match="both called rq"):
        ExperimentResult("?", [], {"rq": None, "a": None}, {"rq": None})
