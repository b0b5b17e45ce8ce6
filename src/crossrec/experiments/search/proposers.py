"""Proposers: what a search tries next, from a list of points or from optuna."""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crossrec.data.io.system_errors import writing
from crossrec.errors import ConfigError
from crossrec.experiments.search.spaces import Choice, Point, Range, Space
from crossrec.randomness import numpy_generator

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution
    from optuna.storages import BaseStorage
    from optuna.trial import Trial

RUNGS, REDUCTION = (10, 30, 90, 270, 810), 3
"""Successive halving: after these epochs the best third of the settings that came so far goes on."""
STUDY_FOLDER = "study"
"""Folder below --out for the journal of the studies."""


class ListProposer:
    """Proposes listed points."""

    def __init__(self, points: Iterable[Point]) -> None:
        self._points = deque(enumerate(points))

    @property
    def exhausted(self) -> bool:
        """Whether no further point will be proposed."""
        return not self._points

    def propose(self) -> tuple[int, Point] | None:
        """The next number and point; None if there is none."""
        return self._points.popleft() if self._points else None

    def report(self, number: int, value: float | None) -> None:
        """Take the value of a point into account; None means that it failed."""

    def stopped_after(self, number: int, values: Sequence[float]) -> int | None:
        """The epoch after which a point with these best values after each epoch is stopped early; None: it goes on."""


class OptunaProposer:
    """Proposes ``trials`` points by optuna's tree-structured Parzen estimator (Bergstra et al. 2011).

    The trials of the study in ``storage`` come first, also those of a search that was stopped. A new point depends on
    ``seed``, on its number and on the values reported so far. ``prune``: stop hopeless ones by asynchronous successive
    halving (Li et al. 2020).
    """

    def __init__(
        self, storage: BaseStorage, name: str, space: Space, *, trials: int, seed: int, prune: bool = False
    ) -> None:
        import optuna

        pruner = optuna.pruners.SuccessiveHalvingPruner(min_resource=RUNGS[0], reduction_factor=REDUCTION)
        self._study: Study = optuna.create_study(
            storage=storage,
            study_name=name,
            direction="maximize",
            load_if_exists=True,
            pruner=pruner if prune else optuna.pruners.NopPruner(),
        )
        self._prune = prune
        self._distributions = {name: _distribution(values) for name, values in space.free.items()}
        self._trials, self._seed = trials, seed
        self._proposed: set[int] = set()
        self.exhausted = False

    def propose(self) -> tuple[int, Point] | None:
        size = len(self._distributions)  # of a trial that was not cut off by a kill
        trials = [trial for trial in self._study.get_trials(deepcopy=False) if len(trial.params) == size]
        following = [trial for trial in trials if trial.number not in self._proposed]
        self.exhausted = not following and len(trials) >= self._trials
        if self.exhausted:
            return None
        trial = following[0] if following else self._ask()
        self._proposed.add(trial.number)
        return trial.number, dict(trial.params)

    def report(self, number: int, value: float | None) -> None:
        from optuna.trial import TrialState

        state = TrialState.FAIL if value is None else TrialState.COMPLETE
        self._study.tell(number, value, state=state, skip_if_finished=True)

    def stopped_after(self, number: int, values: Sequence[float]) -> int | None:
        from optuna.trial import Trial, TrialState

        if not self._prune:
            return None
        stored = self._study.get_trials(deepcopy=False)[number]
        if stored.state == TrialState.PRUNED:  # before the search was stopped and started again
            return max(stored.intermediate_values)
        trial = Trial(self._study, stored._trial_id)
        for epoch in RUNGS:
            if epoch <= len(values) and epoch not in stored.intermediate_values:
                trial.report(values[epoch - 1], epoch)
                if trial.should_prune():
                    self._study.tell(number, state=TrialState.PRUNED)
                    return epoch
        return None

    def _ask(self) -> Trial:
        """Ask optuna for a new trial."""
        from optuna.samplers import TPESampler

        number = len(self._study.get_trials(deepcopy=False))
        seed = int(numpy_generator(self._seed, f"tune {number}").integers(2**31))
        self._study.sampler = TPESampler(seed=seed)
        return self._study.ask(self._distributions)


Proposer = ListProposer | OptunaProposer


def study_name(label: str, *parts: Any) -> str:
    """A name for an optuna study: ``label`` and a digest of ``parts``."""
    text = json.dumps(parts, sort_keys=True, default=asdict)
    return f"{label}-{hashlib.sha256(text.encode()).hexdigest()[:10]}"


def _distribution(values: Choice | Range) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(values, Choice):
        return CategoricalDistribution(values.values)
    if values.whole:
        return IntDistribution(int(values.low), int(values.high), log=values.log)
    return FloatDistribution(values.low, values.high, log=values.log)


@contextmanager
def open_storage(location: str | None, out: Path) -> Iterator[BaseStorage]:
    """Open a database by its URL, or optuna's journal in a file: ``location``, or OUT/study/journal.log if None.

    Connections to a database are closed at the end. Raises ConfigError if optuna is missing or the storage cannot be
    opened, RunError where the system refuses to write the journal in the block.
    """
    try:
        import optuna
        from optuna.storages import JournalStorage, RDBStorage
        from optuna.storages.journal import JournalFileBackend
    except ModuleNotFoundError:
        raise ConfigError(
            "--search tpe needs optuna: pip install 'crossrec[tune]'; --search grid and random do without"
        ) from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    path = out / STUDY_FOLDER / "journal.log" if location is None else Path(location)
    storage: BaseStorage
    try:
        if location is not None and "://" in location:
            storage = RDBStorage(location)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            storage = JournalStorage(JournalFileBackend(str(path)))
    except Exception as error:  # whatever a database's driver raises
        if path.is_file() and isinstance(error, ValueError | KeyError):
            raise ConfigError(
                f"{path}: damaged, no journal of optuna; delete it: what is trained is found again"
            ) from None
        reason = str(error).strip().splitlines()[:1] or [type(error).__name__]
        raise ConfigError(f"--storage {location or path}: {reason[0]}; give a file, or a database's URL") from None
    try:
        with nullcontext() if isinstance(storage, RDBStorage) else writing(path):
            yield storage
    finally:
        if isinstance(storage, RDBStorage):
            storage.remove_session()
            storage.engine.dispose()
