"""A search that workers share through optuna's storage."""

from __future__ import annotations

from pathlib import Path

from crossrec.data.io.lock import FolderLock
from crossrec.experiments.search import study
from crossrec.experiments.search.spaces import Range, Space


def test_an_unfinished_question_is_not_counted(tmp_path):
    """A worker that died while optuna was being asked leaves a trial without parameters: another one is asked for."""
    from optuna.distributions import FloatDistribution
    from optuna.trial import TrialState

    def journal():
        with study.open_storage(None, tmp_path) as storage:
            return storage  # a file stays good

    space = Space({"alpha": Range(0.1, 1), "beta": Range(0.1, 1)})
    made = study.Study(journal(), "a", space, trials=2, seed=0, turns=tmp_path / "turns")
    inner = made._study
    inner.ask({"alpha": FloatDistribution(0.1, 1)})
    turn = FolderLock(tmp_path / "turns")
    assert turn.acquire()
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
