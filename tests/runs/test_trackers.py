"""Trackers: every epoch and the final metrics, sent nowhere unless asked."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import pytest

from crossrec.data import DataConfig
from crossrec.errors import ConfigError
from crossrec.runs.config import RunConfig, load_config
from crossrec.runs.execute import run
from crossrec.trackers import TRACKERS
from crossrec.training import TrainingConfig


def config(tracker):
    training = TrainingConfig(epochs=2, batch_size=512, device="cpu", tracker=tracker)
    return RunConfig(data=DataConfig(data="synthetic-tiny"), alignment=None, training=training)


@pytest.fixture
def calls(monkeypatch):
    """What the stand-ins of the three packages are received."""
    received = []

    def note(*words):
        return lambda *values, **options: received.append((*words, *values, *options.values()))

    writer = SimpleNamespace(add_scalar=note("scalar"), close=note("close"))
    board, mlflow, wandb = (ModuleType(name) for name in ("torch.utils.tensorboard", "mlflow", "wandb"))
    board.SummaryWriter = lambda folder: received.append(("open", folder)) or writer
    for name in ("start_run", "log_params", "log_metrics", "end_run"):
        setattr(mlflow, name, note(name))
    wandb_run = SimpleNamespace(log=note("log"), summary=SimpleNamespace(update=note("summary")), finish=note("finish"))
    wandb.init = lambda **options: received.append(("init", options["name"])) or wandb_run
    for module in (board, mlflow, wandb):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return received


def test_each_tracker_gets_every_epoch_and_the_end(calls, tmp_path):
    metrics = {name: run(config(name), tmp_path / name) for name in TRACKERS}
    assert len({str(values["test"]) for values in metrics.values()}) == 1
    recall = metrics["wandb"]["test"]["recall@20"]
    assert calls[0] == ("open", str(tmp_path / "tensorboard" / "tensorboard"))
    scalars = [call[1:] for call in calls if call[0] == "scalar"]
    assert ("test/recall@20", recall, 2) in scalars
    assert [step for name, _, step in scalars if name == "loss"] == [1, 2]
    assert ("start_run", "lightgcn") in calls
    (params,) = (call[1] for call in calls if call[0] == "log_params")
    assert (params["training.epochs"], params["backbone.name"]) == (2, "lightgcn")
    logged = [call[1:] for call in calls if call[0] == "log_metrics"]
    assert [step for _, step in logged] == [1, 2, 2]
    assert logged[-1][0]["test/recall_at_20"] == recall
    assert [step for _, step in (call[1:] for call in calls if call[0] == "log")] == [1, 2]
    assert calls[-2][1]["test/recall@20"] == recall
    assert [call[0] for call in calls].count("close") == 1
    assert calls[-1] == ("finish",)


def test_a_tracker_of_a_module_and_its_name_in_the_files(tmp_path, monkeypatch):
    module = ModuleType("my_trackers")
    module.Notes = type("Notes", (), {"rows": [], "__init__": lambda *_: None, "finish": lambda self, values: None})
    module.Notes.log = lambda self, values, step: self.rows.append((step, values["loss"]))
    monkeypatch.setitem(sys.modules, "my_trackers", module)
    for attribute in ("_parts", "_references"):
        monkeypatch.setattr(TRACKERS, attribute, dict(getattr(TRACKERS, attribute)))
    run(config("my_trackers:Notes"), tmp_path / "out")
    assert [step for step, _ in module.Notes.rows] == [1, 2]
    assert '"my_trackers:Notes"' in (tmp_path / "out" / "config.json").read_text()
    assert load_config(tmp_path / "out" / "config.json").digest() == config(None).digest()


def test_a_tracker_that_is_missing_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ConfigError, match="--tracker wandb: needs the package wandb; install it: pip install wandb"):
        run(config("wandb"), tmp_path / "out")
    with pytest.raises(ConfigError, match="unknown tracker 'wandbb'; did you mean 'wandb'"):
        TrainingConfig.parse({"tracker": "wandbb"})
