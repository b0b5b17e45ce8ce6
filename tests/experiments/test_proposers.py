"""A search that workers share through optuna's storage."""

from __future__ import annotations

from pathlib import Path

from crossrec.data.io.lock import FolderLock
from crossrec.experiments.search.proposers import OptunaProposer, open_storage
from crossrec.experiments.search.spaces import Range, Space


def test_a_trial_without_parameters_is_replaced(tmp_path):
    """A worker that died while it asked optuna leaves a trial without parameters, which does not count."""
    from optuna.distributions import FloatDistribution
    from optuna.trial import TrialState

    def journal():
        with open_storage(None, tmp_path) as storage:
            return storage  # a file stays good

    space = Space({"alpha": Range(0.1, 1), "beta": Range(0.1, 1)})
    proposer = OptunaProposer(journal(), "a", space, trials=2, seed=0, lock_folder=tmp_path / "lock")
    study = proposer._study
    study.ask({"alpha": FloatDistribution(0.1, 1)})
    lock = FolderLock(tmp_path / "lock")
    assert lock.acquire()
    assert (proposer.propose(), proposer.exhausted) == (None, False), "another worker is asking"
    lock.release()
    proposals = [proposer.propose(), proposer.propose(), proposer.propose()]
    assert [proposed and proposed[0] for proposed in proposals] == [1, 2, None]
    assert proposer.exhausted
    assert [trial.state for trial in study.get_trials()] == [TrialState.FAIL, TrialState.RUNNING, TrialState.RUNNING]

    # a second worker proposes the same two trials, and both workers may report their values
    other = OptunaProposer(journal(), "a", space, trials=2, seed=0, lock_folder=tmp_path / "lock")
    assert [other.propose(), other.propose(), other.propose()] == proposals
    proposer.report(1, 0.5)
    other.report(1, 0.5)
    other.report(2, None)
    assert [trial.value for trial in study.get_trials()] == [None, 0.5, None]
    assert Path(tmp_path / "study" / "journal.log").exists()
