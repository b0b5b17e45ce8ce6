"""A backbone that finds nothing at all: no change in percent is known, and no sentence and no figure pretends one."""

from __future__ import annotations

import pytest
from tests.experiments.fake_runs import draw, result_from

from crossrec.experiments.questions.ablate import AblateConfig
from crossrec.experiments.questions.directions import DirectionsConfig
from crossrec.experiments.questions.robustness import RobustnessConfig
from crossrec.experiments.questions.sensitivity import SensitivityConfig

OPTIONS = {
    "ablate": AblateConfig(),
    "directions": DirectionsConfig(backbones=("bpr", "vbpr")),
    "robustness": RobustnessConfig(clicks=()),
    "sensitivity": SensitivityConfig(parameters=("alpha",)),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_a_baseline_of_zero_gives_no_percentage(name):
    result = result_from(name, OPTIONS[name], lambda cell: 0.0 if cell.config.alignment is None else 0.05)
    assert result.findings
    assert "nan" not in " ".join(result.findings)
    for figure in result.figures.values():
        assert "nan" not in " ".join(text.get_text() for axes in draw(figure).axes for text in axes.texts)
