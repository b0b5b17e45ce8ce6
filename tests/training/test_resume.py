"""A resumed run ends bit-equal to one that was never stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import torch

from crossrec.backbones import BACKBONES
from crossrec.checkpoint import MANIFEST, load_checkpoint, save_checkpoint
from crossrec.data import DataConfig, Interactions, load
from crossrec.data.io.atomic import read_json, write_json_atomic
from crossrec.errors import RunError
from crossrec.objective import Objective
from crossrec.runs.config import RunConfig
from crossrec.runs.directory import open_embeddings
from crossrec.runs.execute import run

from .runs import CROSS, outcome, tiny

STEPS = 3
"""Steps of an epoch of ``tiny``."""


@pytest.fixture(scope="module")
def dataset():
    return load(DataConfig(data="synthetic-tiny"))


def stop_after(epoch):
    def on_epoch(progress):
        if progress.epoch == epoch:
            raise KeyboardInterrupt

    return on_epoch


def epochs_of(config, out, **arguments):
    """Run, or resume, and return the epochs that were trained."""
    trained = []
    run(config, out, on_epoch=lambda progress: trained.append(progress.epoch), **arguments)
    return trained


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("alignment", [None, CROSS], ids=["none", "cross"])
def test_stopped_between_epochs(name, alignment, dataset, tmp_path):
    config = tiny(name, alignment)
    assert epochs_of(config, tmp_path / "whole", dataset=dataset) == [1, 2, 3, 4]
    for epoch in (1, 3):
        with pytest.raises(KeyboardInterrupt):
            run(config, tmp_path / "stopped", dataset=dataset, on_epoch=stop_after(epoch), resume=True)
    torch.manual_seed(123)  # must not matter
    assert epochs_of(config, tmp_path / "stopped", dataset=dataset, resume=True) == [4], "it started anew"
    assert outcome(tmp_path / "stopped") == outcome(tmp_path / "whole")


RENEWED = [
    ("ncl", {"warm_up": 1, "clusters": 4, "proto": 0.01}),
    ("sgl", {"augmentation": "node_drop"}),
    ("sgl", {"augmentation": "random_walk"}),
    ("slmrec", {"task": "fd"}),
    ("slmrec", {"task": "fm"}),
    ("lattice", {"decay_epochs": 1, "learning_rate_decay": 0.5}),
]


@pytest.mark.parametrize(("name", "settings"), RENEWED)
def test_state_renewed_every_epoch_is_the_same_after_a_stop(name, settings, dataset, tmp_path):
    config = tiny(name)
    config = config.model_copy(update={"backbone": config.backbone.model_copy(update=settings)})
    run(config, tmp_path / "whole", dataset=dataset)
    for epoch in (1, 2, 3):
        with pytest.raises(KeyboardInterrupt):
            run(config, tmp_path / "stopped", dataset=dataset, on_epoch=stop_after(epoch), resume=True)
    assert epochs_of(config, tmp_path / "stopped", dataset=dataset, resume=True) == [4]
    assert outcome(tmp_path / "stopped") == outcome(tmp_path / "whole")


@pytest.mark.parametrize("step", [1, STEPS + 2, 4 * STEPS])
def test_stopped_within_an_epoch(step, dataset, tmp_path, monkeypatch):
    config = tiny("freedom", CROSS)
    run(config, tmp_path / "whole", dataset=dataset)
    forward, calls = Objective.forward, []

    def interrupted(self, batch):
        calls.append(batch)
        if len(calls) == step:
            raise KeyboardInterrupt
        return forward(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(Objective, "forward", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(config, tmp_path / "stopped", dataset=dataset)
    done = (step - 1) // STEPS
    assert epochs_of(config, tmp_path / "stopped", dataset=dataset, resume=True) == list(range(done + 1, 5))
    assert outcome(tmp_path / "stopped") == outcome(tmp_path / "whole")


def test_stopped_where_no_checkpoint_was_due(dataset, tmp_path):
    config = tiny("lightgcn", CROSS, checkpoint_seconds=1e6)
    run(config, tmp_path / "whole", dataset=dataset)
    with pytest.raises(KeyboardInterrupt):
        run(config, tmp_path / "stopped", dataset=dataset, on_epoch=stop_after(3))
    assert epochs_of(config, tmp_path / "stopped", dataset=dataset, resume=True) == [1, 2, 3, 4]
    assert outcome(tmp_path / "stopped") == outcome(tmp_path / "whole")


def test_the_frequency_of_checkpoints_does_not_change_the_result(dataset, tmp_path):
    run(tiny(alignment=CROSS, checkpoint_seconds=0), tmp_path / "often", dataset=dataset)
    run(tiny(alignment=CROSS, checkpoint_seconds=1e6), tmp_path / "never", dataset=dataset)
    assert outcome(tmp_path / "often") == outcome(tmp_path / "never")


@pytest.mark.parametrize("name", ["model.safetensors", "vectors.safetensors", "metrics.json", "manifest.json"])
def test_stopped_after_training_before_the_manifest(name, dataset, tmp_path, monkeypatch):
    config = tiny()
    run(config, tmp_path / "whole", dataset=dataset)

    replace = os.replace

    def no_space(source, target):
        if target.name == name:
            raise OSError(28, "No space left on device")
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr("crossrec.data.io.atomic.os.replace", no_space)
        with pytest.raises(RunError, match=rf"{name}.*No space left"):
            run(config, tmp_path / "stopped", dataset=dataset)
    assert not (tmp_path / "stopped" / "manifest.json").exists()
    with pytest.raises(RunError, match="the run is not done; go on with"):
        open_embeddings(tmp_path / "stopped")
    assert epochs_of(config, tmp_path / "stopped", dataset=dataset, resume=True) == []
    assert outcome(tmp_path / "stopped") == outcome(tmp_path / "whole")


def test_stopped_after_the_manifest(dataset, tmp_path, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    run(tiny(), tmp_path / "whole", dataset=dataset)
    with monkeypatch.context() as patch:
        patch.setattr("crossrec.runs.execute.shutil.rmtree", interrupt)
        with pytest.raises(KeyboardInterrupt):
            run(tiny(), tmp_path / "stopped", dataset=dataset)
    assert epochs_of(tiny(), tmp_path / "stopped", dataset=dataset, resume=True) == []
    assert outcome(tmp_path / "stopped") == outcome(tmp_path / "whole")


def test_early_stopping_is_remembered(dataset, tmp_path, monkeypatch):
    # patience counted anew after resuming would train on for longer
    values = iter([0.5, 0.4, 0.4, 0.4, 0.9])
    monkeypatch.setattr("crossrec.training.validate", lambda *_: {"recall@20": next(values)})
    config = tiny(epochs=5, patience=3, patience_steps=0)
    with pytest.raises(KeyboardInterrupt):
        run(config, tmp_path / "out", dataset=dataset, on_epoch=stop_after(2))
    assert epochs_of(config, tmp_path / "out", dataset=dataset, resume=True) == [3, 4]
    assert read_json(tmp_path / "out" / "metrics.json")["best_epoch"] == 1


@pytest.mark.slow
@pytest.mark.parametrize(("rows", "checkpoint_seconds"), [(3, 0), (9, 0.05)])
def test_killed_at_any_moment(rows, checkpoint_seconds, tmp_path):
    config = tiny("freedom", CROSS, epochs=40, patience=40, checkpoint_seconds=checkpoint_seconds)
    write_json_atomic(tmp_path / "config.json", config.model_dump(mode="json"))
    command = [sys.executable, "-m", "crossrec", "train", "--config", str(tmp_path / "config.json")]
    command += ["--threads", "1", "--resume", "--out"]
    process = subprocess.Popen(
        [*command, str(tmp_path / "killed")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    log = tmp_path / "killed" / "history.csv"
    deadline = time.monotonic() + 120
    while (not log.exists() or log.read_bytes().count(b"\n") <= rows) and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    time.sleep(int.from_bytes(os.urandom(1), "big") / 255 * 0.03)
    process.send_signal(signal.SIGKILL)
    process.wait()
    subprocess.run(
        [*command, str(tmp_path / "killed")], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        run(config, tmp_path / "whole")
    finally:
        torch.set_num_threads(threads)
    killed, expected = outcome(tmp_path / "killed"), outcome(tmp_path / "whole")
    killed["files"] = [name for name in killed["files"] if not name.endswith((".tmp", ".part"))]
    assert killed == expected


@pytest.fixture
def stopped(dataset, tmp_path):
    """A run that was stopped after its second epoch."""
    with pytest.raises(KeyboardInterrupt):
        run(tiny(), tmp_path / "out", dataset=dataset, on_epoch=stop_after(2))
    return tmp_path / "out"


def tensors_file(out):
    (file,) = (out / "checkpoint").glob("tensors-*.safetensors")
    return file


def flip(out):
    content = bytearray(tensors_file(out).read_bytes())
    content[-5] ^= 1
    tensors_file(out).write_bytes(content)


DAMAGE = {
    "one bit": (flip, "tensors-"),
    "cut short": (lambda out: tensors_file(out).write_bytes(tensors_file(out).read_bytes()[:-9]), "tensors-"),
    "lost": (lambda out: tensors_file(out).unlink(), "tensors-"),
    "manifest is no JSON": (lambda out: (out / "checkpoint" / MANIFEST).write_text("{"), MANIFEST),
    "manifest is another": (lambda out: (out / "checkpoint" / MANIFEST).write_text("[]"), MANIFEST),
    "config is no JSON": (lambda out: (out / "config.json").write_text('{"data": '), "config.json"),
    "config is another": (lambda out: (out / "config.json").write_text("[3]"), "config.json"),
}


@pytest.mark.parametrize(("damage", "named"), DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_run_is_an_error_and_not_overwritten(damage, named, stopped, dataset):
    damage(stopped)
    before = {path: path.read_bytes() for path in stopped.rglob("*") if path.is_file()}
    with pytest.raises(RunError, match=named.replace(".", r"\.")):
        run(tiny(), stopped, dataset=dataset, resume=True)
    assert {path: path.read_bytes() for path in stopped.rglob("*") if path.is_file()} == before


OTHERS = {
    "seed": tiny(seed=1),
    "epochs": tiny(epochs=9),
    "backbone": tiny("bpr"),
    "alignment": tiny(alignment=CROSS),
    "data setting": RunConfig(**tiny().model_dump() | {"data": DataConfig(data="synthetic-tiny", split_seed=3)}),
}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
def test_another_configuration_is_refused(other, stopped, dataset):
    before = {path: path.read_bytes() for path in stopped.rglob("*") if path.is_file()}
    with pytest.raises(RunError, match=r"config\.json is of another configuration.*--out"):
        run(other, stopped, dataset=dataset, resume=True)
    with pytest.raises(RunError, match="--resume"):
        run(tiny(), stopped, dataset=dataset)
    assert {path: path.read_bytes() for path in stopped.rglob("*") if path.is_file()} == before


def test_other_data_with_the_same_name_are_refused(stopped, dataset):
    turned = Interactions(dataset.train.user_N, dataset.train.item_N[::-1].copy())
    with pytest.raises(RunError, match=r"another configuration, data set"):
        run(tiny(), stopped, dataset=replace(dataset, train=turned), resume=True)


def test_a_checkpoint_of_another_run_is_refused(stopped, dataset):
    tensors, manifest = load_checkpoint(stopped / "checkpoint")
    save_checkpoint(stopped / "checkpoint", tensors, manifest | {"identity": "another"})
    with pytest.raises(RunError, match=r"checkpoint of another configuration"):
        run(tiny(), stopped, dataset=dataset, resume=True)


@pytest.mark.parametrize("setting", [{"device": "auto"}, {"checkpoint_seconds": 1e6}])
def test_device_and_checkpoint_settings_may_change(setting, stopped, dataset, tmp_path):
    if torch.cuda.is_available():
        setting = {"checkpoint_seconds": 5.0}
    assert epochs_of(tiny(**setting), stopped, dataset=dataset, resume=True) == [3, 4]
    run(tiny(), tmp_path / "whole", dataset=dataset)
    assert outcome(stopped) == outcome(tmp_path / "whole")


def test_a_finished_run_is_not_changed(dataset, tmp_path):
    metrics = run(tiny(), tmp_path / "out", dataset=dataset)
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in (tmp_path / "out").iterdir()}
    trained = []
    again = run(tiny(), tmp_path / "out", dataset=dataset, resume=True, on_epoch=trained.append)
    assert again == metrics
    assert trained == []
    assert {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in (tmp_path / "out").iterdir()} == before
