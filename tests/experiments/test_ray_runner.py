"""Cells as tasks of a stand-in for Ray: what a task sends, and what becomes of it. tests/cluster has the rest."""

from __future__ import annotations

import csv
import sys
from types import SimpleNamespace

import pytest

from crossrec.cluster import ClusterConfig
from crossrec.data import DataConfig, load
from crossrec.errors import ConfigError
from crossrec.experiments.experiment import SharedSettings
from crossrec.experiments.runner import ray as module
from crossrec.experiments.runner.jobs import Cell
from crossrec.experiments.runner.ray import RayTraining, Update, train_cell
from crossrec.runs.directory import finished_metrics
from crossrec.runs.execute import run
from crossrec.training import TrainingConfig

TRAINING = TrainingConfig(epochs=6, device="cpu", checkpoint_seconds=0)
SHARED = SharedSettings(DataConfig(data="synthetic-tiny"), TRAINING)
CELL = Cell(SHARED.run_config("bpr", "none", 0), ())
DATASET = load(CELL.config.data)


class LostError(Exception):
    """As ``RayError``: the worker has died."""


class FailedError(LostError):
    """As ``RayTaskError``: an exception in the task."""

    cause = ValueError("no such thing\nat all")


@pytest.fixture(autouse=True)
def stand_in(monkeypatch):
    """Ray whose tasks are generators of this process; an item that is an exception is raised."""

    def get(item):
        if isinstance(item, Exception):
            raise item
        return item

    ray = SimpleNamespace(wait=lambda tasks, timeout: (tasks, []), get=get)
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setitem(sys.modules, "ray.exceptions", SimpleNamespace(RayError=LostError, RayTaskError=FailedError))
    monkeypatch.setattr(module, "SEND_SECONDS", 0)
    monkeypatch.setattr(module, "keep_freed_memory", lambda: None)


def task(files, cell=CELL):
    return train_cell(cell.config.model_dump(mode="json"), files, DATASET, 1)


def epochs(content):
    return [row["epoch"] for row in csv.DictReader(content.decode().splitlines())]


def test_a_task_sends_what_is_new_in_the_order_of_writing(tmp_path):
    updates = list(task({}))
    assert {"config.json", "users.parquet", "items.parquet"} < set(updates[0].files)
    assert [epochs(update.files["history.csv"])[-1] for update in updates[:6]] == list("123456")
    assert not [update for update in updates[1:6] if "users.parquet" in update.files]
    for update in updates[:6]:
        names = list(update.files)
        (tensors,) = [name for name in names if name.startswith("checkpoint/tensors-")]
        assert names.index(tensors) < names.index("checkpoint/checkpoint.json")
    assert list(updates[-1].files)[-1] == "manifest.json"
    assert not [name for name in updates[-1].names if name.startswith("checkpoint")]


def test_a_cell_goes_on_from_its_last_checkpoint_where_a_worker_dies(tmp_path):
    """Twice, after two epochs each; it ends as a run here."""
    ours, theirs, sent = tmp_path / "ours", tmp_path / "theirs", []

    def submit():
        files = module._content(theirs)
        sent.append(epochs(files["history.csv"])[-1] if files else None)
        updates = task(files)
        return iter([next(updates), next(updates), LostError("gone"), updates.close()]) if len(sent) < 3 else updates

    training = RayTraining(CELL, theirs, submit)
    assert training.poll()
    assert training.succeeded
    assert sent == [None, "2", "4"]
    run(CELL.config, ours, dataset=DATASET)
    identity = CELL.config.identity(DATASET)
    left, right = (finished_metrics(folder, identity, resume=True) for folder in (ours, theirs))
    assert (left["valid"], left["test"], left["epochs"]) == (right["valid"], right["test"], right["epochs"])
    for name in ("model.safetensors", "vectors.safetensors", "config.json", "users.parquet"):
        assert (ours / name).read_bytes() == (theirs / name).read_bytes()
    assert {path.name for path in ours.iterdir()} == {path.name for path in theirs.iterdir()}


def test_a_worker_that_always_dies_ends_the_cell(tmp_path):
    starts = []

    def submit():
        starts.append(1)
        return iter([LostError("The worker died.\nA long story.")])

    training = RayTraining(CELL, tmp_path, submit)
    assert training.poll()
    assert len(starts) == module.MAX_LOSSES + 1
    assert not training.succeeded
    assert training.failure() == "its worker died 4 times without a new checkpoint: LostError: The worker died."


def test_a_mistake_is_the_failure_of_its_cell(tmp_path):
    config = CELL.config.model_copy(update={"training": TRAINING.model_copy(update={"weighting": "loss"})})
    training = RayTraining(CELL, tmp_path, lambda: task({}, Cell(config, ())))
    assert training.poll()
    assert not training.succeeded
    assert training.failure() == "--weighting: the interactions have no weights; read them with --weighted"


def test_an_exception_in_a_task_is_kept_in_the_log(tmp_path):
    training = RayTraining(CELL, tmp_path, lambda: iter([FailedError("Traceback: …")]))
    assert training.poll()
    assert training.failure() == f"ValueError: no such thing; see {tmp_path / 'log.txt'}"
    assert (tmp_path / "log.txt").read_text() == "Traceback: …"


def test_files_that_the_task_has_deleted_are_deleted(tmp_path):
    files = {"history.csv": b"1", "checkpoint/tensors-1.safetensors": b"1", "checkpoint/checkpoint.json": b"1"}
    later = {"history.csv": b"2", "checkpoint/tensors-2.safetensors": b"2", "checkpoint/checkpoint.json": b"2"}
    (tmp_path / "log.txt").write_text("of the user")
    training = RayTraining(CELL, tmp_path, lambda: iter([Update(files, tuple(files)), Update(later, tuple(later))]))
    assert training.poll()
    assert module._content(tmp_path) == {**later, "log.txt": b"of the user"}
    training = RayTraining(CELL, tmp_path, lambda: iter([Update({}, ("history.csv",))]))
    assert training.poll()
    assert module._content(tmp_path) == {"history.csv": b"2", "log.txt": b"of the user"}


def test_settings_of_a_cluster_need_one():
    assert ClusterConfig().checked() is None
    assert ClusterConfig(cluster="auto", cpus_per_run=2).checked() is not None
    for values, flag in (({"cpus_per_run": 2}, "--cpus-per-run"), ({"gpus_per_run": 0.5}, "--gpus-per-run")):
        with pytest.raises(ConfigError, match=f"{flag} is of a cluster; give --cluster auto"):
            ClusterConfig(**values).checked()
    with pytest.raises(ConfigError, match="--jobs: on a cluster"):
        ClusterConfig(cluster="auto").checked(has_jobs=True)


def test_the_room_of_a_cluster_counts_whole_tasks_of_each_node(monkeypatch):
    nodes = [
        {"Alive": True, "Resources": {"CPU": 5.0, "GPU": 1.0}},
        {"Alive": True, "Resources": {"CPU": 3.0}},
        {"Alive": False, "Resources": {"CPU": 64.0, "GPU": 8.0}},
    ]
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(nodes=lambda: nodes))
    assert ClusterConfig(cluster="auto").room() == 8
    assert ClusterConfig(cluster="auto", cpus_per_run=2).room() == 3
    assert ClusterConfig(cluster="auto", gpus_per_run=0.5).room() == 2
    assert ClusterConfig(cluster="auto", cpus_per_run=3, gpus_per_run=0.25).room() == 1
    assert ClusterConfig(cluster="auto", cpus_per_run=6).room() == 0


def test_connecting_where_it_cannot_be(monkeypatch):
    def init(address, **options):
        raise ConnectionError("Could not find any running Ray instance at it.\nMore.")

    ray = SimpleNamespace(is_initialized=lambda: False, init=init)
    monkeypatch.setitem(sys.modules, "ray", ray)
    with pytest.raises(
        ConfigError, match=r"--cluster 10.0.0.9:6379: Could not find any .* at it\.; give auto, or HOST"
    ):
        ClusterConfig(cluster="10.0.0.9:6379").connect().__enter__()
    with pytest.raises(ConfigError, match="run crossrec on a node of the cluster"):
        ClusterConfig(cluster="ray://10.0.0.9:10001").connect().__enter__()
    ray = SimpleNamespace(is_initialized=lambda: True, nodes=lambda: [{"Alive": True, "Resources": {"CPU": 2.0}}])
    monkeypatch.setitem(sys.modules, "ray", ray)
    with pytest.raises(ConfigError, match="--cpus-per-run 3: no node of the cluster has 3 processors for a task"):
        ClusterConfig(cluster="auto", cpus_per_run=3).connect().__enter__()
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"--cluster needs ray: pip install 'crossrec\[cluster\]'"):
        ClusterConfig(cluster="auto").connect().__enter__()
