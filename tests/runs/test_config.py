"""The digest of a run: every setting that determines the result, and no setting that is None."""

from __future__ import annotations

import typing
from dataclasses import replace

from tests.cli.test_train import SPECIAL, other

from crossrec.alignment import ALIGNMENTS, CrossConfig
from crossrec.backbones import BACKBONES
from crossrec.backbones.lightgcn import LightGCNConfig
from crossrec.data import DataConfig, load
from crossrec.runs.config import METHOD_VERSION, RunConfig
from crossrec.training import TrainingConfig


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
    training = config.training.model_copy(update={"device": "cpu", "checkpoint_seconds": 1.0, "tracker": "wandb"})
    assert config.model_copy(update={"training": training}).digest() == config.digest()


def test_alignment_is_in_the_digest():
    assert RunConfig(alignment=None).digest() != RunConfig(alignment=CrossConfig()).digest()


NOT_IN_THE_DIGEST = {("training", name) for name in ("device", "checkpoint_seconds", "tracker")}
NEEDS = {name: {"alignment_epochs": 5} for name in ("fade", "restart_after", "restart_optimizer")}
"""Settings that another one needs."""


def settings():
    """(part, values with the name of its type, field) of every setting of data, training, backbones and alignments."""
    parts = {("data", None): DataConfig, ("training", None): TrainingConfig}
    parts |= {("backbone", name): kind.config_type for name, kind in BACKBONES.items()}
    parts |= {("alignment", name): kind for name, kind in ALIGNMENTS.items() if kind is not None}
    for (part, name), kind in parts.items():
        for field, info in kind.model_fields.items():
            if (part, field) not in NOT_IN_THE_DIGEST:
                yield part, {} if name is None else {"name": name}, field, info


def other_values(field, info):
    """Values other than the default; some may mean the same."""
    yield (SPECIAL[field] if field in SPECIAL else other(info.annotation, info.default))[1]
    for kind in (info.annotation, *typing.get_args(info.annotation)):
        yield from [True, False] if kind is bool else []
        yield from typing.get_args(kind) if typing.get_origin(kind) is typing.Literal else ()


def test_every_setting_is_in_the_digest():
    """Also the size of batches and the patience: a cell of other settings must never be taken for this one."""
    digests: dict[str, tuple[str, str]] = {}
    for part, values, field, info in settings():
        values = values | NEEDS.get(field, {})
        default = RunConfig.parse({part: values})
        changes = (RunConfig.parse({part: values | {field: value}}) for value in other_values(field, info))
        changed = next(config for config in changes if config != default)
        assert changed.digest() != default.digest(), (part, values, field)
        assert changed.digest() not in digests, (digests[changed.digest()], part, field)
        digests[changed.digest()] = (part, field)
    assert len(digests) > 150


def test_the_version_of_the_method_is_in_the_digest(monkeypatch):
    before = RunConfig().digest()
    monkeypatch.setattr("crossrec.runs.config.METHOD_VERSION", METHOD_VERSION + 1)
    assert RunConfig().digest() != before


def test_the_digest_of_a_configuration_stays_the_same():
    """Runs are found again by it. A new setting therefore has the default None."""
    assert RunConfig().digest().startswith("4f37bbbe6fab7e87")


def test_the_identity_is_that_of_configuration_and_data():
    config, dataset = RunConfig(), load(DataConfig(data="synthetic-tiny"))
    other_data = replace(dataset, test=dataset.valid)
    others = [RunConfig(alignment=None).identity(dataset), config.identity(other_data)]
    assert config.identity(dataset) not in others
    assert config.identity(dataset) == RunConfig().identity(load(DataConfig(data="synthetic-tiny")))


def test_what_tables_show_is_not_in_the_digest_but_what_runs_measure_is():
    digest = RunConfig().digest()
    shown = TrainingConfig(metrics=("map", "recall"), k=(20,), monitor="recall@20")
    assert RunConfig(training=shown).digest() == digest
    measured = {RunConfig(training=TrainingConfig(metrics=m)).digest() for m in (("hr",), ("mrr",), ("hr", "mrr"))}
    assert len(measured | {digest}) == 4
    assert RunConfig(training=TrainingConfig(metrics=("mrr", "hr"))).digest() in measured
