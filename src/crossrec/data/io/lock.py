"""Who works on a folder: a file in it, renewed meanwhile, so that processes and hosts share work without a server."""

from __future__ import annotations

import json
import os
import socket
import time
from contextlib import suppress
from pathlib import Path

from crossrec.data.io.atomic import write_json_atomic
from crossrec.errors import RunError

GRACE = 180.0
"""Seconds after which a lease of another host that shows no sign of life is free; file servers tell of a sign late."""
RENEWAL = 20.0
"""Seconds after which a worker gives a sign of life."""


class FolderLock:
    """The right to work on ``folder``, which one worker has at a time.

    It is the file ``worker-N.json`` of the highest N: whose host is this one is alive while one of its processes runs;
    of another host, while that file or ``progress`` (which the work itself writes) changes. A dead worker's successor
    makes file N + 1, which only one can, so that a worker that was merely asleep finds out by ``renew``. Works wherever
    a file can be made exclusively, NFS included; clocks of hosts are not compared.
    """

    def __init__(self, folder: Path, progress: Path | None = None, grace: float = GRACE) -> None:
        self._folder, self._progress, self._grace = folder, progress, grace
        self._mine: Path | None = None
        self._processes: list[tuple[int, str | None]] = []
        self._renewed = self._since = 0.0
        self._sign: tuple[object, ...] = ()

    def take(self) -> bool:
        """Take the lease if it is free. Raises RunError where the folder cannot be written to."""
        found = self._latest()
        if found is not None and not self._is_dead(found):
            return False
        path = self._folder / f"worker-{0 if found is None else _number(found) + 1}.json"
        self._processes = [(os.getpid(), born(os.getpid()))]
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with path.open("x", encoding="utf-8") as file:
                json.dump(self._content(), file)
        except FileExistsError:
            if self._folder.is_dir():
                return False
            raise RunError(f"{self._folder} is a file: give another --out") from None
        except OSError as error:
            raise RunError(f"cannot write to the folder {self._folder}: {error.strerror}; give another --out") from None
        self._mine, self._renewed = path, time.monotonic()
        return True

    def add(self, process: int) -> None:
        """Let the lease live as long as this process of this host too."""
        assert self._mine is not None
        self._processes.append((process, born(process)))
        write_json_atomic(self._mine, self._content())

    def renew(self) -> bool:
        """Give a sign of life when it is time; False where somebody else has taken the lease, for want of one."""
        assert self._mine is not None
        if time.monotonic() - self._renewed < RENEWAL:
            return True
        try:
            os.utime(self._mine)
        except OSError:
            return False
        self._renewed = time.monotonic()
        return self._latest() == self._mine

    def release(self) -> None:
        """Give the lease back, with what is left of dead workers before."""
        if self._mine is not None:
            mine, self._mine = self._mine, None
            for path in self._folder.glob("worker-*.json"):
                if _number(path) <= _number(mine):
                    with suppress(OSError):
                        path.unlink()

    def _content(self) -> dict[str, object]:
        return {"host": _host(), "processes": self._processes}

    def _latest(self) -> Path | None:
        return max(self._folder.glob("worker-*.json"), key=_number, default=None)

    def _is_dead(self, found: Path) -> bool:
        try:
            content = json.loads(found.read_text(encoding="utf-8"))
            if content["host"] == _host():
                return not any(born(process) == began for process, began in content["processes"])
        except (OSError, ValueError, KeyError, TypeError):
            pass  # being written or removed this instant, or cut short: judged by whether it changes
        sign = (found, *(_changed(path) for path in (found, self._progress) if path is not None))
        if sign != self._sign:
            self._sign, self._since = sign, time.monotonic()
        return time.monotonic() - self._since > self._grace


def born(process: int) -> str | None:
    """What tells a running process of this host from a later one of the same number; None where there is none."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
        return None if fields[0] in "ZX" else fields[19]  # a zombie has ended; when it began, in ticks since boot
    except OSError:
        if Path("/proc/self/stat").exists():
            return None
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return ""


def _host() -> str:
    """This host, and on it the containers apart, whose processes are numbered for themselves."""
    try:
        return f"{socket.gethostname()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return socket.gethostname()


def _number(path: Path) -> int:
    digits = path.stem.removeprefix("worker-")
    return int(digits) if digits.isdecimal() else -1


def _changed(path: Path) -> int | None:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return None
