"""What every experiment refuses before anything is trained."""

from __future__ import annotations

import pytest
from tests.experiments.made import TINY

from crossrec.errors import ConfigError
from crossrec.experiments.ablate import ABLATE
from crossrec.experiments.coldstart import COLDSTART
from crossrec.experiments.compare import COMPARE
from crossrec.experiments.directions import DIRECTIONS
from crossrec.experiments.popularity import POPULARITY
from crossrec.experiments.robustness import ROBUSTNESS
from crossrec.experiments.sensitivity import SENSITIVITY
from crossrec.experiments.strengths import STRENGTHS
from crossrec.experiments.visualize import VISUALIZE

EXPERIMENTS = (ABLATE, COLDSTART, COMPARE, DIRECTIONS, POPULARITY, ROBUSTNESS, SENSITIVITY, STRENGTHS, VISUALIZE)


@pytest.mark.parametrize("experiment", EXPERIMENTS, ids=lambda experiment: experiment.name)
def test_an_unknown_backbone(experiment):
    with pytest.raises(ConfigError, match="--backbones: unknown 'lightgnc'"):
        experiment.cells(experiment.options(backbones=("freedom", "lightgnc")), TINY)
