"""Check training on a GPU, in under six minutes and without a network.

    python -m benchmarks.gpu_check --out runs/gpu-check

Prints one table and writes it as OUT.md and OUT.json. Each check runs in a process of its own, for at most its share of
the time, so that one that fails, crashes or hangs does not end the others. Exit code 1 where one fails. ``--device cpu
--tiny`` tries the script itself on a machine without a GPU.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

from benchmarks.gpu_check.row import Row

NEEDED = ("torch", "numpy", "scipy", "pydantic", "polars", "cyclopts", "rich", "safetensors", "sparse_dot_topn")
CHECKS = {
    "numbers.products": 20,
    "numbers.golden": 90,
    "numbers.against_cpu": 45,
    "numbers.precision": 20,
    "numbers.resume": 20,
    "numbers.ranking": 20,
    "numbers.command": 60,
    "numbers.nccl": 20,
    "numbers.features": 20,
    "speed.rates": 30,
    "speed.trainings": 130,
    "speed.memory": 25,
}
"""Seconds that each check may take. Those of numbers run beside each other, then those of speed one by one."""
STARTING = 12
"""Seconds that a process may take besides, to load torch and to find the GPU."""
BESIDE = 4
"""Checks of numbers at a time."""
TOTAL = 355
"""Seconds for all."""


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", help="cuda or cpu")
    parser.add_argument("--tiny", action="store_true", help="small sizes and few cells, to try the script")
    names = ", ".join(CHECKS)
    parser.add_argument("--only", nargs="+", choices=CHECKS, default=list(CHECKS), metavar="CHECK", help=names)
    parser.add_argument("--out", type=Path, default=Path("runs/gpu-check"))
    parser.add_argument("--rows", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        print(
            f"gpu-check needs {', '.join(missing)}: where there is a network, fetch them with 'pip download -d wheels "
            f"{' '.join(name.replace('_', '-') for name in missing)}', and here 'pip install --no-index -f wheels …'",
            file=sys.stderr,
        )
        return 2
    if arguments.rows is not None:
        return run_check(arguments)
    import torch

    if arguments.device.startswith("cuda") and not torch.cuda.is_available():
        print("gpu-check: torch finds no GPU here; --device cpu --tiny tries the script itself", file=sys.stderr)
        return 2
    started = time.monotonic()

    def start(name: str) -> list[Row]:
        left = TOTAL - (time.monotonic() - started)
        return start_check(name, arguments, min(CHECKS[name] + STARTING, left))

    numbers = [name for name in arguments.only if name.startswith("numbers.")]
    with ThreadPoolExecutor(BESIDE) as pool:
        rows = [row for part in pool.map(start, numbers) for row in part]
    rows += [row for name in arguments.only if name not in numbers for row in start(name)]
    table = written(rows, machine(arguments.device, time.monotonic() - started), arguments.out)
    print(table)
    return 1 if any(row.ok is False for row in rows) else 0


def run_check(arguments: argparse.Namespace) -> int:
    """Run one check in this process."""
    import torch

    from benchmarks.gpu_check import numbers, speed
    from benchmarks.gpu_check.common import Session

    (name,) = arguments.only
    device = torch.device("cuda", 0) if arguments.device == "cuda" else torch.device(arguments.device)
    module, _, function = name.partition(".")
    session = Session(device, arguments.tiny, arguments.rows, CHECKS[name])
    getattr({"numbers": numbers, "speed": speed}[module], function)(session)
    return 0


def start_check(name: str, arguments: argparse.Namespace, seconds: float) -> list[Row]:
    """The rows of a check, run in a process of its own; the last one says where that ended early."""
    if seconds < STARTING:
        return [Row(name, skipped="no time left")]
    print(f"{name} …", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        file, log = Path(folder) / "rows.jsonl", Path(folder) / "log"
        file.touch()
        command = [sys.executable, "-W", "ignore", "-m", "benchmarks.gpu_check", "--only", name, "--rows", str(file)]
        command += ["--device", arguments.device, *(["--tiny"] if arguments.tiny else [])]
        with log.open("wb") as output:
            process = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)
            try:
                code: int | None = process.wait(seconds)
            except subprocess.TimeoutExpired:
                code = None
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        rows = [Row(**json.loads(line)) for line in file.read_text().splitlines()]
        text = log.read_text(errors="replace").strip()
    if any(row.ok is False for row in rows) or code:
        print(text[-2000:], file=sys.stderr)
    if code is None:
        rows.append(Row(name, f"stopped after {seconds:.0f} s", "in time", ok=False))
    elif code:
        last = text.splitlines()[-1] if text else ""
        rows.append(Row(name, f"ended with code {code}: {last}"[:200], "", ok=False))
    return rows


def machine(device: str, seconds: float) -> dict[str, str]:
    """What the figures depend on."""
    import torch

    about = {"device": platform.processor() or platform.machine(), "torch": torch.__version__}
    if device.startswith("cuda"):
        properties = torch.cuda.get_device_properties(0)
        about["device"] = f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB"
        about["cuda"] = str(torch.version.cuda)
    about |= {"python": platform.python_version(), "date": time.strftime("%Y-%m-%d"), "seconds": f"{seconds:.0f}"}
    return about


def written(rows: list[Row], about: dict[str, str], out: Path) -> str:
    """Write OUT.json and OUT.md. Returns the table."""
    lines = [", ".join(f"{name} {value}" for name, value in about.items()), ""]
    lines += ["| check | result | value | bound |", "| :-- | :-- | :-- | :-- |"]
    for row in rows:
        value = (row.skipped or row.value).replace("|", "/")
        lines.append(f"| {row.check} | {row.result} | {value} | {row.bound} |")
    failed = sum(row.ok is False for row in rows)
    lines += ["", f"{failed} of {len(rows)} failed." if failed else f"{len(rows)} rows, none failed."]
    table = "\n".join(lines) + "\n"
    out.parent.mkdir(parents=True, exist_ok=True)
    Path(f"{out}.md").write_text(table)
    results = [{**asdict(row), "result": row.result} for row in rows]
    Path(f"{out}.json").write_text(json.dumps({"machine": about, "rows": results}, indent=1, ensure_ascii=False) + "\n")
    return table


if __name__ == "__main__":
    sys.exit(main())
