"""Pools that share a folder: a cell that another worker trains is waited for."""

from __future__ import annotations

import json

from tests.cli import tuning

from crossrec.data import DataConfig
from crossrec.data.io.lock import FILE, FolderLock
from crossrec.experiments.experiment import SharedSettings
from crossrec.experiments.runner import pool as module
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
