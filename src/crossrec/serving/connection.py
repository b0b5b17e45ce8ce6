"""HTTP connections with a limit on their number and a time limit for a request's head."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

MAX_CONNECTIONS = 800
"""Most connections at a time; fewer if the system limits the open files of this process."""
SPARE_FILES = 200
"""Open files that are reserved for everything else."""
HEAD_TIMEOUT = 10.0
"""Seconds for the head of a request to arrive."""
BODY = json.dumps({"error": "too many connections: come again later"})
BUSY = (
    "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 10\r\nConnection: close\r\n"
    f"Content-Length: {len(BODY)}\r\n\r\n{BODY}"
).encode()


def connection_limit() -> int:
    """Most connections at a time, given the limit on open files."""
    try:
        import resource
    except ModuleNotFoundError:  # not a POSIX system
        return MAX_CONNECTIONS
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MAX_CONNECTIONS if files == resource.RLIM_INFINITY else min(MAX_CONNECTIONS, max(files - SPARE_FILES, 1))


class LimitedConnection(H11Protocol):
    """HTTP/1.1 of uvicorn, which itself limits neither the connections nor the time for a request's head."""

    limit = MAX_CONNECTIONS
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        if len(self.connections) > self.limit:
            transport.write(BUSY)
            transport.close()
        else:
            self._update_timer()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._update_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def _update_timer(self) -> None:
        """Start the timer while waiting for a head, and stop it otherwise."""
        if self.conn.their_state is not h11.IDLE:
            self._stop_timer()
        elif self._timer is None:
            self._timer = self.loop.call_later(HEAD_TIMEOUT, self._close_if_idle)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _close_if_idle(self) -> None:
        if self.conn.their_state is h11.IDLE and not self.transport.is_closing():
            self.transport.close()
