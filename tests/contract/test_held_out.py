"""Test labels have no effect; validation labels decide the best epoch and nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from safetensors.torch import load_file

from crossrec.alignment import CrossConfig
from crossrec.backbones import BACKBONES
from crossrec.data import DataConfig, Dataset, Interactions, load
from crossrec.runs.config import RunConfig
from crossrec.runs.execute import run
from crossrec.training import TrainingConfig

from .worlds import same

EPOCHS = 4
every = pytest.mark.parametrize("name", BACKBONES)


@pytest.fixture(scope="module")
def tiny() -> Dataset:
    return load(DataConfig(data="synthetic-tiny"))


def outcome(name, dataset, out):
    config = RunConfig(
        data=DataConfig(data="synthetic-tiny"),
        backbone=BACKBONES[name].config_type(dim=8, learning_rate=0.02),
        alignment=CrossConfig(prototypes_itv=8),
        training=TrainingConfig(epochs=EPOCHS, batch_size=128, patience=EPOCHS, device="cpu", checkpoint_seconds=100),
    )
    history: list[dict[str, float]] = []
    metrics = run(config, out, dataset=dataset, on_epoch=lambda progress: history.append(progress.history[-1]))
    return metrics, load_file(out / "model.safetensors"), [rows(row) for row in history]


def rows(row):
    return {key: value for key, value in row.items() if not key.endswith("_seconds")}


def swapped(split: Interactions, items: int) -> Interactions:
    """The same users, each with an item it has no interaction with."""
    return Interactions(split.user_N, (split.item_N + 7) % items)


@every
def test_test_labels_have_no_effect(name, tiny, tmp_path):
    metrics, weights, history = outcome(name, tiny, tmp_path / "as it is")
    permuted = Interactions(tiny.test.user_N, np.random.default_rng(0).permutation(tiny.test.item_N))
    for where, test in (("permuted", permuted), ("replaced", swapped(tiny.test, tiny.num_items))):
        again = outcome(name, replace(tiny, test=test), tmp_path / where)
        assert again[2] == history
        assert same(again[1], weights)
        assert (again[0]["best_epoch"], again[0]["epochs"]) == (metrics["best_epoch"], metrics["epochs"])
        assert again[0]["valid"] == metrics["valid"]
        assert again[0]["test"] != metrics["test"], "the change is too small to show anything"


@every
def test_validation_labels_choose_the_epoch_only(name, tiny, tmp_path):
    _, _, history = outcome(name, tiny, tmp_path / "as it is")
    other = replace(tiny, valid=swapped(tiny.valid, tiny.num_items))
    metrics, _, changed = outcome(name, other, tmp_path / "changed")

    def learnt(rows):
        return [{key: value for key, value in row.items() if not key.startswith("valid_")} for row in rows]

    assert learnt(changed) == learnt(history)
    assert changed != history
    values = [row["valid_recall@20"] for row in changed]
    assert metrics["best_epoch"] == 1 + int(np.argmax(values))
