"""Proposers: what a search tries next, from a list of points or from optuna, whose storage workers share."""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crossrec.data.io.lock import FolderLock
from crossrec.data.io.system_errors import writing
from crossrec.errors import ConfigError
from crossrec.experiments.search.spaces import Choice, Point, Range, Space
from crossrec.randomness import numpy_generator

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial

STUDY_FOLDER = "study"
"""Folder below --out for the journal of the studies. A worker locks it while it asks optuna for a trial."""


class ListProposer:
    """Proposes listed points. Workers need not communicate: they propose the same, and a cell is trained once."""

    def __init__(self, points: Iterable[Point]) -> None:
        self._points = deque(enumerate(points))

    @property
    def exhausted(self) -> bool:
        """Whether no further point will be proposed."""
        return not self._points

    def propose(self) -> tuple[int, Point] | None:
        """The next number and point, the same for every worker; None if there is none, or none yet."""
        return self._points.popleft() if self._points else None

    def report(self, number: int, value: float | None) -> None:
        """Take the value of a point into account; None means that it failed."""


class OptunaProposer:
    """Proposes ``trials`` points by optuna's tree-structured Parzen estimator (Bergstra et al. 2011).

    Workers share the ``storage``. Every worker proposes every trial of the study, so that a trial whose worker died is
    trained by another one and all workers end with all trials. One worker at a time asks optuna for a new trial; it
    locks the folder ``lock_folder`` meanwhile. A new point depends on ``seed``, on its number and on the values
    reported so far.
    """

    def __init__(
        self, storage: BaseStorage, name: str, space: Space, *, trials: int, seed: int, lock_folder: Path
    ) -> None:
        import optuna

        self._study: Study = optuna.create_study(
            storage=storage, study_name=name, direction="maximize", load_if_exists=True
        )
        self._distributions = {name: _distribution(values) for name, values in space.free.items()}
        self._trials, self._seed, self._lock = trials, seed, FolderLock(lock_folder)
        self._proposed: set[int] = set()
        self.exhausted = False

    def propose(self) -> tuple[int, Point] | None:
        trials = self._complete_trials()
        for trial in trials:
            if trial.number not in self._proposed:
                self._proposed.add(trial.number)
                return trial.number, dict(trial.params)
        self.exhausted = len(trials) >= self._trials
        if self.exhausted or not self._lock.acquire():
            return None
        try:
            return self._ask()
        finally:
            self._lock.release()

    def report(self, number: int, value: float | None) -> None:
        from optuna.trial import TrialState

        state = TrialState.FAIL if value is None else TrialState.COMPLETE
        self._study.tell(number, value, state=state, skip_if_finished=True)

    def _ask(self) -> tuple[int, Point] | None:
        """Ask optuna for a new trial, unless another worker has asked for the last one. Needs the lock."""
        from optuna.samplers import TPESampler
        from optuna.trial import TrialState

        if len(self._complete_trials()) >= self._trials:
            return None
        trials = self._study.get_trials(deepcopy=False)
        for trial in trials:  # this worker has the lock, so the worker that asked for this one has died
            if trial.state == TrialState.RUNNING and len(trial.params) < len(self._distributions):
                self._study.tell(trial.number, state=TrialState.FAIL)
        seed = int(numpy_generator(self._seed, f"tune {len(trials)}").integers(2**31))
        self._study.sampler = TPESampler(seed=seed)
        new_trial = self._study.ask(self._distributions)
        self._proposed.add(new_trial.number)
        return new_trial.number, dict(new_trial.params)

    def _complete_trials(self) -> list[FrozenTrial]:
        """The trials that have a value for every parameter."""
        size = len(self._distributions)
        return [trial for trial in self._study.get_trials(deepcopy=False) if len(trial.params) == size]


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
