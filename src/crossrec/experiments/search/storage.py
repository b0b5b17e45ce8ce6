"""Storage of optuna studies that the workers of a search share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from crossrec.errors import ConfigError

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

STUDY_FOLDER = "study"
"""Folder below --out for the journal of the studies. A worker locks it while it asks optuna for a trial."""


@contextmanager
def open_storage(location: str | None, out: Path) -> Iterator[BaseStorage]:
    """Open a database by its URL, or optuna's journal in a file: ``location``, or OUT/study/journal.log if None.

    Connections to a database are closed at the end. Raises ConfigError if optuna is missing or the storage cannot be
    opened.
    """
    storage = _open(location, out)
    from optuna.storages import RDBStorage

    try:
        yield storage
    finally:
        if isinstance(storage, RDBStorage):
            storage.remove_session()
            storage.engine.dispose()


def _open(location: str | None, out: Path) -> BaseStorage:
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
    try:
        if location is not None and "://" in location:
            return RDBStorage(location)
        path.parent.mkdir(parents=True, exist_ok=True)
        return JournalStorage(JournalFileBackend(str(path)))
    except Exception as error:  # whatever a database's driver raises
        if path.is_file() and isinstance(error, ValueError | KeyError):
            raise ConfigError(
                f"{path}: damaged, no journal of optuna; delete it: what is trained is found again"
            ) from None
        reason = str(error).strip().splitlines()[:1] or [type(error).__name__]
        raise ConfigError(f"--storage {location or path}: {reason[0]}; give a file, or a database's URL") from None
