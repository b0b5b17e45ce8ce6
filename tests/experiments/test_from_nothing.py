"""A backbone that finds nothing at all: no change in percent is known, and no sentence and no figure pretends one."""

from __future__ import annotations

import pytest
from tests.experiments.made import answer_of, draw

from crossrec.experiments.questions.ablate import ABLATE, AblateConfig
from crossrec.experiments.questions.directions import DIRECTIONS, DirectionsConfig
from crossrec.experiments.questions.robustness import ROBUSTNESS, RobustnessConfig
from crossrec.experiments.questions.sensitivity import SENSITIVITY, SensitivityConfig

ASKED = {
    "ablate": (ABLATE, AblateConfig()),
    "directions": (DIRECTIONS, DirectionsConfig(backbones=("bpr", "vbpr"))),
    "robustness": (ROBUSTNESS, RobustnessConfig(clicks=())),
    "sensitivity": (SENSITIVITY, SensitivityConfig(parameters=("alpha",))),
}


@pytest.mark.parametrize("name", ASKED)
def test_nothing_to_compare_with(name):
    answer = answer_of(*ASKED[name], lambda cell: 0.0 if cell.config.alignment is None else 0.05)
    assert answer.findings
    assert "nan" not in " ".join(answer.findings)
    for figure in answer.figures.values():
        assert "nan" not in " ".join(text.get_text() for axes in draw(figure).axes for text in axes.texts)
