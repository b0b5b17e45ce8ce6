"""Run a command under a limit of its memory (``ulimit -v``) so that it ends in one line where memory is refused.

Python's libraries raise MemoryError then, but those in Rust and C++ end the process, or wait for ever for a thread that
could not start.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import tempfile
import warnings
from collections.abc import Callable

from crossrec.errors import USER_ERROR, MemoryLimitError
from crossrec.memory import available_memory, is_out_of_memory, out_of_memory, says_out_of_memory

LIBRARIES = 100 * 2**20
"""Bytes of address space that polars takes beyond its own code for its threads."""
ENDED_BY_MEMORY = (signal.SIGABRT, signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGTRAP)
"""Signals by which libraries end the process where memory is refused."""
FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
M_ARENA_MAX, PR_SET_PDEATHSIG = -8, 1
"""Option of mallopt(3) and of prctl(2)."""


def run_guarded(command: Callable[[], int]) -> int:
    """Run ``command`` in a child process and return its exit code.

    Raises MemoryLimitError if it ended as it does where a library is refused memory. What libraries then write to file
    descriptor 2 is dropped. Signals are passed on. Call it before anything starts a thread.
    """
    signals = {signal.SIGCHLD, *FORWARDED}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    with tempfile.TemporaryFile() as noise:
        child = os.fork()
        if not child:
            os._exit(_child(command, noise.fileno(), signals))
        status = _wait(child, signals)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)
        code = os.waitstatus_to_exitcode(status)
        noise.seek(0)
        written = noise.read().decode(errors="backslashreplace")
    if -code in ENDED_BY_MEMORY or (code == 1 and says_out_of_memory(written)):
        raise MemoryLimitError(out_of_memory())
    if code != USER_ERROR:  # such an error has its line already
        sys.stderr.write(written)
        sys.stderr.flush()
    if code < 0:  # ended by another signal: end likewise
        with contextlib.suppress(OSError):  # SIGKILL has no handler
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    return code


def start_libraries() -> None:
    """Load polars and start its threads while there is room: later it would wait for ever for one that cannot start.

    Raises MemoryLimitError if there is none.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import polars as pl

        enough = available_memory().bytes >= LIBRARIES
        if enough:
            pl.DataFrame({"a": [2, 1]}).lazy().sort("a").collect()
    except Exception:  # whatever a library raises that could not be loaded
        enough = False
    if not enough:
        raise MemoryLimitError(out_of_memory())


def _child(command: Callable[[], int], noise: int, signals: set[signal.Signals]) -> int:
    """Run the command in the child process. Python writes to the true stderr, all others to ``noise``."""
    library = ctypes.CDLL(None)
    library.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    library.mallopt(M_ARENA_MAX, 1)  # otherwise every thread reserves 64 MB of address space
    sys.stderr.flush()
    sys.stderr = open(os.dup(2), "w", buffering=1, encoding=sys.stderr.encoding, errors="backslashreplace")  # noqa: SIM115
    os.dup2(noise, 2)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)
    try:
        code = command()
    except BaseException as error:  # the frames below are the parent's
        code = 1
        if is_out_of_memory(error):
            os.write(2, b"out of memory")  # the parent says it: here even a message may find no memory
        else:
            sys.excepthook(*sys.exc_info())
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    return code


def _wait(child: int, signals: set[signal.Signals]) -> int:
    """Wait for the child, and pass on signals but a terminal's, which reach the child too. Returns its status."""
    while True:
        info = signal.sigwaitinfo(signals)
        if info.si_signo == signal.SIGCHLD:
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                return status
        elif info.si_code <= 0:
            os.kill(child, info.si_signo)
