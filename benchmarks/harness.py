"""Times two ways of computing the same thing in turn and measures their peak memory, each in its own process."""

from __future__ import annotations

import json
import platform
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from benchmarks.sides import SIDES

SETTLE = 0.05
"""Seconds to wait before a round: OpenMP threads spin for milliseconds after their last work."""


@dataclass
class Result:
    """One row. ``ours``, ``plain``: median seconds. ``ratio``: median over rounds of plain / ours, pair by pair."""

    name: str
    ours: float
    plain: float | None = None
    ratio: float | None = None
    ours_mb: float | None = None
    plain_mb: float | None = None
    target: str = ""
    note: str = ""
    details: dict[str, Any] = field(default_factory=dict)


class SideProcess:
    """One side of a case in its own process, which runs a round at every ``round()``."""

    def __init__(self, case: str, side: str, quick: bool) -> None:
        command = [
            sys.executable,
            "-W",
            "ignore",
            "-m",
            "benchmarks.worker",
            case,
            side,
            *(["--quick"] if quick else []),
        ]
        command += ["--threads", str(torch.get_num_threads())]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.check = self._line()["check"]

    def round(self) -> float:
        """Seconds of one more round, after the threads of the other side have gone to sleep."""
        time.sleep(SETTLE)
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        return float(self._line()["seconds"])

    def close(self) -> tuple[float, float]:
        """End the process. Returns its peak memory in MB: above that of its inputs, and in all."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        memory = self._line()
        self.process.wait()
        return float(memory["extra_mb"]), float(memory["peak_mb"])

    def _line(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"a worker ended early: {' '.join(map(str, self.process.args))}")  # type: ignore[arg-type]
        values: dict[str, Any] = json.loads(line)
        return values


class SideInProcess:
    """One side of a case in this process, for a quick run that compares results and ignores times."""

    def __init__(self, case: str, side: str, quick: bool) -> None:
        self.action, self.check = SIDES[case](side, quick)

    def round(self) -> float:
        return seconds_of(self.action)

    def close(self) -> tuple[None, None]:
        """None: the memory of the two sides cannot be separated in one process."""
        return None, None


def compare(
    name: str, case: str, *, quick: bool, rounds: int, target: str = "", plain: str = "plain", memory: bool = False
) -> Result:
    """Run both sides in turn, after one uncounted round each. ``memory``: report their peak memory too."""
    side_type = SideInProcess if quick else SideProcess
    sides = [side_type(case, side, quick) for side in ("ours", plain)]
    if sides[0].check is not None and sides[1].check is not None:
        assert_close(sides[0].check, sides[1].check, case)
    for side in sides:
        side.round()
    pairs = [(sides[0].round(), sides[1].round()) for _ in range(1 if quick else rounds)]
    closed = [side.close()[0] for side in sides]
    extra = closed if memory else [None, None]
    ours, theirs = (statistics.median(values) for values in zip(*pairs, strict=True))
    ratio = statistics.median(b / a for a, b in pairs)
    return Result(name, ours, theirs, ratio, *extra, target=target)


def alone(name: str, case: str, *, quick: bool, rounds: int, target: str = "") -> Result:
    """Run a case without a plain side. Its memory is the peak of the whole process, libraries and inputs included."""
    worker = SideProcess(case, "ours", quick)
    seconds = statistics.median(worker.round() for _ in range(1 if quick else rounds))
    return Result(name, seconds, ours_mb=worker.close()[1], target=target)


def assert_close(ours: list[float], plain: list[float], case: str) -> None:
    """Raise AssertionError where the sides' values differ by more than a thousandth; both are float32."""
    for index, (mine, other) in enumerate(zip(ours, plain, strict=True)):
        if abs(mine - other) > 1e-3 * max(abs(other), 1e-3):
            raise AssertionError(f"{case}: the two sides differ: number {index} is {mine} and {other}")


def median_seconds(action: Callable[[], Any], rounds: int) -> float:
    """Median seconds, after one uncounted round."""
    action()
    return statistics.median(seconds_of(action) for _ in range(rounds))


def seconds_of(action: Callable[[], Any]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def resident_mb(kind: str = "VmRSS") -> float:
    """VmRSS (now) or VmHWM (peak) of this process in MB; Linux only."""
    match = re.search(rf"{kind}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert match is not None
    return int(match[1]) / 1024


def machine() -> dict[str, Any]:
    """Processor, threads and versions that the figures depend on."""
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return {
        "processor": model[1] if model else platform.processor(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "date": time.strftime("%Y-%m-%d"),
    }


def write(results: list[Result], out: Path) -> str:
    """Write OUT.json and OUT.md. Returns the table."""
    about = machine()
    out.parent.mkdir(parents=True, exist_ok=True)
    out.with_suffix(".json").write_text(
        json.dumps({"machine": about, "results": [asdict(r) for r in results]}, indent=1, ensure_ascii=False) + "\n"
    )
    lines = [
        f"{about['processor']}, {about['threads']} threads, torch {about['torch']}, {about['date']}; medians.",
        "",
        "| what | ours | plain | ratio | MB, ours | plain | to reach |",
        "| :-- | --: | --: | --: | --: | --: | :-- |",
    ]
    for r in results:
        ratio = "" if r.ratio is None else f"{r.ratio:.1f}"
        cells = [r.name, _time(r.ours), _time(r.plain), ratio, _mb(r.ours_mb), _mb(r.plain_mb), r.target]
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", *(f"- {r.name}: {r.note}" for r in results if r.note)]
    table = "\n".join(lines) + "\n"
    out.with_suffix(".md").write_text(table)
    return table


def _time(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return f"{seconds * 1e3:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"


def _mb(megabytes: float | None) -> str:
    return "" if megabytes is None else f"{megabytes:.0f}"
