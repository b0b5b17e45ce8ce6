"""What a search tries next: points known beforehand, or what optuna makes of the trials so far."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from crossrec.data.io.lock import FolderLock
from crossrec.errors import ConfigError
from crossrec.experiments.search.spaces import Choice, Point, Space
from crossrec.randomness import numpy_generator

if TYPE_CHECKING:
    from optuna import Study as OptunaStudy
    from optuna.distributions import BaseDistribution
    from optuna.storages import BaseStorage

FOLDER = "study"
"""Below --out: the journal of a search and who writes to it."""


class Proposer(Protocol):
    """Where the points of a search come from, in an order that is the same for every worker."""

    @property
    def exhausted(self) -> bool:
        """Whether no point will be proposed any more."""
        ...

    def propose(self) -> tuple[int, Point] | None:
        """The next point and its number; None where there is none, or none yet."""
        ...

    def tell(self, number: int, value: float | None) -> None:
        """What a point came to; None: it failed."""
        ...


class Listed:
    """Points known beforehand. Workers that share a folder share them without a word: a cell is trained once."""

    def __init__(self, points: Iterable[Point]) -> None:
        self._points = list(points)
        self._next = 0

    @property
    def exhausted(self) -> bool:
        return self._next == len(self._points)

    def propose(self) -> tuple[int, Point] | None:
        if self.exhausted:
            return None
        self._next += 1
        return self._next - 1, self._points[self._next - 1]

    def tell(self, number: int, value: float | None) -> None:
        pass


class Study:
    """The tree-structured Parzen estimator (Bergstra et al. 2011) of optuna, over a storage that workers share.

    A trial is proposed to every worker, whoever has asked for it, so that one whose worker died is trained by another,
    and all workers know all trials in the end. Asking takes turns (a lease): there are ``trials`` of them exactly.
    What is asked depends on ``seed``, on its number and on the values told until then.
    """

    def __init__(self, storage: BaseStorage, name: str, space: Space, *, trials: int, seed: int, turns: Path) -> None:
        import optuna

        self._study: OptunaStudy = optuna.create_study(
            storage=storage, study_name=name, direction="maximize", load_if_exists=True
        )
        self._distributions = {name: _distribution(values) for name, values in space.free.items()}
        self._trials, self._seed, self._turns = trials, seed, FolderLock(turns)
        self._seen: set[int] = set()
        self._asked_all = False

    @property
    def exhausted(self) -> bool:
        return self._asked_all

    def propose(self) -> tuple[int, Point] | None:
        known = self._whole()
        for trial in known:
            if trial.number not in self._seen:
                self._seen.add(trial.number)
                return trial.number, dict(trial.params)
        self._asked_all = len(known) >= self._trials
        if self._asked_all or not self._turns.acquire():
            return None
        try:
            return self._ask()
        finally:
            self._turns.release()

    def tell(self, number: int, value: float | None) -> None:
        from optuna.trial import TrialState

        state = TrialState.FAIL if value is None else TrialState.COMPLETE
        self._study.tell(number, value, state=state, skip_if_finished=True)

    def _ask(self) -> tuple[int, Point] | None:
        """Ask for one more, unless another worker has meanwhile asked for the last; it is this worker's turn."""
        from optuna.samplers import TPESampler
        from optuna.trial import TrialState

        if len(self._whole()) >= self._trials:
            return None
        trials = self._study.get_trials(deepcopy=False)
        for trial in trials:  # nobody else is asking, so who asked for this one died meanwhile
            if trial.state == TrialState.RUNNING and len(trial.params) < len(self._distributions):
                self._study.tell(trial.number, state=TrialState.FAIL)
        seed = int(numpy_generator(self._seed, f"tune {len(trials)}").integers(2**31))
        self._study.sampler = TPESampler(seed=seed)
        asked = self._study.ask(self._distributions)
        self._seen.add(asked.number)
        return asked.number, dict(asked.params)

    def _whole(self) -> list[Any]:
        """The trials that have all their parameters."""
        size = len(self._distributions)
        return [trial for trial in self._study.get_trials(deepcopy=False) if len(trial.params) == size]


def study_name(label: str, *parts: Any) -> str:
    """A name for the search of ``label``, different for every content of ``parts``."""
    text = json.dumps(parts, sort_keys=True, default=asdict)
    return f"{label}-{hashlib.sha256(text.encode()).hexdigest()[:10]}"


@contextmanager
def open_storage(given: str | None, out: Path) -> Iterator[BaseStorage]:
    """The storage of ``--storage``: a URL of a database, a file for optuna's journal, or OUT/study/journal.log.

    Connections to a database are closed at the end. Raises ConfigError where optuna is missing or the storage cannot
    be opened.
    """
    storage = _opened(given, out)
    from optuna.storages import RDBStorage

    try:
        yield storage
    finally:
        if isinstance(storage, RDBStorage):
            storage.remove_session()
            storage.engine.dispose()


def _opened(given: str | None, out: Path) -> BaseStorage:
    try:
        import optuna
        from optuna.storages import JournalStorage, RDBStorage
        from optuna.storages.journal import JournalFileBackend
    except ModuleNotFoundError:
        raise ConfigError(
            "--search tpe needs optuna: pip install 'crossrec[tune]'; --search grid and random do without"
        ) from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    path = out / FOLDER / "journal.log" if given is None else Path(given)
    try:
        if given is not None and "://" in given:
            return RDBStorage(given)
        path.parent.mkdir(parents=True, exist_ok=True)
        return JournalStorage(JournalFileBackend(str(path)))
    except Exception as error:  # whatever a database's driver raises
        if path.is_file() and isinstance(error, ValueError | KeyError):
            raise ConfigError(
                f"{path}: damaged, no journal of optuna; delete it: what is trained is found again"
            ) from None
        reason = str(error).strip().splitlines()[:1] or [type(error).__name__]
        raise ConfigError(f"--storage {given or path}: {reason[0]}; give a file, or a database's URL") from None


def _distribution(values: Any) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(values, Choice):
        return CategoricalDistribution(values.values)
    if values.whole:
        return IntDistribution(int(values.low), int(values.high), log=values.log)
    return FloatDistribution(values.low, values.high, log=values.log)
