"""Connections are counted, and get only so long to say what they want: none keeps others out by being silent."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

MOST = 800
"""Most connections at a time; a system that lets this process open fewer files sets the bound."""
SPARE = 200
"""Files that are kept for anything else."""
SECONDS = 10.0
"""Time for the head of a request to arrive."""
BODY = json.dumps({"error": "too many connections: come again later"})
BUSY = (
    "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 10\r\nConnection: close\r\n"
    f"Content-Length: {len(BODY)}\r\n\r\n{BODY}"
).encode()


def most() -> int:
    """Connections that are taken at a time."""
    try:
        import resource
    except ModuleNotFoundError:  # not a POSIX system
        return MOST
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST if files == resource.RLIM_INFINITY else min(MOST, max(files - SPARE, 1))


class Connection(H11Protocol):
    """uvicorn's HTTP/1.1, which by itself takes any number of connections and waits for ever for a request's head."""

    most = MOST
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        if len(self.connections) > self.most:
            transport.write(BUSY)
            transport.close()
        else:
            self._expect_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop()
        super().connection_lost(exc)

    def _expect_head(self) -> None:
        """Start the clock where a head is being waited for, stop it where none is."""
        if self.conn.their_state is not h11.IDLE:
            self._stop()
        elif self._timer is None:
            self._timer = self.loop.call_later(SECONDS, self._give_up)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _give_up(self) -> None:
        if self.conn.their_state is h11.IDLE and not self.transport.is_closing():
            self.transport.close()
