"""The digest of a run: every setting that determines the result, and no setting that is None."""

from __future__ import annotations

from crossrec.alignment import CrossConfig
from crossrec.backbones.lightgcn import LightGCNConfig
from crossrec.runs.config import RunConfig


class LaterCross(CrossConfig):
    """CROSS with a setting that a later version may add."""

    later: float | None = None


class LaterLightGCN(LightGCNConfig):
    """A backbone with a setting that a later version may add."""

    later: float | None = None


def test_a_new_setting_changes_the_digest_only_if_it_is_set():
    now = RunConfig(backbone=LightGCNConfig(), alignment=CrossConfig()).digest()
    assert RunConfig(backbone=LaterLightGCN(), alignment=LaterCross()).digest() == now
    assert RunConfig(backbone=LaterLightGCN(later=0.5), alignment=LaterCross()).digest() != now
    assert RunConfig(backbone=LaterLightGCN(), alignment=LaterCross(later=0.5)).digest() != now


def test_device_and_checkpoints_are_not_in_the_digest():
    config = RunConfig()
    training = config.training.model_copy(update={"device": "cpu", "checkpoint_seconds": 1.0})
    assert config.model_copy(update={"training": training}).digest() == config.digest()


def test_alignment_is_in_the_digest():
    assert RunConfig(alignment=None).digest() != RunConfig(alignment=CrossConfig()).digest()
