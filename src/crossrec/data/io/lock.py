"""Folder lock: one process at a time writes to a folder."""

from __future__ import annotations

import logging
import os
import socket
import time
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Self

from crossrec.data.io.durable import make_folder
from crossrec.data.io.open_text import broken_link
from crossrec.data.io.system_errors import writing
from crossrec.errors import RunError

logger = logging.getLogger(__name__)
FILE = ".lock"
"""Name of the lock file in a folder that is locked."""
OPENINGS = 10
"""How often a lock file is opened in a folder that others delete when they are done."""
POLL_SECONDS = 0.2
"""Time between two attempts to lock a folder that another process has locked."""


def lock_descriptor(descriptor: int) -> bool:
    """Lock an open file or folder until it is closed, without waiting; False where another process has locked it.

    Raises OSError where the file system has no locks.
    """
    import filelock

    return filelock.lock_descriptor(descriptor, blocking=False)


def is_at(path: Path, descriptor: int) -> bool:
    """Whether an open file or folder is the one that is at ``path`` now."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except OSError:
        return False


class FolderLock:
    """Exclusive right to write to ``folder``. As a context it raises RunError where another process has the right.

    The lock is ``flock`` on ``folder/.lock``. The kernel frees it when the last process that holds it ends,
    even by a kill. Release deletes the file. A process that opened the file just before would lock one that nobody else
    sees, so ``acquire`` checks that the locked file is still the one in the folder, and tries again.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, folder / FILE
        self._descriptor: int | None = None

    def acquire(self) -> bool:
        """Take the lock. False where another process holds it.

        The lock is not counted: one ``release`` frees it. Makes the folder if it is missing. Raises RunError where the
        folder cannot be written to.
        """
        while self._descriptor is None:
            descriptor = self._open()
            if not self._lock(descriptor):
                os.close(descriptor)
                return False
            if is_at(self.path, descriptor):
                self._descriptor = descriptor
            else:
                os.close(descriptor)
        with suppress(OSError):  # a full disk: error lines of others will not name this process
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)
        return True

    def wait(self) -> None:
        """Take the lock as soon as no other process holds it; logs that it waits, and for whom."""
        if self.acquire():
            return
        logger.warning("%s is in use: %s writes to it; waiting until that ends", self.folder, self._holder())
        while not self.acquire():
            time.sleep(POLL_SECONDS)

    def release(self) -> None:
        """Delete the lock file and free the lock. Does nothing where this process does not hold it."""
        if self._descriptor is not None:
            if is_at(self.path, self._descriptor):
                self.path.unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = None

    def check(self) -> None:
        """Raise RunError where another process holds the lock. Writes nothing."""
        try:
            descriptor = os.open(self.path, os.O_RDWR)
        except OSError:
            return
        try:
            if not self._lock(descriptor):
                raise self._in_use()
        finally:
            os.close(descriptor)

    @property
    def descriptors(self) -> tuple[int, ...]:
        """What a child process must inherit (``pass_fds``) to hold the lock too, also when this process is killed."""
        return () if self._descriptor is None else (self._descriptor,)

    def __enter__(self) -> Self:
        if not self.acquire():
            raise self._in_use()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def _open(self) -> int:
        with writing(self.folder):
            try:
                for _ in range(OPENINGS):
                    make_folder(self.folder)
                    with suppress(FileNotFoundError):  # the process before has deleted the folder meanwhile
                        return os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
                return os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
            except (FileExistsError, NotADirectoryError):
                reason = broken_link(self.folder) or "a file is in the way; give another --out"
                raise RunError(f"{self.folder}: {reason}") from None

    def _lock(self, descriptor: int) -> bool:
        """Lock an open file until it is closed, without waiting; False where another process has locked it."""
        try:
            return lock_descriptor(descriptor)
        except OSError as error:
            message = (
                f"{self.folder}: its file system has no file locks ({error.strerror}); write to it from one process"
            )
            warnings.warn(message, stacklevel=3)
            return True

    def _holder(self) -> str:
        """The process that holds the lock, as its file says."""
        try:
            return self.path.read_text(encoding="utf-8", errors="replace") or "another process"
        except OSError:
            return "another process"

    def _in_use(self) -> RunError:
        return RunError(
            f"{self.folder} is in use: {self._holder()} writes to it; "
            "wait until it ends, stop it, or give another --out"
        )
