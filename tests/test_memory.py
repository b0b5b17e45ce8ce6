"""How much memory is available, what fits, and which errors say that it was refused."""

from __future__ import annotations

import math
import sys
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from crossrec import memory
from crossrec.errors import MemoryLimitError
from crossrec.memory import Available, available_memory, is_out_of_memory, require_memory

GIB = 2**30


@pytest.fixture
def system(tmp_path):
    """A function that writes files of a system. It returns their root."""

    def write(**files):
        for name, content in files.items():
            path = tmp_path / name.replace("__", "/").replace("--", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        return tmp_path

    return write


MEMINFO = "MemTotal: 99999999 kB\nMemFree: 5 kB\nMemAvailable: 8388608 kB\nSwapTotal: 9 kB\nSwapFree: 1048576 kB\n"


def test_free_memory_of_the_machine_and_its_swap(system):
    available = available_memory(system(proc__meminfo=MEMINFO))
    assert available == Available(9 * GIB, "free memory of this machine")


def test_no_system_files_mean_no_limit(tmp_path):
    assert available_memory(tmp_path) == Available(math.inf, "nothing")


V1 = {
    "proc__meminfo": MEMINFO.replace("SwapFree: 1048576", "SwapFree: 0"),
    "proc__self__cgroup": "5:devices:/\n4:cpu,memory:/a/b\n0::/\n",
    "sys__fs__cgroup__memory__memory--limit_in_bytes": "9223372036854771712\n",
    "sys__fs__cgroup__memory__a__memory--limit_in_bytes": f"{4 * GIB}\n",
    "sys__fs__cgroup__memory__a__memory--usage_in_bytes": f"{3 * GIB}\n",
    "sys__fs__cgroup__memory__a__memory--stat": f"cache 1\ninactive_file 5\ntotal_inactive_file {GIB}\n",
    "sys__fs__cgroup__memory__a__b__memory--limit_in_bytes": f"{7 * GIB}\n",
    "sys__fs__cgroup__memory__a__b__memory--usage_in_bytes": "0\n",
}
V2 = {
    "proc__meminfo": MEMINFO.replace("SwapFree: 1048576", "SwapFree: 0"),
    "proc__self__cgroup": "0::/a/b\n",
    "sys__fs__cgroup__a__memory--max": f"{5 * GIB}\n",
    "sys__fs__cgroup__a__memory--current": f"{4 * GIB}\n",
    "sys__fs__cgroup__a__memory--stat": f"anon 5\ninactive_file {GIB}\n",
    "sys__fs__cgroup__a__b__memory--max": "max\n",
}


@pytest.mark.parametrize("files", [V1, V2], ids=["version 1", "version 2"])
def test_a_control_group_or_one_above_it_limits(files, system):
    assert available_memory(system(**files)) == Available(2 * GIB, "limit of the control group")


def test_a_container_sees_its_own_group_at_the_top(system):
    files = {"sys__fs__cgroup__memory--max": f"{GIB}\n", "sys__fs__cgroup__memory--current": "0\n"}
    root = system(proc__meminfo=V2["proc__meminfo"], proc__self__cgroup="0::/../elsewhere\n", **files)
    assert available_memory(root) == Available(GIB, "limit of the control group")


def test_the_limit_of_the_process_less_what_it_has_taken(system, monkeypatch):
    monkeypatch.setattr(memory, "process_limits", lambda: [Available(3 * GIB, "ulimit -v")])
    root = system(proc__meminfo=MEMINFO, proc__self__status=f"Name:\tx\nVmSize:\t{2 * 2**20} kB\nVmData: 1 kB\n")
    assert available_memory(root) == Available(GIB, "ulimit -v")


def require(needed, monkeypatch):
    """Warnings of a command that takes so many GiB where 4 are available."""
    monkeypatch.setattr(memory, "available_memory", lambda: Available(4 * GIB, "ulimit -v"))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        require_memory(needed * GIB, "training", lambda room: f"so much fits: {room / GIB}")
    return [str(warning.message) for warning in caught]


def test_only_what_cannot_fit_is_refused(monkeypatch):
    assert require(4, monkeypatch) == []
    for needed in (4.1, 4.9):
        (message,) = require(needed, monkeypatch)
        assert (
            message
            == f"training takes about {needed} GiB and 4.0 GiB are available (ulimit -v); it may run out of memory"
        )
    message = r"training takes about 5.1 GiB and 4.0 GiB are available \(ulimit -v\): so much fits: 4.0"
    with pytest.raises(MemoryLimitError, match=f"^{message}$"):
        require(5.1, monkeypatch)


def refused():
    """What libraries raise where memory is refused."""
    for allocate in (lambda: np.zeros(2**55), lambda: torch.empty(2**55), lambda: bytearray(2**55)):
        try:
            allocate()
        except (MemoryError, RuntimeError) as error:
            yield error
    error = ImportError("cannot import name")
    error.__cause__ = OSError("libx.so: failed to map segment from shared object")
    yield error
    yield OSError(12, "Cannot allocate memory")
    yield RuntimeError("can't start new thread")
    yield torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 5 GiB")


@pytest.mark.parametrize("error", list(refused()), ids=lambda error: type(error).__name__)
def test_refused_memory_is_recognised(error):
    assert is_out_of_memory(error)


@pytest.mark.parametrize("error", [ValueError("out of memory"), RuntimeError("shape"), KeyError("x"), None])
def test_other_errors_are_not_of_memory(error):
    assert not is_out_of_memory(error)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc")
@pytest.mark.parametrize(
    ("but_large", "large"), [(False, (memory.M_MMAP_MAX, 0)), (True, (memory.M_MMAP_THRESHOLD, memory.MAPPED))]
)
def test_which_freed_memory_is_kept(but_large, large, monkeypatch):
    options, library = [], SimpleNamespace()
    library.mallopt = lambda name, value: options.append((name.value, value.value))
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda _: library)
    memory.keep_freed_memory(but_large=but_large)
    assert options == [large, (memory.M_TRIM_THRESHOLD, 2**31 - 1)]
    memory.return_freed_memory()  # a library without malloc_trim
