"""Built-in search spaces and spaces in JSON files: valid values, precedence, and error lines."""

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
from crossrec.experiments.search.space_files import space_for
from crossrec.experiments.search.spaces import Choice, Range


@pytest.mark.parametrize("space", ["paper", "wide"])
@pytest.mark.parametrize("alignment", ALIGNMENTS)
@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_value_of_a_built_in_space_is_allowed(backbone, alignment, space):
    built_in = space_for(space, backbone, alignment)
    assert built_in.values
    points = list(islice(built_in.random(0), 5))
    assert points == list(islice(built_in.random(0), 5))
    points += [{n: v.ends()[k % len(v.ends())] for n, v in built_in.free.items()} for k in range(7)]
    for point in points:
        setting = built_in.settings(point)
        part = {"backbone_settings" if alignment == "none" else "alignment_settings": setting}
        config = SharedSettings().run_config(backbone, alignment, 0, **part)
        part_config = config.backbone if alignment == "none" else config.alignment
        assert {name: getattr(part_config, name) for name in setting} == setting


@pytest.mark.parametrize("backbone", BACKBONES)
def test_the_paper_space_has_the_grids_of_section_7_1(backbone):
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


def test_a_name_of_both_is_the_backbone_at_the_top_and_the_alignment_below_one(write_space):
    content = {"alignment": {"relation_knn": [4]}, "damrs": {"backbone": {"knn": [7]}}}
    assert space_for(write_space(content), "damrs", "none").values["knn"] == Choice((7,))
    assert space_for(write_space(content), "damrs", "damrs").values["relation_knn"] == Choice((4,))
    assert space_for(write_space(content), "bpr", "damrs").values["relation_knn"] == Choice((4,))
    below = content | {"bpr": {"damrs": {"preference_weight": [0.5]}}}
    assert set(space_for(write_space(below), "bpr", "damrs").values) == {"preference_weight"}
    with pytest.raises(ConfigError, match="'damrs' has 'relation_knn'"):
        space_for(write_space({"damrs": {"relation_knn": [4]}}), "bpr", "damrs")


@pytest.fixture
def write_space(tmp_path):
    def write(content):
        path = tmp_path / "space.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return str(path)

    return write


def test_a_file_of_spaces(write_space):
    path = write_space(
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


def test_the_file_of_the_guide(write_space):
    page = Path(__file__).parents[2] / "docs" / "tune.md"
    (block,) = re.findall(r"```json\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    path = write_space(block)
    assert space_for(path, "bpr", "none").values == {"reg": Range(1e-5, 1, log=True)}
    assert space_for(path, "lightgcn", "none").values == {"layers": Range(1, 4, whole=True)}
    assert space_for(path, "bpr", "cross").size == 6
    assert list(space_for(path, "lightgcn", "cross").values) == ["neighbors"]


def test_a_part_that_a_file_leaves_out_has_one_point(write_space):
    space = space_for(write_space({"alignment": {"alpha": [1]}}), "bpr", "none")
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


@pytest.mark.parametrize(("content", "parts"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_in_a_file_is_one_error_line(write_space, content, parts):
    path = write_space(content)
    with pytest.raises(ConfigError) as mistake:
        [space_for(path, "bpr", alignment) for alignment in ("none", "cross")]
    line = str(mistake.value)
    assert line.startswith(f"--space {path}")
    assert "\n" not in line
    for part in parts:
        assert part in line


def test_an_unknown_space_suggests_the_nearest_name():
    with pytest.raises(ConfigError, match=r"--space widee: .*did you mean 'wide'"):
        space_for("widee", "bpr", "none")
