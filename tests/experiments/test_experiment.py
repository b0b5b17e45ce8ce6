"""Every experiment: an unknown name is refused before anything is trained."""

from __future__ import annotations

import pytest
from tests.experiments.fake_runs import TINY

from crossrec.errors import ConfigError
from crossrec.experiments.registry import QUESTIONS


@pytest.mark.parametrize("name", QUESTIONS)
def test_an_unknown_backbone_is_refused(name):
    experiment = QUESTIONS[name].load()
    with pytest.raises(ConfigError, match="--backbones: unknown 'lightgnc'"):
        experiment.cells(experiment.config_type(backbones=("freedom", "lightgnc")), TINY)
