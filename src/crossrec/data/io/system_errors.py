"""Errors of the system and panics of polars: as exceptions that one line can tell."""

from __future__ import annotations

import errno
import os
import re
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from crossrec.errors import CrossrecError, RunError
from crossrec.lazy import polars as pl

SYSTEM_ERROR = re.compile(r"\(os error (\d+)\)|\[Errno (\d+)\]")
"""How libraries in Rust and C++ quote the number of an error of the system."""
FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Raise RunError where the system refuses to write ``path`` in the block, or a library says so in its own way."""
    try:
        yield
    except CrossrecError:
        raise
    except Exception as error:
        quoted = SYSTEM_ERROR.search(str(error))
        number = int(quoted[1] or quoted[2]) if quoted else getattr(error, "errno", None)
        if number is None and not isinstance(error, OSError):
            raise
        reason = str(error) if number is None else os.strerror(number)
        advice = "free some space there, or choose another folder" if number in FULL else "choose another path"
        raise RunError(f"{path}: cannot be written: {reason}; {advice}") from None


@contextmanager
def no_panic() -> Iterator[None]:
    """Raise polars' ComputeError where polars panics in the block, and drop what Rust prints about it on stderr.

    A panic is a BaseException, which ``except Exception`` misses.
    """
    with _held_stderr() as held:
        try:
            yield
        except pl.exceptions.PanicException as panic:
            held.truncate(0)
            raise pl.exceptions.ComputeError(str(panic)) from None


_stderr_lock = threading.RLock()


@contextmanager
def _held_stderr() -> Iterator[BinaryIO]:
    """Yield a file for what is written to the descriptor of stderr in the block. It is copied there at the end."""
    in_memory = hasattr(os, "memfd_create")  # of Linux; it works on a full disk too
    with (
        _stderr_lock,
        os.fdopen(os.memfd_create("stderr"), "w+b") if in_memory else tempfile.TemporaryFile() as held,
    ):
        try:
            stderr = os.dup(2)
        except OSError:  # closed
            yield held
            return
        os.dup2(held.fileno(), 2)
        try:
            yield held
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            held.seek(0)
            with suppress(OSError):
                os.write(2, held.read())
