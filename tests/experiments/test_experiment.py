"""What every experiment refuses before anything is trained."""

from __future__ import annotations

import pytest
from tests.experiments.made import EXPERIMENTS, TINY

from crossrec.errors import ConfigError


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_unknown_backbone(name):
    experiment = EXPERIMENTS[name]
    with pytest.raises(ConfigError, match="--backbones: unknown 'lightgnc'"):
        experiment.cells(experiment.options(backbones=("freedom", "lightgnc")), TINY)
