"""Workers that share a folder: a cell, or a search, that another one is at or left behind."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli import tuning

from crossrec.data import DataConfig
from crossrec.data.io import lock as lease
from crossrec.experiments.experiment import Base
from crossrec.experiments.runner import jobs as cells
from crossrec.experiments.search import study


def test_a_worker_that_slept_too_long_makes_way(tmp_path, monkeypatch):
    """Another one has taken over meanwhile: its own process is stopped, and the result of the other is the result."""
    monkeypatch.setattr(cells, "_train", lambda folder, threads: tuning.train(folder, threads, 60))
    monkeypatch.setattr(lease, "RENEWAL", 0.0)
    cell = cells.Cell(Base(DataConfig(data="synthetic-tiny")).config("bpr", "none", 0), ())
    folder, heard = tmp_path / cell.name, []
    with cells.Pool(tmp_path, cells.Datasets(), on_change=lambda cell, state: heard.append(state)) as pool:
        pool.add(cell)
        assert pool.step() == []
        assert not pool.room
        (folder / "worker-1.json").write_text(json.dumps({"host": "another", "processes": []}))
        assert pool.step() == []
        assert pool.room
        assert pool.busy
        identity = cell.config.identity(cells.Datasets()[cell.config.data])
        (folder / "metrics.json").write_text(json.dumps({"identity": identity, "valid": {}}))
        (result,) = pool.step()
    assert result.metrics == {"identity": identity, "valid": {}}
    assert heard == ["started", "epoch 0", "done"]
    assert not pool.busy


def test_an_unfinished_question_is_not_counted(tmp_path):
    """A worker that died while optuna was being asked leaves a trial without parameters: another one is asked for."""
    from optuna.distributions import FloatDistribution
    from optuna.trial import TrialState

    from crossrec.data.io.lock import FolderLock
    from crossrec.experiments.search.spaces import Range, Space

    def journal():
        with study.open_storage(None, tmp_path) as storage:
            return storage  # a file stays good

    space = Space({"alpha": Range(0.1, 1), "beta": Range(0.1, 1)})
    made = study.Study(journal(), "a", space, trials=2, seed=0, turns=tmp_path / "turns")
    inner = made._study
    inner.ask({"alpha": FloatDistribution(0.1, 1)})
    turn = FolderLock(tmp_path / "turns")
    assert turn.take()
    assert (made.propose(), made.exhausted) == (None, False), "another worker is asking"
    turn.release()
    asked = [made.propose(), made.propose(), made.propose()]
    assert [proposed and proposed[0] for proposed in asked] == [1, 2, None]
    assert made.exhausted
    assert [trial.state for trial in inner.get_trials()] == [TrialState.FAIL, TrialState.RUNNING, TrialState.RUNNING]

    # a second worker is told of the same two, and both may say what they came to
    other = study.Study(journal(), "a", space, trials=2, seed=0, turns=tmp_path / "turns")
    assert [other.propose(), other.propose(), other.propose()] == asked
    made.tell(1, 0.5)
    other.tell(1, 0.5)
    other.tell(2, None)
    assert [trial.value for trial in inner.get_trials()] == [None, 0.5, None]
    assert Path(tmp_path / "study" / "journal.log").exists()
