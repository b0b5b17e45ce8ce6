"""Run a command of crossrec in a fork of this process, which has imported its libraries: a trial takes no start-up."""

from __future__ import annotations

import os
import re
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

LIBRARIES = (
    *(
        "polars",
        "torch",
        "sentence_transformers",
        "crossrec.cli",
        "crossrec.features.encode",
        "crossrec.recommend.extend",
    ),
    *(
        f"crossrec.commands.{name}"
        for name in ("train", "data_import", "data_features", "recommend", "export", "extend")
    ),
)
TIMEOUT = 120.0
"""Seconds after which a command counts as one that hangs."""
Setup = Callable[[], None]
"""Runs in the forked process before the command, e.g. to set a limit."""


@dataclass(frozen=True)
class Ended:
    """How a command ended. ``code``: its exit code, -N after signal N, None where it did not end in time."""

    code: int | None
    out: str
    err: str
    seconds: float

    @property
    def has_traceback(self) -> bool:
        """Whether a traceback or a panic was printed, which a user must never see."""
        return any(sign in self.out + self.err for sign in ("Traceback (most recent call last)", "panicked at"))

    @property
    def error_line(self) -> str | None:
        """The error line, if the command ended with exit code 2 and with exactly one."""
        lines = [line for line in self.err.splitlines() if not re.match(r"crossrec: warning: |\S+ epoch \d+: ", line)]
        is_error = self.code == 2 and lines and lines[-1].startswith("crossrec: error: ")
        return lines[-1] if is_error and len([line for line in lines if "rror" in line]) == 1 else None

    def __str__(self) -> str:
        return f"exit code {self.code}: {self.err.strip()[-300:] or self.out.strip()[-100:]}"


def preload() -> None:
    """Import what the commands import. This process must use neither polars nor torch, whose threads no fork keeps."""
    for library in LIBRARIES:
        import_module(library)


class Command:
    """A command that runs in a fork of this process, in a process group of its own."""

    def __init__(self, arguments: Sequence[object], folder: Path, setup: Setup = lambda: None) -> None:
        self._files = [tempfile.TemporaryFile() for _ in range(2)]  # noqa: SIM115
        self._started, self._result = time.monotonic(), None  # type: tuple[float, Ended | None]
        self._pid = os.fork()
        if not self._pid:
            _be_command(
                [str(argument) for argument in arguments], folder, [file.fileno() for file in self._files], setup
            )

    def wait(self, seconds: float = TIMEOUT) -> Ended | None:
        """How the command ended, None where it still runs after ``seconds``."""
        until = time.monotonic() + seconds
        while self._result is None:
            pid, status = os.waitpid(self._pid, os.WNOHANG)
            if pid:
                return self._ended(os.waitstatus_to_exitcode(status))
            if time.monotonic() >= until:
                return None
            time.sleep(0.002)
        return self._result

    def kill(self, *, children: bool = True) -> Ended:
        """Kill the command and its ``children`` now, unless it has ended."""
        if (ended := self.wait(0)) is not None:
            return ended
        (os.killpg if children else os.kill)(self._pid, signal.SIGKILL)
        _, status = os.waitpid(self._pid, 0)
        return self._ended(os.waitstatus_to_exitcode(status))

    def _ended(self, code: int | None) -> Ended:
        seconds = time.monotonic() - self._started
        texts = []
        for file in self._files:
            file.seek(0)
            texts.append(file.read().decode(errors="replace"))
            file.close()
        self._result = Ended(code, *texts, seconds)
        return self._result


def run(arguments: Sequence[object], folder: Path, setup: Setup = lambda: None) -> Ended:
    """Run a command to its end. One that hangs is killed, with exit code None."""
    command = Command(arguments, folder, setup)
    ended = command.wait()
    if ended is None:
        ended = command.kill()
        return Ended(None, ended.out, ended.err, ended.seconds)
    return ended


def _be_command(arguments: list[str], folder: Path, files: Sequence[int], setup: Setup) -> None:
    code = 70
    try:
        os.setpgid(0, 0)
        os.chdir(folder)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for target, file in zip((1, 2), files, strict=True):
            os.dup2(file, target)
        setup()
        sys.argv = ["crossrec", *arguments]
        code = import_module("crossrec.cli").main()  # the arguments of the process, so under a limit of memory as ever
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
    finally:
        os._exit(code)
