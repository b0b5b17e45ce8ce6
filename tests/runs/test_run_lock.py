"""One process at a time trains into a run directory."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import warnings

import pytest

from crossrec.backbones.bpr import BPRConfig
from crossrec.cli import main
from crossrec.errors import RunError
from crossrec.runs.config import RunConfig
from crossrec.runs.execute import run
from crossrec.training import TrainingConfig

CONFIG = RunConfig(
    data={"data": "synthetic-tiny"},
    backbone=BPRConfig(dim=8),
    training=TrainingConfig(epochs=2, batch_size=256, device="cpu"),
)
TRAIN = """
import sys; from pathlib import Path
from crossrec.runs.config import load_config; from crossrec.runs.execute import run
def on_epoch(progress):
    print(progress.epoch, flush=True)
    input()
run(load_config(sys.argv[1]), Path(sys.argv[2]), on_epoch=on_epoch)
"""


@pytest.fixture
def trainer(tmp_path):
    """A process that trains into a folder and waits for a line after every epoch."""
    path = tmp_path / "config.json"
    path.write_text(json.dumps(CONFIG.model_dump(mode="json")))
    command = [sys.executable, "-c", TRAIN, str(path), str(tmp_path / "run")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "1\n"
        yield process
        process.kill()


@pytest.mark.parametrize("resume", [False, True])
def test_a_second_process_is_refused_and_the_first_undisturbed(trainer, tmp_path, capsys, resume):
    out = tmp_path / "run"
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in out.rglob("*") if path.is_file()}
    with pytest.raises(RunError) as refusal:
        run(CONFIG, out, resume=resume)
    line = str(refusal.value)
    assert line.startswith(f"{out} is in use: process {trainer.pid} on ")
    assert line.endswith("writes to it; wait until it ends, stop it, or give another --out")
    assert "\n" not in line
    flags = ["--config", str(tmp_path / "config.json"), "--out", str(out), *(["--resume"] if resume else [])]
    with warnings.catch_warnings():  # main() sets how warnings are shown
        assert main(["train", *flags]) == 2
    assert capsys.readouterr() == ("", f"crossrec: error: {line}\n")
    assert {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in out.rglob("*") if path.is_file()} == before
    trainer.communicate("\n\n")
    assert trainer.returncode == 0
    assert not (out / ".lock").exists()
    run(CONFIG, tmp_path / "alone")
    assert [path.name for path in sorted(out.iterdir())] == [
        path.name for path in sorted((tmp_path / "alone").iterdir())
    ]
    assert (out / "model.safetensors").read_bytes() == (tmp_path / "alone" / "model.safetensors").read_bytes()
    assert run(CONFIG, out, resume=True) == json.loads((out / "metrics.json").read_text())


def test_a_killed_process_is_succeeded_at_once(trainer, tmp_path):
    out = tmp_path / "run"
    trainer.send_signal(signal.SIGKILL)
    trainer.wait()
    assert (out / ".lock").exists()
    epochs = []
    run(CONFIG, out, resume=True, on_epoch=lambda progress: epochs.append(progress.epoch))
    assert epochs[-1] == 2
    assert not (out / ".lock").exists()


def test_of_two_that_begin_at_the_same_time_one_trains(tmp_path, monkeypatch):
    """The second one had looked at the folder before the first one began to write."""
    from crossrec.runs import execute

    first = []

    def construct(*arguments):
        if not first:
            first.append(True)
            first.append(run(CONFIG, tmp_path / "run"))
        return objective(*arguments)

    objective = execute.Objective
    monkeypatch.setattr(execute, "Objective", construct)
    with pytest.raises(RunError, match="holds a run already: pass --resume"):
        run(CONFIG, tmp_path / "run")
    assert json.loads((tmp_path / "run" / "metrics.json").read_text()) == first[1]
