"""Search spaces: the built-in ones fit what they are for, points become settings, mistakes are told."""

from __future__ import annotations

import json
import re
from itertools import islice
from pathlib import Path

import pytest

from crossrec.alignment import ALIGNMENTS
from crossrec.backbones import BACKBONES
from crossrec.errors import ConfigError
from crossrec.experiments.experiment import SharedSettings
from crossrec.experiments.search.spaces import Choice, Range, Share, Space, space_for


@pytest.mark.parametrize("space", ["paper", "wide"])
@pytest.mark.parametrize("alignment", ALIGNMENTS)
@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_value_of_a_built_in_space_may_be_given(backbone, alignment, space):
    found = space_for(space, backbone, alignment)
    assert found.values
    points = list(islice(found.random(0), 5))
    assert points == list(islice(found.random(0), 5))
    points += [{n: v.ends()[k % len(v.ends())] for n, v in found.free.items()} for k in range(7)]
    for point in points:
        setting = found.settings(point)
        part = {"backbone_settings" if alignment == "none" else "alignment_settings": setting}
        config = SharedSettings().run_config(backbone, alignment, 0, **part)
        made = config.backbone if alignment == "none" else config.alignment
        assert {name: getattr(made, name) for name in setting} == setting


@pytest.mark.parametrize("backbone", BACKBONES)
def test_the_grids_of_the_paper(backbone):
    # Section 7.1: 3 values each of α, β, λ_c, λ_f, λ_n and K, and γ is α
    space = space_for("paper", backbone, "cross")
    assert space.size == 3**6
    points = list(space.grid())
    assert len({json.dumps(point) for point in points}) == len(points) == space.size
    for point in points:
        setting = space.settings(point)
        assert setting["gamma"] == setting["alpha"]
    weights = [0.0001, 0.001, 0.01] if BACKBONES[backbone].multimodal else [1, 10, 100]
    assert sorted({point["alpha"] for point in points}) == sorted({point["beta"] for point in points}) == weights
    fettle = space_for("paper", backbone, "fettle")
    assert fettle.size == 3**4
    assert set(fettle.values) == {"alpha", "beta", "lambda_f", "lambda_c"}


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
    made = [tied.settings(point) for point in tied.grid()]
    assert [setting["gamma"] for setting in made] == [0.0003, 0.003, 0.001, 0.01]
    same = Space({"alpha": Range(0.1, 1), "gamma": Share("alpha")})
    assert list(same.free) == ["alpha"]
    assert same.settings({"alpha": 0.123456}) == {"alpha": 0.1235, "gamma": 0.1235}
    assert set(same.without("alpha").values) == {"alpha", "gamma"}, "another setting hangs on it"
    assert set(same.without("gamma").values) == {"alpha"}


@pytest.fixture
def written(tmp_path):
    def write(content):
        path = tmp_path / "space.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return str(path)

    return write


def test_a_file_of_spaces(written):
    path = written(
        {
            "backbone": {"reg": [0.1, 1]},
            "alignment": {"alpha": {"low": 0.001, "high": 1, "log": True}, "neighbors": {"low": 1, "high": 9}},
            "cross": {"direction": ["dynamic", "one_way"], "beta": 0.5},
            "lightgcn": {"backbone": {"layers": {"low": 1, "high": 4}}, "cross": {"gamma": [1]}},
        }
    )
    assert space_for(path, "bpr", "none").values == {"reg": Choice((0.1, 1))}
    assert space_for(path, "lightgcn", "none").values == {"layers": Range(1, 4, whole=True)}
    assert space_for(path, "bpr", "fettle").values == {
        "alpha": Range(0.001, 1, log=True),
        "neighbors": Range(1, 9, whole=True),
    }
    assert space_for(path, "bpr", "cross").values == {
        "direction": Choice(("dynamic", "one_way")),
        "beta": Choice((0.5,)),
    }
    assert space_for(path, "lightgcn", "cross").values == {"gamma": Choice((1,))}


def test_the_file_of_the_guide(written):
    page = Path(__file__).parents[2] / "docs" / "tune.md"
    (block,) = re.findall(r"```json\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    path = written(block)
    assert space_for(path, "bpr", "none").values == {"reg": Range(1e-5, 1, log=True)}
    assert space_for(path, "lightgcn", "none").values == {"layers": Range(1, 4, whole=True)}
    assert space_for(path, "bpr", "cross").size == 6
    assert list(space_for(path, "lightgcn", "cross").values) == ["neighbors"]


def test_what_a_file_leaves_out_is_not_searched(written):
    space = space_for(written({"alignment": {"alpha": [1]}}), "bpr", "none")
    assert (space.size, list(space.grid()), list(space.random(0))) == (1, [{}], [{}])


MISTAKES = {
    "no JSON": ("{'reg'}", ["not JSON"]),
    "no object": ([1], ["must hold an object"]),
    "unknown backbone": ({"lightgnc": {}}, ["'lightgnc'", "'lightgcn'"]),
    "unknown part": ({"backbon": {}}, ["'backbon'", "'backbone'"]),
    "part is none": ({"none": {}}, ["'none'"]),
    "unknown part of a backbone": ({"bpr": {"corss": {}}}, ["'bpr' has 'corss'", "'cross'"]),
    "a part is no object": ({"bpr": {"cross": [1]}}, ["'cross' of 'bpr'", "object"]),
    "a level is no object": ({"alignment": 3}, ["'alignment'", "object"]),
    "unknown setting": ({"alignment": {"alhpa": [1]}}, ["cross on bpr", "'alhpa'", "'alpha'"]),
    "setting of another backbone": ({"backbone": {"layers": [1]}}, ["bpr: unknown setting 'layers'"]),
    "empty list": ({"alignment": {"alpha": []}}, ["'alpha'", "empty"]),
    "a list in a list": ({"alignment": {"terms": [["item"]]}}, ["'terms'", '["item"]', "one value"]),
    "out of range": ({"alignment": {"alpha": [1, -3]}}, ["'alpha'", "-3"]),
    "text for a number": ({"alignment": {"alpha": ["much"]}}, ["'alpha'", "much"]),
    "a fraction of neighbours": ({"alignment": {"neighbors": [2.5]}}, ["'neighbors'", "2.5"]),
    "not finite": ('{"alignment": {"alpha": [NaN]}}', ["'alpha'", "nan"]),
    "range without an end": ({"alignment": {"alpha": {"low": 1}}}, ["'alpha'", "'high'"]),
    "range of an unknown word": ({"alignment": {"alpha": {"low": 1, "hgih": 2}}}, ["'hgih'", "'high'"]),
    "range the wrong way": ({"alignment": {"alpha": {"low": 2, "high": 1}}}, ["'alpha'", "less than"]),
    "range out of range": ({"backbone": {"reg": {"low": -1, "high": 1}}}, ["'reg'", "-1"]),
    "range of names": ({"alignment": {"direction": {"low": 1, "high": 2}}}, ["'direction'"]),
    "logarithm of zero": ({"alignment": {"alpha": {"low": 0, "high": 1, "log": True}}}, ["'alpha'", "logarithm"]),
    "log is no answer": ({"alignment": {"alpha": {"low": 1, "high": 2, "log": "yes"}}}, ["'alpha'", "'log'"]),
    "infinite range": ('{"alignment": {"alpha": {"low": 1, "high": Infinity}}}', ["'high'", "Infinity"]),
    "share of nothing": ({"alignment": {"gamma": {"of": "alpha"}, "alfa": 1}}, ["unknown setting 'alfa'"]),
    "share of what is not searched": (
        {"alignment": {"gamma": {"of": "alpa"}, "alpha": [1]}},
        ["'gamma'", "'of'", "'alpha'"],
    ),
    "share of itself": ({"alignment": {"gamma": {"of": "gamma"}, "alpha": [1]}}, ["'gamma'", "known: alpha"]),
    "share of a share": (
        {"alignment": {"gamma": {"of": "beta"}, "beta": {"of": "alpha"}, "alpha": [1]}},
        ["'gamma'", "'of'"],
    ),
    "share of a name": (
        {"alignment": {"gamma": {"of": "direction"}, "direction": ["dynamic"]}},
        ["'gamma'", "direction", "number"],
    ),
    "share by a name": ({"alignment": {"alpha": [1], "gamma": {"of": "alpha", "times": ["x"]}}}, ["'gamma'", '"x"']),
    "share out of range": ({"alignment": {"alpha": [1], "gamma": {"of": "alpha", "times": [-1]}}}, ["'gamma'", "-1"]),
    "share of a fraction": (
        {"alignment": {"alpha": [1], "neighbors": {"of": "alpha", "times": [0.5]}}},
        ["'neighbors'", "0.5"],
    ),
    "share with an unknown word": ({"alignment": {"alpha": [1], "gamma": {"of": "alpha", "time": 2}}}, ["'times'"]),
}


@pytest.mark.parametrize(("content", "told"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_in_a_file(written, content, told):
    path = written(content)
    with pytest.raises(ConfigError) as mistake:
        [space_for(path, "bpr", alignment) for alignment in ("none", "cross")]
    line = str(mistake.value)
    assert line.startswith(f"--space {path}")
    assert "\n" not in line
    for part in told:
        assert part in line


def test_a_space_that_there_is_not():
    with pytest.raises(ConfigError, match=r"--space widee: .*did you mean 'wide'"):
        space_for("widee", "bpr", "none")
