"""Values of one metric by seed: means, changes and comparisons."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from crossrec.experiments.analysis.seed_values import (
    average_by_seed,
    finite,
    highest,
    is_higher,
    metric_values,
    percent_change,
    percent_change_cell,
    seed_values,
    table_cell,
)
from crossrec.experiments.runner.jobs import Cell, Result
from crossrec.runs.config import RunConfig


@pytest.mark.parametrize(
    ("new", "old", "percent"),
    [
        ((0.2, 0.4), (0.1, 0.5), 0.0),
        ((0.3, 0.6, 0.3), (0.2, 0.4, 0.2), 50.0),
        (0.9, 1.0, -10.0),
        ("failed: x", 1.0, "–"),
        ((0.1, 0.2), "failed: x", "–"),
    ],
)
def test_the_change_of_the_mean_in_percent(new, old, percent):
    assert percent_change(new, old) == (percent if isinstance(percent, str) else pytest.approx(percent))


def test_a_change_from_zero_has_no_percentage():
    assert math.isnan(percent_change(0.1, 0.0))
    assert percent_change_cell(0.1, 0.0) == "from 0"
    assert percent_change_cell(0.3, 0.2) == pytest.approx(50)
    assert [finite(percent) for percent in (math.nan, "–", 2.0)] == [None, None, 2.0]


def test_averages_are_seed_by_seed():
    assert average_by_seed([(1.0, 2.0), (3.0, 6.0)]) == (2.0, 4.0)
    assert average_by_seed([1.0, 2.0]) == 1.5
    assert average_by_seed([(1.0, 2.0), "failed: x", "failed: y"]) == "failed: x"
    assert average_by_seed([]) == "none"


def test_comparisons_of_means():
    pairs = ((2.0, 1.0), (1.0, 1.0), ((1.0, 2.0), (2.0, 2.0)), ("x", 1.0))
    assert [is_higher(*pair) for pair in pairs] == [True, False, False, None]
    assert highest({"a": 1.0, "b": (2.0, 4.0), "c": 2.5}) == "b"
    assert highest({"a": 1.0, "b": "failed: x"}) is None
    assert highest({}) is None


def test_a_single_seed_is_a_number():
    assert (seed_values([0.5]), seed_values([0.5, 0.7])) == (0.5, (0.5, 0.7))
    assert [table_cell(values) for values in (0.5, "none", "failed: x")] == [0.5, "no test pairs", "failed: x"]


def test_a_metric_of_runs_is_their_values_or_the_first_failure():
    def run(metrics, failure=""):
        return Result(Cell(RunConfig(), ()), Path("x"), metrics, failure)

    done = [run({"test": {"recall@10": value}}) for value in (0.1, 0.2)]
    assert metric_values(done, "test", "recall@10") == (0.1, 0.2)
    assert metric_values(done[:1], "test", "recall@10") == 0.1
    assert metric_values(done, "test", "recall@20") == "none"
    assert metric_values([*done, run(None, "failed: x"), run(None, "failed: y")], "test", "recall@10") == "failed: x"
