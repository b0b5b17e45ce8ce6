"""Memory: how much there is, whether an estimate fits, which errors say that it was refused, and what glibc keeps."""

from __future__ import annotations

import ctypes
import errno
import math
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from crossrec.errors import MemoryLimitError

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -3, -4
"""Options of mallopt(3)."""
MAPPED = 1 << 25
"""Bytes of a piece that is returned when it is freed although others are kept: 32 MB, the most that glibc takes."""
SURE = 0.8
"""An estimate may be a quarter too high, so a command is refused only if this share of it does not fit either."""
REFUSALS = (
    "not enough memory",
    "t allocate memory",
    "cannot allocate memory",
    "out of memory",
    "bad_alloc",
    "memory allocation",
    "start new thread",
    "resource temporarily unavailable",
    "failed to map segment",
)
"""Parts of the messages, in lower case, with which libraries say that memory was refused."""


class Available(NamedTuple):
    """Bytes that this process can still take, and what limits them."""

    bytes: float
    limit: str


def available_memory(root: Path = Path("/")) -> Available:
    """The least of the machine's free memory and swap, the control groups' limits, and this process's own limits.

    Infinite where the system tells none of them. ``root``: folder of proc and sys.
    """
    limits = [*_machine(root), *_control_groups(root), *_process_limits(root)]
    return min(limits, default=Available(math.inf, "nothing"))


def gib(size: float) -> str:
    """A size in bytes for a message, such as ``1.5 GiB``."""
    return f"{size / 2**30:.1f} GiB" if size < 99 * 2**30 else f"{size / 2**30:,.0f} GiB"


def require_memory(needed: float, what: str, way_out: Callable[[float], str], *, taken: float = 0) -> None:
    """Raise MemoryLimitError where ``needed`` bytes more cannot fit; warn where they may not.

    ``what``: beginning of the message, such as "training"; ``way_out(bytes)``: what would fit into so many bytes.
    ``taken``: bytes that the process has already, which the message counts on both sides.
    """
    available = available_memory()
    if needed <= available.bytes:
        return
    in_all, room = gib(taken + needed), gib(taken + available.bytes)
    message = f"{what} takes about {in_all} and {room} are available ({available.limit})"
    if SURE * needed > available.bytes:
        raise MemoryLimitError(f"{message}: {way_out(available.bytes)}")
    warnings.warn(f"{message}; it may run out of memory", stacklevel=2)


def is_out_of_memory(error: BaseException | None) -> bool:
    """Whether an exception, or one that it came from, says that memory was refused."""
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
            return True
        of_library = isinstance(error, RuntimeError | ImportError | OSError | SystemError)
        of_library |= type(error).__module__.startswith(("polars", "pyo3"))
        if of_library and says_out_of_memory(str(error)):
            return True
        seen.append(error)
        error = error.__cause__ or error.__context__
    return False


def says_out_of_memory(message: str) -> bool:
    """Whether the message of a library says that memory was refused."""
    return any(refusal in message.lower() for refusal in REFUSALS)


def out_of_memory() -> str:
    """What to tell a user where memory was refused."""
    limits = process_limits()
    available = available_memory()
    room = f"{limits[0].limit} allows {gib(limits[0].bytes)}" if limits else f"{gib(available.bytes)} are available"
    return (
        f"out of memory: {room}, and the libraries alone take about 1 GiB: raise the limit, end other programs, or "
        "give smaller settings, such as --dim, --batch-size or --jobs"
    )


def resident_memory() -> float:
    """Bytes of memory that this process has now; 0 where the system does not tell."""
    return 1024 * _fields(Path("/proc/self/status")).get("VmRSS", 0)


def process_limits() -> list[Available]:
    """The limits of the memory of this process, whatever it has taken of them; none where there is no limit."""
    try:
        import resource
    except ImportError:  # not on Windows
        return []
    kinds = (("RLIMIT_AS", "ulimit -v"), ("RLIMIT_DATA", "ulimit -d"))
    limits = [Available(resource.getrlimit(getattr(resource, kind))[0], name) for kind, name in kinds]
    return [limit for limit in limits if limit.bytes != resource.RLIM_INFINITY]


def _number(path: Path) -> float:
    """The number in a file of the system; infinite where there is no file or no limit."""
    try:
        return float(path.read_text())
    except (OSError, ValueError):
        return math.inf


def _fields(path: Path) -> dict[str, float]:
    """The lines "name number" or "name: number kB" of a file of the system, in its units."""
    try:
        lines = [line.replace(":", " ").split() for line in path.read_text().splitlines()]
    except OSError:
        return {}
    return {line[0]: float(line[1]) for line in lines if len(line) > 1 and line[1].isdigit()}


def _machine(root: Path) -> list[Available]:
    meminfo = _fields(root / "proc/meminfo")
    if "MemAvailable" not in meminfo:
        return []
    return [Available(1024 * (meminfo["MemAvailable"] + meminfo.get("SwapFree", 0)), "free memory of this machine")]


def _control_groups(root: Path) -> list[Available]:
    """What the process's control group and those above it leave, in both versions of the interface."""
    try:
        lines = [line.split(":", 2) for line in (root / "proc/self/cgroup").read_text().splitlines()]
    except OSError:
        return []
    swap = 1024 * _fields(root / "proc/meminfo").get("SwapFree", 0)
    left = []
    for _, controllers, name in lines:
        if controllers == "":
            top, limit_file, usage_file, cache = root / "sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"
        elif "memory" in controllers.split(","):
            top = root / "sys/fs/cgroup/memory"
            limit_file, usage_file, cache = "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"
        else:
            continue
        group = top / name.lstrip("/")
        for folder in (group, *group.parents):
            if math.isfinite(limit := _number(folder / limit_file)):
                used = _number(folder / usage_file) - _fields(folder / "memory.stat").get(cache, 0)
                left.append(
                    Available(limit - (used if math.isfinite(used) else 0) + swap, "limit of the control group")
                )
            if folder == top:
                break
    return left


def _process_limits(root: Path) -> list[Available]:
    status = _fields(root / "proc/self/status")
    taken = {"ulimit -v": status.get("VmSize", 0), "ulimit -d": status.get("VmData", 0)}
    return [Available(max(0, size - 1024 * taken[name]), name) for size, name in process_limits()]


def keep_freed_memory(*, but_large: bool = False) -> None:
    """Let glibc keep freed memory instead of returning it to the kernel.

    Training steps allocate and free megabytes of temporaries. By default glibc returns each to the kernel and maps new
    zeroed pages for the next; docs/performance.md measures the cost. Without glibc the function does nothing. Call it
    only in a command's own process: a library leaves its caller's memory settings alone.

    ``but_large``: pieces of ``MAPPED`` bytes and more are returned all the same. It is for several processes that train
    one model: they are short of memory, and what each of them keeps adds up.
    """
    if not sys.platform.startswith("linux"):
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:  # another C library
        return
    if but_large:
        mallopt(ctypes.c_int(M_MMAP_THRESHOLD), ctypes.c_int(MAPPED))
    else:
        mallopt(ctypes.c_int(M_MMAP_MAX), ctypes.c_int(0))
    mallopt(ctypes.c_int(M_TRIM_THRESHOLD), ctypes.c_int(2**31 - 1))


def return_freed_memory() -> None:
    """Give the memory that is free in the heap back to the kernel, also where glibc keeps it otherwise.

    For the few instants at which what comes next needs memory of other sizes than what has ended. Without glibc the
    function does nothing.
    """
    if sys.platform.startswith("linux") and hasattr(library := ctypes.CDLL(None), "malloc_trim"):
        library.malloc_trim(0)
