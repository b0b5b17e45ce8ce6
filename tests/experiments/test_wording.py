"""Words for findings: names of metrics, changes, and judgements of the paper's claims."""

from __future__ import annotations

import pytest

from crossrec.experiments.analysis.significance_tables import NO_DIFFERENCE
from crossrec.experiments.analysis.wording import (
    all_hold,
    describe_change,
    join_words,
    judge_all,
    judge_claim,
    metric_label,
    seeds_note,
    short_metric,
)


@pytest.mark.parametrize(
    ("new", "old", "parts"),
    [
        ((0.2, 0.4), (0.1, 0.5), ["+0.0 %", "1 of 2 seeds"]),
        ((0.3, 0.6, 0.3), (0.2, 0.4, 0.2), ["+50.0 %", "3 of 3 seeds"]),
        (0.9, 1.0, ["-10.0 %", "one seed"]),
        ("failed: x", 1.0, ["–", "missing"]),
        ((0.1, 0.2), "failed: x", ["–", "missing"]),
        (0.1, 0.0, ["from 0", "0.1000"]),
    ],
)
def test_a_change_has_its_percentage_and_seeds(new, old, parts):
    words = describe_change(new, old)
    assert all(part in words for part in parts)
    assert ("%" in words) == ("%" in parts[0])


def test_names():
    assert (short_metric("ndcg@20"), metric_label("ndcg@20"), metric_label("recall@10")) == (
        *("N@20", "NDCG@20", "Recall@10"),
    )
    assert [join_words(list(names)) for names in ("", "A", "AB", "ABC")] == ["", "A", "A and B", "A, B and C"]
    assert (seeds_note([1, 0, 1]), seeds_note([4])) == (", mean ± sample deviation over seeds 0, 1", " of seed 4")


def test_all_hold_where_none_fails_and_none_is_unknown():
    assert [all_hold(of) for of in ([True, True], [True, None], [None, False], [])] == [True, None, False, None]


def judgement(holds, **options):
    """The words after the claim."""
    sentence = judge_claim("bpr", "x is", holds, **options)
    subject, words = sentence.removesuffix(".").split(" claim that x is ")
    assert subject.startswith("bpr: ")
    return words


def test_a_claim_holds_or_does_not_or_is_unknown():
    assert judgement(True) == "holds"
    assert judgement(False, detail="not y") == "does not hold (not y)"
    assert judgement(None, unknown="y is missing") == "cannot be judged, as y is missing"


@pytest.mark.parametrize(
    ("holds", "tests", "verdict", "certainty"),
    [
        (True, ["higher", "higher"], "holds", "beyond chance"),
        (True, ["higher", NO_DIFFERENCE], "holds", "may be chance"),
        (True, ["higher", None], "holds", "beyond chance"),
        (True, [None], "holds", ""),
        (False, ["higher", NO_DIFFERENCE], "does not hold", "may be chance"),
        (False, ["higher", "lower"], "does not hold", "contrary is beyond chance"),
        (None, ["higher"], "cannot be judged", "missing"),
    ],
)
def test_a_judgement_says_whether_it_is_beyond_chance(holds, tests, verdict, certainty):
    words = judgement(holds, tests=tests)
    assert words.startswith(verdict)
    assert words.endswith(certainty)
    assert ("chance" in words) == ("chance" in certainty)
    assert ("contrary" in words) == ("contrary" in certainty)


def test_a_claim_on_several_cases_names_those_in_which_it_does_not_hold():
    assert judge_all("bpr", "x is", {"A": True, "B": True}).endswith("x is holds.")
    assert judge_all("bpr", "x is", {"A": False, "B": None, "C": False}).endswith("does not hold (not A and C).")
    assert "cannot be judged" in judge_all("bpr", "x is", {"A": True, "B": None})
    sentence = judge_all("bpr", "x is", {"A": False, "B": False}, ["lower"], exceptions="not at {}", join=", ".join)
    assert sentence.endswith("does not hold: the contrary is beyond chance (not at A, B).")
