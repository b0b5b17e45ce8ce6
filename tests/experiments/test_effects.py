"""What a change is, in numbers and in words."""

from __future__ import annotations

import math

import pytest

from crossrec.experiments.analysis.comparison import (
    above,
    average,
    best,
    change,
    change_cell,
    every,
    listed,
    named,
    rise,
    short,
    verdict,
)
from crossrec.experiments.analysis.significance_tables import UNSHOWN
from crossrec.experiments.reporting.result import ExperimentResult


@pytest.mark.parametrize(
    ("new", "old", "percent", "words"),
    [
        ((0.2, 0.4), (0.1, 0.5), 0.0, "+0.0 %, higher in 1 of 2 seeds"),
        ((0.3, 0.6, 0.3), (0.2, 0.4, 0.2), 50.0, "+50.0 %, higher in 3 of 3 seeds"),
        (0.9, 1.0, -10.0, "-10.0 %, one seed"),
        ("failed: x", 1.0, "–", "– (a result is missing)"),
        ((0.1, 0.2), "failed: x", "–", "– (a result is missing)"),
    ],
)
def test_a_change(new, old, percent, words):
    assert change(new, old) == (percent if isinstance(percent, str) else pytest.approx(percent))
    assert rise(new, old) == words


def test_from_nothing():
    assert math.isnan(change(0.1, 0.0))
    assert change_cell(0.1, 0.0) == "from 0"
    assert change_cell(0.3, 0.2) == pytest.approx(50)
    assert rise(0.1, 0.0) == "from 0 to 0.1000"


def test_averages_are_seed_by_seed():
    assert average([(1.0, 2.0), (3.0, 6.0)]) == (2.0, 4.0)
    assert average([1.0, 2.0]) == 1.5
    assert average([(1.0, 2.0), "failed: x", "failed: y"]) == "failed: x"
    assert average([]) == "none"


def test_judgements():
    assert [above(2.0, 1.0), above(1.0, 1.0), above((1.0, 2.0), (2.0, 2.0)), above("x", 1.0)] == [
        *(True, False, False, None)
    ]
    assert [every([True, True]), every([True, None]), every([None, False]), every([])] == [True, None, False, None]
    assert best({"a": 1.0, "b": (2.0, 4.0), "c": 2.5}) == "b"
    assert best({"a": 1.0, "b": "failed: x"}) is None
    assert best({}) is None


def test_words():
    assert (short("ndcg@20"), named("ndcg@20"), named("recall@10")) == ("N@20", "NDCG@20", "Recall@10")
    assert [listed(list(names)) for names in ("", "A", "AB", "ABC")] == ["", "A", "A and B", "A, B and C"]
    assert verdict("bpr", "x is", True) == "bpr: the paper's claim that x is holds."
    assert verdict("bpr", "x is", False, "not y") == "bpr: the paper's claim that x is does not hold (not y)."
    assert "cannot be judged" in verdict("bpr", "x is", None)


@pytest.mark.parametrize(
    ("holds", "shown", "judged"),
    [
        (True, ["higher", "higher"], "holds beyond chance."),
        (True, ["higher", UNSHOWN], "holds in the mean, which may be chance."),
        (True, ["higher", None], "holds beyond chance."),
        (True, [None], "holds."),
        (False, ["higher", UNSHOWN], "does not hold in the mean, which may be chance."),
        (False, ["higher", "lower"], "does not hold: the contrary is beyond chance."),
        (None, ["higher"], "cannot be judged, as results are missing."),
    ],
)
def test_a_claim_is_told_apart_from_chance(holds, shown, judged):
    assert verdict("bpr", "x is", holds, shown=shown) == f"bpr: the paper's claim that x is {judged}"


def test_a_table_and_a_figure_do_not_overwrite_each_other():
    with pytest.raises(ValueError, match="both called rq"):
        ExperimentResult("?", [], {"rq": None, "a": None}, {"rq": None})
