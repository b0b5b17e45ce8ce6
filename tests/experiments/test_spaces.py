"""Search spaces: draws, grids, and settings at a point."""

from __future__ import annotations

from itertools import islice

import pytest

from crossrec.experiments.search.spaces import Choice, Range, Share, Space


def test_a_range_is_drawn_from_end_to_end():
    space = Space({"a": Range(1, 4, whole=True), "b": Range(1e-5, 100, log=True), "c": Choice(("x", None))})
    assert space.size is None
    points = list(islice(space.random(7), 400))
    assert {point["a"] for point in points} == {1, 2, 3, 4}
    shares = [sum(point["a"] == k for point in points) / 400 for k in (1, 2, 3, 4)]
    assert all(abs(share - 0.25) < 0.08 for share in shares)
    assert sum(point["b"] < 10**-1.5 for point in points) / 400 == pytest.approx(0.5, abs=0.1)
    assert all(1e-5 <= point["b"] <= 100 for point in points)
    assert {point["c"] for point in points} == {"x", None}
    assert points != list(islice(space.random(8), 400))


def test_random_points_of_lists_are_the_grid_in_another_order():
    space = Space({"a": Choice((1, 2, 3)), "b": Choice((0.1, 0.2))})
    drawn = list(space.random(3))
    assert drawn != list(space.grid())
    assert sorted(drawn, key=str) == sorted(space.grid(), key=str)


def test_shares():
    tied = Space({"alpha": Choice((0.003, 0.01)), "gamma": Share("alpha", Choice((0.1, 1)))})
    assert list(tied.free) == ["alpha", "gamma/alpha"]
    settings = [tied.settings(point) for point in tied.grid()]
    assert [setting["gamma"] for setting in settings] == [0.0003, 0.003, 0.001, 0.01]
    same = Space({"alpha": Range(0.1, 1), "gamma": Share("alpha")})
    assert list(same.free) == ["alpha"]
    assert same.settings({"alpha": 0.123456}) == {"alpha": 0.1235, "gamma": 0.1235}
    assert set(same.without("alpha").values) == {"alpha", "gamma"}, "another setting hangs on it"
    assert set(same.without("gamma").values) == {"alpha"}
