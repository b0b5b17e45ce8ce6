"""The attacks on the service: malformed requests, and more clients than it holds."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter

from benchmarks.malformed import requests
from benchmarks.serving import Service, as_post, malformed, service
from benchmarks.torture.arena import Arena

BATCH = 600
CLIENTS = 2000
PATIENCE = 25.0
"""Seconds that a client waits for any answer."""


def hostile_requests(arena: Arena) -> None:
    """Send malformed requests. None is answered with 5xx, and the service answers a right one as before."""
    task, result = arena.tasks[0], arena.result
    with service(arena.world / "run", "--rate", 0) as served:
        before = asyncio.run(_ask(served, "u1"))
        while arena.has_time() or not result.trials:
            seed = arena.draw.randrange(2**31)
            for (kind, status), count in asyncio.run(malformed(served.port, requests(BATCH, seed))).items():
                result.trials += count
                result.outcomes[status] += count
                if status.startswith("5"):
                    arena.fail(task, f"{count} x {status} to {kind} of seed {seed}")
        if asyncio.run(_ask(served, "u1")) != before or served.process.poll() is not None:
            arena.fail(task, "the service does not answer as before")
    _check_written(arena, served)


def crowds(arena: Arena) -> None:
    """Let many clients call at once. Each gets an answer, or its connection is closed."""
    task, result = arena.tasks[0], arena.result
    with service(arena.world / "run", "--rate", 0) as served:
        while arena.has_time() or not result.trials:
            answers = asyncio.run(_crowd(served.port, CLIENTS))
            result.trials += answers.total()
            result.outcomes += answers
            if answers["no answer"]:
                arena.fail(task, f"{answers['no answer']} of {CLIENTS} clients heard nothing for {PATIENCE:.0f} s")
    _check_written(arena, served)


def _check_written(arena: Arena, served: Service) -> None:
    if trace := [line for line in served.stderr_lines if "Traceback" in line]:
        arena.fail(arena.tasks[0], f"the service writes {trace[0]}")


async def _ask(served: Service, user: str) -> object:
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(as_post("/v1/recommend", {"user": user, "k": 5}))
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE)
    body = await reader.readexactly(int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0]))
    writer.close()
    return json.loads(body)


async def _crowd(port: int, clients: int) -> Counter[str]:
    request = as_post("/v1/recommend", {"user": "u1", "k": 5})

    async def call() -> str:
        try:
            async with asyncio.timeout(PATIENCE):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(request)
                head = await reader.read(100)
                writer.close()
            return head[9:12].decode() or "closed"
        except TimeoutError:
            return "no answer"
        except OSError:
            return "closed"

    started = time.monotonic()
    answers = Counter(await asyncio.gather(*(call() for _ in range(clients))))
    await asyncio.sleep(max(0.0, 0.5 - (time.monotonic() - started)))
    return answers
