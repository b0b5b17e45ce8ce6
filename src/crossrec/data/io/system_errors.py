"""Errors of the system, as one line that names the file or folder."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from crossrec.errors import CrossrecError, RunError

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
