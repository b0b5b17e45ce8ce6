"""Requests a second of ``crossrec serve``, and its answers to malformed requests.

    python -m benchmarks.serving
    python -m benchmarks.serving --malformed 10000

The first serves random vectors, by default 10,000 users x 100,000 items x 64. The service runs in its own process; the
clients run in this one, on the same cores. A client sends its next request when its last one is answered. Every figure
is the median of --rounds rounds. Writes a run to a temporary folder and nothing else.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.datasets import random_vectors
from benchmarks.malformed import KINDS, UNFINISHED, requests
from crossrec.data.io.atomic import write_json_atomic
from crossrec.randomness import numpy_generator
from crossrec.runs.directory import seal
from crossrec.runs.embeddings import EMBEDDINGS_FILE

Make = Callable[[], bytes]
LENGTH = 20


def random_run(folder: Path, users: int, items: int, width: int) -> Path:
    """Write a run of random vectors. Returns its folder."""
    random_vectors(users, items, width).save(folder / EMBEDDINGS_FILE)
    for name, count in (("users", users), ("items", items)):
        pl.DataFrame({"index": np.arange(count), "id": np.arange(count)}).write_parquet(folder / f"{name}.parquet")
    write_json_atomic(folder / "config.json", {"identity": "random"})
    write_json_atomic(folder / "metrics.json", {})
    seal(folder)
    return folder


class Service:
    """A running ``crossrec serve`` on a free port. ``stderr_lines``: the lines that it has written."""

    def __init__(self, *arguments: object, environment: dict[str, str] | None = None) -> None:
        """Start it and wait until it accepts connections. Raises RuntimeError with its output if it ends instead."""
        command = [sys.executable, "-m", "crossrec", "serve", *map(str, arguments), "--port", "0"]
        self.process = subprocess.Popen(
            command, stderr=subprocess.PIPE, text=True, env={**os.environ, **(environment or {})}
        )
        self.stderr_lines: list[str] = []
        self.port = 0
        self._has_port_or_ended = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._has_port_or_ended.wait()
        if not self.port:
            raise RuntimeError("".join(self.stderr_lines))

    def _read(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as lines:
            for line in lines:
                self.stderr_lines.append(line)
                address = re.search(r" on http://\S+:(\d+)/", line)
                if address and not self.port:
                    self.port = int(address[1])
                    self._has_port_or_ended.set()
        self._has_port_or_ended.set()

    def stop(self) -> int:
        """Stop it. Returns its exit code."""
        self.process.terminate()
        code = self.process.wait(30)
        self._reader.join(10)
        return code

    def cpu_seconds(self) -> float:
        """Processor time so far; NaN on systems without /proc."""
        try:
            fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            return float("nan")
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def service(*arguments: object, environment: dict[str, str] | None = None) -> Iterator[Service]:
    """A service that is stopped at the end."""
    running = Service(*arguments, environment=environment)
    try:
        yield running
    finally:
        running.stop()


def as_post(path: str, body: object) -> bytes:
    content = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return head.encode() + f"Content-Length: {len(content)}\r\n\r\n".encode() + content


async def _client(port: int, make: Make, until: float, seconds: list[float], statuses: list[str]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while time.perf_counter() < until:
        started = time.perf_counter()
        writer.write(make())
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        await reader.readexactly(int(head.split(b"content-length:")[1].split(b"\r\n")[0]))
        seconds.append(time.perf_counter() - started)
        statuses.append(head[9:12].decode())
    writer.close()


@dataclass
class Load:
    """Figures of one round: requests a second, milliseconds, the service's processor time a request."""

    rate: float
    p50: float
    p99: float
    cpu: float
    statuses: Counter[str]


async def load(served: Service, make: Make, clients: int, length: float) -> Load:
    """Send requests for ``length`` seconds."""
    seconds: list[float] = []
    statuses: list[str] = []
    before, started = served.cpu_seconds(), time.perf_counter()
    until = started + length
    await asyncio.gather(*(_client(served.port, make, until, seconds, statuses) for _ in range(clients)))
    took, cpu = time.perf_counter() - started, served.cpu_seconds() - before
    p50, p99 = np.percentile(np.array(seconds) * 1e3, [50, 99]).tolist()
    return Load(len(seconds) / took, p50, p99, cpu / len(seconds) * 1e3, Counter(statuses))


async def send(port: int, raw: bytes, *, ends: bool, patience: float = 30.0) -> str:
    """Status of the answer; 'closed' if the connection ends without one. ``ends``: close the sending side."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(raw)
        if ends:
            writer.write_eof()
        head = await asyncio.wait_for(reader.read(100), patience)
    except OSError:
        head = b""
    finally:
        writer.close()
    return head[9:12].decode("latin-1") or "closed"


async def malformed(port: int, raw: Iterable[bytes], at_once: int = 8) -> Counter[tuple[str, str]]:
    """How often each kind of malformed request got each status."""
    status_counts: Counter[tuple[str, str]] = Counter()
    limit = asyncio.Semaphore(at_once)

    async def one(number: int, request: bytes) -> None:
        kind = KINDS[number % len(KINDS)]
        async with limit:
            status = await send(port, request, ends=kind in UNFINISHED)
        status_counts[kind.__name__, status] += 1

    await asyncio.gather(*(one(number, request) for number, request in enumerate(raw)))
    return status_counts


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving", description=__doc__)
    parser.add_argument("--users", type=int, default=10_000)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0, help="length of a round")
    parser.add_argument("--malformed", type=int, default=0, help="send so many malformed requests instead")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        run = random_run(Path(folder), options.users, options.items, options.width)
        with service(run, "--rate", 0) as served:
            return _send_malformed(served, options.malformed) if options.malformed else _send_loads(served, options)


def _send_loads(served: Service, options: argparse.Namespace) -> int:
    draw = numpy_generator(0, "requests")
    cases: dict[str, Make] = {
        "recommend": lambda: as_post("/v1/recommend", {"user": int(draw.integers(options.users)), "k": LENGTH}),
        "similar": lambda: as_post("/v1/similar", {"item": int(draw.integers(options.items)), "k": LENGTH}),
    }
    print(f"{options.users:,} users x {options.items:,} items x {options.width}, k = {LENGTH}, {os.cpu_count()} cores")
    print("| | clients | requests a second | p50 ms | p99 ms | service's CPU ms a request | answers |")
    print("| --- | --: | --: | --: | --: | --: | --- |")
    for name, make in cases.items():
        asyncio.run(load(served, make, 2, 0.5))  # the first requests are slower
        for clients in options.clients:
            rounds = [asyncio.run(load(served, make, clients, options.seconds)) for _ in range(options.rounds)]
            rate, p50, p99, cpu = (np.median([getattr(r, f) for r in rounds]) for f in ("rate", "p50", "p99", "cpu"))
            statuses = sum((r.statuses for r in rounds), Counter())
            summary = ", ".join(f"{status}: {count}" for status, count in sorted(statuses.items()))
            print(f"| {name} | {clients} | {rate:.0f} | {p50:.1f} | {p99:.1f} | {cpu:.2f} | {summary} |", flush=True)
    return 0


def _send_malformed(served: Service, count: int) -> int:
    status_counts = asyncio.run(malformed(served.port, requests(count)))
    for kind in KINDS:
        statuses = {status: n for (name, status), n in sorted(status_counts.items()) if name == kind.__name__}
        print(f"{kind.__name__}: " + ", ".join(f"{status} x {n}" for status, n in statuses.items()))
    bad = sum(n for (_, status), n in status_counts.items() if status.startswith("5"))
    running = served.process.poll() is None
    print(f"{status_counts.total()} requests, {bad} answered with 5xx; still running: {running}")
    return 1 if bad or not running else 0


if __name__ == "__main__":
    sys.exit(main())
