"""The training loop: early stopping, the best epoch, errors."""

from __future__ import annotations

import gc
import math
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from crossrec.data import DataConfig, Interactions, load
from crossrec.devices import torch_device
from crossrec.errors import ConfigError, TrainingError
from crossrec.objective import Objective
from crossrec.runs.execute import held_out, run, training_set
from crossrec.training import TrainingConfig, fit, tie_note, validate

from .runs import CROSS, history, tiny


@pytest.fixture(scope="module")
def dataset():
    return load(DataConfig(data="synthetic-tiny"))


@pytest.fixture
def world(dataset):
    """An objective with its training set and validation pairs."""
    config, data = tiny(), training_set(dataset)
    return Objective(config.backbone, None, data, 0), data, held_out(dataset, dataset.valid)


def scripted(monkeypatch, values):
    """Let validation return these values, and record the weights it gets."""
    seen, script = [], iter(values)

    def validate_by_script(objective, held, *measured):
        seen.append({name: value.clone() for name, value in objective.state_dict().items()})
        return {"recall@20": next(script), "recall@10": float(len(seen))}

    monkeypatch.setattr("crossrec.training.validate", validate_by_script)
    return seen


SCRIPTS = {
    "a billionth is better": ([0.5, 0.5 + 1e-9, 0.5, 0.5, 0.5, 0.9], 3, 2, 5),
    "the same is not better": ([0.5, 0.5, 0.5, 0.9], 2, 1, 3),
    "patience of one": ([0.1, 0.2, 0.1, 0.9], 1, 2, 3),
    "patience starts anew": ([0.1, 0.0, 0.2, 0.0, 0.3, 0.0], 2, 5, 6),
    "zero at first": ([0.0, 0.0, 0.0], 2, 1, 3),
    "all epochs": ([0.1, 0.2, 0.3], 5, 3, 3),
}


@pytest.mark.parametrize(("values", "patience", "best", "last"), SCRIPTS.values(), ids=SCRIPTS)
def test_early_stopping(values, patience, best, last, world, monkeypatch):
    objective, data, valid = world
    seen = scripted(monkeypatch, values)
    config = TrainingConfig(epochs=len(values), patience=patience, patience_steps=0, device="cpu")
    progress = fit(objective, data, valid, config)
    assert (progress.best_epoch, progress.epoch, progress.best_value) == (best, last, values[best - 1])
    assert progress.finished
    assert [row["epoch"] for row in progress.history] == list(range(1, last + 1))
    assert [row["valid_recall@20"] for row in progress.history] == values[:last]
    weights = objective.state_dict()
    assert all(torch.equal(weights[name], seen[best - 1][name]) for name in weights)
    if best < last:
        assert any(not torch.equal(weights[name], seen[last - 1][name]) for name in weights)


TIES = {
    "at 1, the first with the best NDCG": ("recall@20", [1.0, 1.0, 1.0, 1.0], [0.5, 0.8, 0.8, 0.7], 2),
    "below 1 in short lists, the first": ("recall@20", [0.9, 0.9, 0.9, 0.9], [0.5, 0.8, 0.8, 0.7], 1),
    "in lists of more than half of the items": ("recall@30", [0.9, 0.9, 0.8, 0.9], [0.5, 0.6, 0.9, 0.7], 4),
    "a better value goes first": ("hr@30", [0.8, 0.9, 0.9, 0.9], [0.9, 0.4, 0.3, 0.2], 2),
}


@pytest.mark.parametrize(("monitor", "values", "ndcg", "best"), TIES.values(), ids=TIES)
def test_ties_of_a_small_catalogue_are_broken_by_ndcg(monitor, values, ndcg, best, world, monkeypatch):
    objective, data, valid = world  # 40 items
    script = iter(zip(values, ndcg, strict=True))
    measured = []

    def validate_by_script(objective, held, names, ks):
        measured.append((names, ks))
        value, gain = next(script)
        return {monitor: value, f"ndcg@{monitor.split('@')[1]}": gain}

    monkeypatch.setattr("crossrec.training.validate", validate_by_script)
    config = TrainingConfig(epochs=4, patience_steps=0, device="cpu", monitor=monitor)
    progress = fit(objective, data, valid, config)
    assert progress.best_epoch == best
    assert measured[0] == config.measured
    note = tie_note(progress, monitor)
    assert note.startswith("Validation recall@20 is 1 in 4 epochs, so NDCG@20 has chosen") == (values[0] == 1)
    assert bool(note) == (values[0] == 1)


def test_metrics_and_lengths_that_are_measured_and_shown():
    default = TrainingConfig()
    assert (default.selection, default.shown) == ("recall@20", ("recall@10", "recall@20", "ndcg@10", "ndcg@20"))
    assert default.measured == (("recall", "ndcg", "precision", "map"), (10, 20))
    config = TrainingConfig(metrics=("HR", "ndcg"), k=(5,), monitor="MRR@3")
    assert (config.selection, config.shown) == ("mrr@3", ("hr@5", "ndcg@5"))
    assert config.measured == (("recall", "ndcg", "precision", "map", "hr", "mrr"), (10, 20, 5, 3))
    assert config.model_dump(mode="json")["monitor"] == "mrr@3"
    assert TrainingConfig(monitor="Recall@20") == default
    for monitor in ("recall", "recall@0", "recall@x", "recal@20", "@20"):
        with pytest.raises(ConfigError, match="setting 'monitor'"):
            TrainingConfig.parse({"monitor": monitor})


@pytest.mark.parametrize(
    ("batch_size", "patience_steps", "last"), [(10_000, 3, 4), (10_000, 2, 3), (10_000, 0, 2), (100, 3, 2)]
)
def test_patience_is_at_least_patience_steps(batch_size, patience_steps, last, world, monkeypatch):
    # one step an epoch, a patience of one epoch: the best epoch is the first, and no later one is better
    objective, data, valid = world
    scripted(monkeypatch, [0.5] + [0.1] * 9)
    config = TrainingConfig(epochs=10, patience=1, patience_steps=patience_steps, batch_size=batch_size, device="cpu")
    assert fit(objective, data, valid, config).epoch == last


def test_the_saved_model_is_that_of_the_best_epoch(dataset, tmp_path):
    config = tiny("freedom", CROSS, epochs=6, patience=6, seed=3)
    metrics = run(config, tmp_path / "out", dataset=dataset)
    rows = history(tmp_path / "out")
    values = [float(row["valid_recall@20"]) for row in rows]
    assert metrics["best_epoch"] == 1 + int(np.argmax(values))
    objective = Objective(config.backbone, config.alignment, training_set(dataset), 99)
    objective.load_state_dict(load_file(tmp_path / "out" / "model.safetensors"))
    valid = validate(objective, held_out(dataset, dataset.valid))
    best = rows[metrics["best_epoch"] - 1]
    assert valid == metrics["valid"] == {name: float(best[f"valid_{name}"]) for name in valid}
    assert validate(objective, held_out(dataset, dataset.test)) == metrics["test"]


def test_history_has_the_mean_of_every_term(world, monkeypatch):
    objective, data, valid = world
    forward, steps = Objective.forward, []

    def recording(self, batch):
        terms, loss = forward(self, batch)
        steps.append({name: value.item() for name, value in terms.items()} | {"loss": loss.item()})
        return terms, loss

    monkeypatch.setattr(Objective, "forward", recording)
    progress = fit(objective, data, valid, TrainingConfig(epochs=1, batch_size=100, device="cpu"))
    assert len(steps) == math.ceil(len(data.user_T) / 100)
    (row,) = progress.history
    for name in steps[0]:
        assert row[name] == pytest.approx(np.mean([step[name] for step in steps]), rel=1e-12)
    assert list(row)[:3] == ["epoch", "train_seconds", "eval_seconds"]


def test_loss_is_the_weighted_sum_of_the_terms(dataset):
    data, config = training_set(dataset), tiny(alignment=CROSS.model_copy(update={"alpha": 2, "beta": 3, "gamma": 5}))
    objective = Objective(config.backbone, config.alignment, data, 0)
    progress = fit(objective, data, held_out(dataset, dataset.valid), config.training)
    weight = {"item": 2, "tuning": 2, "cluster_items": 3, "cluster_users": 3, "neighbor": 5}
    for row in progress.history:
        expected = sum(weight.get(name, 1) * row[name] for name in ("bpr", "reg", *weight))
        assert row["loss"] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("term", ["reg", "neighbor"])
def test_a_loss_that_is_not_finite_is_an_error(value, term, dataset, tmp_path, monkeypatch):
    forward, calls = Objective.forward, []

    def broken(self, batch):
        terms, loss = forward(self, batch)
        calls.append(batch)
        if len(calls) == 5:  # three steps an epoch
            terms[term] = terms[term] * 0 + value
            loss = loss + terms[term]
        return terms, loss

    monkeypatch.setattr(Objective, "forward", broken)
    with pytest.raises(TrainingError, match=f"epoch 2, batch 2: term '{term}' is {value}.*--learning-rate"):
        run(tiny(alignment=CROSS), tmp_path / "out", dataset=dataset)
    assert len(history(tmp_path / "out")) == 1
    assert not (tmp_path / "out" / "metrics.json").exists()
    assert not (tmp_path / "out" / "model.safetensors").exists()


def test_the_first_bad_term_is_named(world, monkeypatch):
    # a NaN spreads to every later step; the message must name the first
    objective, data, valid = world
    forward, calls = Objective.forward, []

    def broken(self, batch):
        calls.append(batch)
        terms, loss = forward(self, batch)
        return terms, loss * (float("nan") if len(calls) == 2 else 1)

    monkeypatch.setattr(Objective, "forward", broken)
    with pytest.raises(TrainingError, match="epoch 1, batch 2: term 'loss' is nan"):
        fit(objective, data, valid, TrainingConfig(epochs=3, batch_size=100, device="cpu"))


def test_without_validation_users_the_last_epoch_is_taken(dataset, tmp_path):
    nobody = Interactions(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))
    metrics = run(tiny(patience=1), tmp_path / "out", dataset=replace(dataset, valid=nobody))
    assert (metrics["best_epoch"], metrics["epochs"], metrics["valid"]) == (4, 4, {})
    assert set(metrics["test"]) >= {"recall@10", "recall@20", "ndcg@10", "ndcg@20"}
    assert not [name for name in history(tmp_path / "out")[0] if name.startswith("valid")]


def test_without_test_users_there_are_no_test_metrics(dataset, tmp_path):
    nobody = Interactions(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))
    metrics = run(tiny(), tmp_path / "out", dataset=replace(dataset, test=nobody))
    assert metrics["test"] == {}
    assert metrics["valid"]["recall@20"] > 0


def test_random_graphs_do_not_change_the_samples(dataset, monkeypatch):
    data, config = training_set(dataset), tiny()
    batches: list[list[torch.Tensor]] = []
    forward = Objective.forward

    def recording(self, batch):
        batches[-1].append(torch.stack([batch.user_B, batch.item_B, batch.negative_B]))
        return forward(self, batch)

    monkeypatch.setattr(Objective, "forward", recording)
    for draws in (0, 1000):
        batches.append([])
        objective = Objective(config.backbone, None, data, 0)
        objective.backbone.before_epoch = lambda epoch, generator, n=draws: torch.rand(n, generator=generator)
        fit(objective, data, held_out(dataset, dataset.valid), config.training)
    assert len(batches[0]) == 12
    assert all(torch.equal(left, right) for left, right in zip(*batches, strict=True))


def test_before_epoch_is_called_with_every_epoch_from_1(world):
    objective, data, valid = world
    calls = []
    objective.backbone.before_epoch = lambda epoch, generator: calls.append((epoch, objective.training))
    progress = fit(
        objective, data, valid, TrainingConfig(epochs=3, device="cpu"), observe=lambda: {"begun": float(len(calls))}
    )
    assert calls == [(1, True), (2, True), (3, True)]
    assert progress.observed == [{"epoch": epoch, "begun": epoch} for epoch in (1, 2, 3)]


@pytest.mark.parametrize("device", ["gpu9", "cuda:", "cuda:x", "CPU", "", "cpu "])
def test_unknown_devices_are_refused(device):
    with pytest.raises(ConfigError, match=r"'device'.*give cpu, cuda"):
        TrainingConfig.parse({"device": device})


def test_a_device_that_the_machine_lacks_is_an_error():
    with pytest.raises(ConfigError, match=r"--device cuda:99.*use cpu or auto"):
        torch_device("cuda:99")
    assert torch_device("cpu") == torch.device("cpu")
    assert torch_device(TrainingConfig().device).type == ("cuda" if torch.cuda.is_available() else "cpu")


def test_no_tensor_outlives_its_step(world, monkeypatch):
    """A small tensor that stays lies between large ones that go: the next step's would not fit there."""
    objective, data, valid = world
    live, forward = [], objective.forward

    def counted(batch):
        live.append(sum(issubclass(type(part), torch.Tensor) for part in gc.get_objects()))
        return forward(batch)

    monkeypatch.setattr(objective, "forward", counted)
    fit(objective, data, valid, TrainingConfig(epochs=1, batch_size=50, device="cpu"))
    assert len(live) > 6
    assert live[-1] == live[3]


@pytest.mark.parametrize(
    ("named", "headline"),
    [
        ({}, "recall@20"),
        ({"metrics": ("ndcg", "recall"), "k": (5,)}, "ndcg@5"),
        ({"metrics": ("ndcg", "recall"), "k": (5, 20)}, "ndcg@20"),
        ({"k": (5, 20)}, "recall@20"),
    ],
)
def test_the_headline_is_the_first_metric_named_at_the_same_k_if_there_is_one(named, headline):
    assert TrainingConfig(**named).headline("recall@20") == headline


def test_validation_at_one_length_of_lists(world):
    objective, _, valid = world
    assert set(validate(objective, valid, ("recall", "ndcg"), (5,))) == {"recall@5", "ndcg@5"}


def test_seconds_of_epochs_are_no_more_than_the_whole_takes(world):
    objective, data, valid = world
    started = time.perf_counter()
    history = fit(objective, data, valid, TrainingConfig(epochs=2, device="cpu")).history
    total = time.perf_counter() - started
    assert all(row[name] > 0 for row in history for name in ("train_seconds", "eval_seconds"))
    assert sum(row["train_seconds"] + row["eval_seconds"] for row in history) < total
