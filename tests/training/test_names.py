"""What names a run: every setting that decides it, and no setting that is left open."""

from __future__ import annotations

from crossrec.alignment import CrossConfig
from crossrec.backbones.lightgcn import LightGCNConfig
from crossrec.runs.config import RunConfig


class LaterCross(CrossConfig):
    """CROSS as a version to come might have it."""

    later: float | None = None


class LaterLightGCN(LightGCNConfig):
    """The same of a backbone."""

    later: float | None = None


def test_a_setting_added_later_renames_no_run_unless_it_is_given():
    now = RunConfig(backbone=LightGCNConfig(), alignment=CrossConfig()).digest()
    assert RunConfig(backbone=LaterLightGCN(), alignment=LaterCross()).digest() == now
    assert RunConfig(backbone=LaterLightGCN(later=0.5), alignment=LaterCross()).digest() != now
    assert RunConfig(backbone=LaterLightGCN(), alignment=LaterCross(later=0.5)).digest() != now


def test_where_it_runs_and_how_often_it_saves_do_not_name_a_run():
    config = RunConfig()
    training = config.training.model_copy(update={"device": "cpu", "checkpoint_seconds": 1.0})
    assert config.model_copy(update={"training": training}).digest() == config.digest()


def test_no_alignment_is_another_run_than_alignment():
    assert RunConfig(alignment=None).digest() != RunConfig(alignment=CrossConfig()).digest()
