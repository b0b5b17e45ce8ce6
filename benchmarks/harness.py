"""Two ways of computing the same thing, timed in turn; extra peak memory, each in a process of its own."""

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


def in_turn(ours: Callable[[], Any], plain: Callable[[], Any], rounds: int) -> tuple[float, float, float]:
    """Median seconds of both and the median of plain / ours; a round each goes before, uncounted."""
    ours(), plain()
    pairs = [(_seconds(ours), _seconds(plain)) for _ in range(rounds)]
    return (
        statistics.median(a for a, _ in pairs),
        statistics.median(b for _, b in pairs),
        statistics.median(b / a for a, b in pairs),
    )


def median_seconds(action: Callable[[], Any], rounds: int) -> float:
    """Median seconds; a round goes before, uncounted."""
    action()
    return statistics.median(_seconds(action) for _ in range(rounds))


def _seconds(action: Callable[[], Any]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def extra_memory_mb(case: str, *arguments: str) -> float:
    """Peak resident memory of ``python -m benchmarks.memory CASE`` above what it held before the measured call, MB."""
    command = [sys.executable, "-m", "benchmarks.memory", case, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def resident_mb(kind: str = "VmRSS") -> float:
    """VmRSS (now) or VmHWM (peak) of this process in MB; Linux only."""
    match = re.search(rf"{kind}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert match is not None
    return int(match[1]) / 1024


def machine() -> dict[str, Any]:
    """What the figures were made on."""
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return {
        "processor": model[1] if model else platform.processor(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "date": time.strftime("%Y-%m-%d"),
    }


def write(results: list[Result], out: Path) -> str:
    """OUT.json and OUT.md; returns the table."""
    about = machine()
    out.parent.mkdir(parents=True, exist_ok=True)
    out.with_suffix(".json").write_text(
        json.dumps({"machine": about, "results": [asdict(r) for r in results]}, indent=1, ensure_ascii=False) + "\n"
    )
    lines = [
        f"{about['processor']}, {about['threads']} threads, torch {about['torch']}, {about['date']}; medians.",
        "",
        "| what | ours | plain | ratio | extra MB, ours | plain | to reach |",
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
