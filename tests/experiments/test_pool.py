"""Pools that share a folder: a cell that another worker trains is waited for."""

from __future__ import annotations

import json
import re
import sys

import pytest
from tests.cli import tuning

from crossrec.data import DataConfig, load
from crossrec.data.io.lock import FILE, FolderLock
from crossrec.errors import DataError
from crossrec.experiments.experiment import SharedSettings
from crossrec.experiments.runner import jobs, pool as module
from crossrec.experiments.runner.jobs import Cell, Datasets
from crossrec.experiments.runner.pool import Pool

CELL = Cell(SharedSettings(DataConfig(data="synthetic-tiny")).run_config("bpr", "none", 0), ())


def metrics():
    return {"identity": CELL.config.identity(Datasets()[CELL.config.data]), "valid": {}}


def test_a_cell_that_another_worker_trains_is_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "train_command", tuning.train)
    other, states = FolderLock(tmp_path / CELL.name), []
    assert other.acquire()
    with Pool(tmp_path, Datasets(), on_change=lambda cell, state: states.append(state)) as pool:
        pool.add(CELL)
        assert pool.step() == []
        assert pool.has_room, "no process is started for it"
        assert pool.busy
        (other.folder / "metrics.json").write_text(json.dumps(metrics()))
        other.release()
        results = pool.step()
        while not results:
            results = pool.step()
    assert [result.metrics for result in results] == [metrics()]
    assert states == ["trained elsewhere", "done"]
    assert not pool.busy
    assert not (tmp_path / "starts.txt").exists()


def test_a_cell_that_trains_is_locked_and_a_stopped_pool_unlocks_it(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "train_command", lambda folder, threads: tuning.train(folder, threads, 60))
    other = FolderLock(tmp_path / CELL.name)
    with Pool(tmp_path, Datasets()) as pool:
        pool.add(CELL)
        assert pool.step() == []
        assert not pool.has_room
        assert not other.acquire()
    assert not (tmp_path / CELL.name / FILE).exists()
    assert other.acquire()


PROGRESS = "print('bpr epoch 3: loss 0.5', flush=True); import os, sys"


@pytest.mark.parametrize(
    ("script", "failure"),
    [
        (f"{PROGRESS}; os.kill(os.getpid(), 9)", "killed by SIGKILL, as the kernel does where memory runs out"),
        (f"{PROGRESS}; os.kill(os.getpid(), 11)", "killed by SIGSEGV"),
        (f"{PROGRESS}; os.kill(os.getpid(), 40)", "killed by signal 40"),
        (f"{PROGRESS}; sys.exit('crossrec: error: no space')", "no space"),
        (f"{PROGRESS}; sys.exit(3)", r"exit code 3; .*log.txt ends with: bpr epoch 3: loss 0.5"),
        ("import sys; sys.exit(2)", r"exit code 2; .*log.txt ends with: nothing"),
    ],
)
def test_a_failure_says_what_ended_the_process(tmp_path, monkeypatch, script, failure):
    monkeypatch.setattr(module, "train_command", lambda folder, threads: [sys.executable, "-S", "-E", "-c", script])
    with Pool(tmp_path, Datasets()) as pool:
        (result,) = pool.run([CELL])
    assert result.metrics is None
    assert re.fullmatch(f"failed: {failure}", result.failure), result.failure


def test_data_sets_beyond_the_last_few_are_read_again(monkeypatch):
    read = []
    monkeypatch.setattr(jobs, "load", lambda config: read.append(config.split_seed) or load(config))
    configs = [DataConfig(data="synthetic-tiny", split_seed=seed) for seed in range(jobs.DATASETS_IN_MEMORY + 1)]
    datasets = Datasets()
    first = [datasets[config].fingerprint() for config in configs for _ in range(2)][::2]
    assert read == [0, 1, 2, 3, 4], "once each, while it is in use"
    assert list(datasets) == configs
    assert [dataset.fingerprint() for dataset in datasets.values()] == first
    assert read[5:] == [0, 1, 2, 3, 4]
    with pytest.raises(DataError):
        datasets[DataConfig(data="nowhere")]
    assert len(datasets) == len(configs)
