"""A refactoring does not change the losses: three epochs of every backbone and alignment against stored numbers.

After an intended change of a formula or a default, ``python tests/golden/measure.py`` writes golden.json again.
"""

from __future__ import annotations

import json

import pytest

from .measure import CASES, FILE, measure

USERS = 60
"""Evaluated users of synthetic-tiny, each with one held-out item."""


@pytest.fixture(scope="module")
def golden():
    return json.loads(FILE.read_text())


def test_the_golden_file_has_every_case(golden):
    assert sorted(golden) == sorted(f"{backbone}+{alignment}" for backbone, alignment in CASES), "run measure.py"


@pytest.mark.parametrize(("backbone", "alignment"), CASES)
def test_golden(backbone, alignment, golden):
    expected, measured = golden[f"{backbone}+{alignment}"], measure(backbone, alignment)
    assert len(measured["terms"]) == len(expected["terms"]) == 3
    for row, wanted in zip(measured["terms"], expected["terms"], strict=True):
        # float32 sums differ between machines in the sixth digit or so; a changed formula in the first ones
        assert row == pytest.approx(wanted, rel=1e-4, abs=2e-6)
    # two items of nearly equal score may change places elsewhere: one hit of one user
    assert measured["test"] == pytest.approx(expected["test"], abs=1 / USERS + 1e-9)
