"""A search by optuna goes on from its storage."""

from __future__ import annotations

import os
import statistics
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from crossrec.data import DataConfig, load
from crossrec.errors import RunError
from crossrec.experiments.experiment import SharedSettings
from crossrec.experiments.search.proposers import OptunaProposer, open_storage
from crossrec.experiments.search.spaces import Range, Space
from crossrec.experiments.search.stages import Stage, TuneConfig
from crossrec.experiments.search.trials import _cells, _proposer
from crossrec.training import TrainingConfig


def test_a_trial_without_parameters_is_replaced(tmp_path):
    """A command that was killed while it asked optuna leaves a trial without parameters, which does not count."""
    from optuna.distributions import FloatDistribution
    from optuna.trial import TrialState

    def journal():
        with open_storage(None, tmp_path) as storage:
            return storage  # a file stays good

    space = Space({"alpha": Range(0.1, 1), "beta": Range(0.1, 1)})
    proposer = OptunaProposer(journal(), "a", space, trials=2, seed=0)
    study = proposer._study
    study.ask({"alpha": FloatDistribution(0.1, 1)})
    proposals = [proposer.propose(), proposer.propose(), proposer.propose()]
    assert [proposed and proposed[0] for proposed in proposals] == [1, 2, None]
    assert proposer.exhausted
    assert [trial.state for trial in study.get_trials()] == [TrialState.RUNNING] * 3

    # the command is started again and proposes the same two trials; a value may be reported twice
    other = OptunaProposer(journal(), "a", space, trials=2, seed=0)
    assert [other.propose(), other.propose(), other.propose()] == proposals
    proposer.report(1, 0.5)
    other.report(1, 0.5)
    other.report(2, None)
    assert [trial.value for trial in study.get_trials()] == [None, 0.5, None]
    assert Path(tmp_path / "study" / "journal.log").exists()


def points(tmp_path, seed, count):
    """The points of a search whose value is highest at 0.8."""
    from optuna.storages import InMemoryStorage

    space = Space({"x": Range(0, 1)})
    proposer = OptunaProposer(InMemoryStorage(), "a", space, trials=count, seed=seed)
    points = []
    while (proposal := proposer.propose()) is not None:
        points.append(proposal[1]["x"])
        proposer.report(proposal[0], -abs(points[-1] - 0.8))
    return points


def test_the_estimator_goes_to_the_highest_value(tmp_path):
    """After ten even draws; the other way it would go to 0."""
    distances = [abs(point - 0.8) for point in points(tmp_path, 1, 25)]
    assert statistics.median(distances[10:]) < 0.15 < statistics.median(distances[:10])


def test_points_follow_from_the_seed(tmp_path):
    first, again, other = (points(tmp_path, seed, 3) for seed in (1, 1, 2))
    assert first == again
    assert not set(first) & set(other)
    assert len(set(first)) == 3


def test_only_equal_searches_share_their_trials(tmp_path):
    """Not those of other data, spaces, settings, seeds or stages, whose values mean something else."""
    from optuna.storages import InMemoryStorage

    storage, dataset = InMemoryStorage(), load(DataConfig(data="synthetic-tiny"))
    reg = Space({"reg": Range(0.1, 1)})

    def studies(space=reg, alignment="none", seeds=(0,), search_seed=0, data=dataset, training=None, backbone=None):
        """How many studies there are after a worker has begun this search."""
        stage = Stage("bpr", alignment, space, "tpe", 3)
        shared = SharedSettings(training=training or TrainingConfig())
        options = TuneConfig(seeds=seeds, search_seed=search_seed)
        cells = partial(_cells, stage, shared, seeds, backbone or {})
        _proposer(stage, cells, options, data, storage)
        return len(storage.get_all_studies())

    assert [studies(), studies()] == [1, 1]
    others = [
        {"space": Space({"reg": Range(0.1, 2)})},
        {"data": replace(dataset, train=dataset.valid)},
        {"data": replace(dataset, test=dataset.valid)},
        {"seeds": (1,)},
        {"seeds": (0, 1)},
        {"search_seed": 1},
        {"training": TrainingConfig(batch_size=64)},
        {"alignment": "cross"},
        {"alignment": "cross", "backbone": {"reg": 0.5}},
    ]
    assert [studies(**change) for change in others] == list(range(2, len(others) + 2))
    assert studies() == len(others) + 1


def test_a_full_disk_under_the_journal_is_named(tmp_path, monkeypatch):
    from optuna.storages.journal import JournalFileBackend

    def full(*arguments):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(JournalFileBackend, "append_logs", full)
    space = Space({"alpha": Range(0.1, 1)})
    with (
        pytest.raises(
            RunError, match=r"study/journal.log: cannot be written: No space left on device; free some space"
        ),
        open_storage(None, tmp_path) as storage,
    ):
        OptunaProposer(storage, "a", space, trials=2, seed=0)


def test_only_hopeless_settings_are_stopped_early_and_stay_so(tmp_path):
    """At 10 and 30 epochs, by the best third of those that came so far; the first one has nobody to compare with."""
    space, stopped = Space({"x": Range(0, 1)}), {}
    curves = [[0.3] * 40, [0.2] * 40, [0.2] * 9, [0.3] * 29 + [0.4] * 11, [0.31] * 40, [0.1] * 40]
    for again in range(2):  # the second time the search is started anew
        with open_storage(None, tmp_path) as storage:
            proposer = OptunaProposer(storage, "a", space, trials=len(curves), seed=0, prune=True)
            for number, curve in enumerate(curves):
                assert proposer.propose()[0] == number
                epoch = proposer.stopped_after(number, [] if again else curve)
                assert proposer.stopped_after(number, curve) == epoch
                stopped[number, again] = epoch
                if epoch is None:
                    proposer.report(number, curve[-1])
        assert [stopped[number, again] for number in range(6)] == [None, 10, None, None, 30, 10]
    with open_storage(None, tmp_path) as storage:
        proposer = OptunaProposer(storage, "b", space, trials=2, seed=0)
        for curve in curves[:2]:
            assert proposer.stopped_after(proposer.propose()[0], curve) is None, "only where it is asked for"
