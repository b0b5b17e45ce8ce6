"""Run the service with uvicorn, with limits on connections and a graceful shutdown."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import h11
import torch
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from crossrec.errors import ConfigError
from crossrec.serving.app import create_app
from crossrec.serving.config import ServeConfig
from crossrec.serving.hot_swap import ServedRun, watch
from crossrec.serving.middleware import AccessMiddleware

MAX_CONNECTIONS = 800
"""Most connections at a time; fewer if the system limits the open files of this process."""
SPARE_FILES = 200
"""Open files that are reserved for everything else."""
HEAD_TIMEOUT = 10.0
"""Seconds for the head of a request to arrive."""


def _closing_response(status: str, error: str, *headers: str) -> bytes:
    body = json.dumps({"error": error})
    head = ("Content-Type: application/json", *headers, "Connection: close", f"Content-Length: {len(body)}")
    return "\r\n".join([f"HTTP/1.1 {status}", *head, "", body]).encode()


BUSY = _closing_response("503 Service Unavailable", "too many connections: come again later", "Retry-After: 10")
MALFORMED = _closing_response("400 Bad Request", "not valid HTTP")
ACCEPTED_AT_ONCE = SPARE_FILES // 5
"""asyncio accepts up to this many connections at once, several times over before it closes the first one above the
limit, and each needs an open file."""
BACKLOG = 4096
"""Connections that may wait to be accepted. Where more wait, the system ignores new ones, and their clients hear
nothing for many seconds."""
SHUTDOWN_SECONDS = 10
"""Time for requests in progress to finish when the service stops."""
REFUSED_SECONDS, MOST_REFUSED = 2.0, SPARE_FILES // 2
"""Time for a client to read that it is refused, and how many may do so at a time; further ones are cut off."""
MAX_HEAD_BYTES = 16 * 2**10
"""Size of the longest request line with its headers."""


def serve(runs: Sequence[ServedRun], config: ServeConfig, on_start: Callable[[str], None] = lambda _: None) -> None:
    """Serve until SIGTERM or Ctrl-C, then finish the requests in progress.

    ``on_start`` is called with the address once connections are accepted. Raises ConfigError if the address cannot be
    listened on, or needs a token.
    """
    torch.set_num_threads(1)  # each request is answered by one thread, several requests in parallel
    server = uvicorn.Server(uvicorn_config(create_app(runs, config)))
    with listen(config) as listener, watch(runs, config.watch):
        host = f"[{config.host}]" if ":" in config.host else config.host
        on_start(f"http://{host}:{listener.getsockname()[1]}/")
        try:
            server.run(sockets=[listener])
        except KeyboardInterrupt:  # raised again by uvicorn after a graceful shutdown
            return


def uvicorn_config(app: AccessMiddleware) -> uvicorn.Config:
    """Settings of uvicorn: HTTP/1.1 only, limited heads and connections, no server header."""
    LimitedConnection.limit = connection_limit()
    return uvicorn.Config(
        app,
        loop="asyncio",
        http=LimitedConnection,
        ws="none",
        h11_max_incomplete_event_size=MAX_HEAD_BYTES,
        backlog=ACCEPTED_AT_ONCE,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        proxy_headers=False,
        server_header=False,
        access_log=False,
        log_config=None,
    )


def listen(config: ServeConfig) -> socket.socket:
    """A listening socket. Raises ConfigError if the address is in use or not this machine's."""
    listener = None
    try:
        *family, _, socket_address = socket.getaddrinfo(config.host, config.port, type=socket.SOCK_STREAM)[0]
        listener = Listener(*family)  # names TCP as its protocol, so that asyncio sets TCP_NODELAY
        if os.name == "posix":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(socket_address)
        listener.listen()
        return listener
    except OSError as error:
        if listener is not None:
            listener.close()
        raise ConfigError(
            f"--host {config.host} --port {config.port}: cannot be listened on ({error.strerror or error}); "
            "give another --port, or 0 for any that is free"
        ) from None


class Listener(socket.socket):
    """A socket that lets ``BACKLOG`` connections wait, whatever asyncio asks for."""

    def listen(self, backlog: int = 0, /) -> None:
        super().listen(BACKLOG)


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
    refused: ClassVar[set[LimitedConnection]] = set()
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        if len(self.connections) > self.limit:
            self._refuse(transport)
        else:
            self._update_timer()

    def _refuse(self, transport: Any) -> None:
        """Answer that the service is busy, and wait a moment for the client to read it.

        A connection that is closed before its request is read is reset, and the client may never see the answer.
        """
        self.connections.discard(self)
        transport.write(BUSY)
        if len(self.refused) >= MOST_REFUSED:
            transport.close()
            return
        self.refused.add(self)
        transport.write_eof()
        self._timer = self.loop.call_later(REFUSED_SECONDS, transport.close)

    def data_received(self, data: bytes) -> None:
        if self in self.refused:
            return
        super().data_received(data)
        self._update_timer()

    def send_400_response(self, msg: str) -> None:
        """Refuse malformed HTTP with one line of JSON, unless another response is half sent."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self.transport.write(MALFORMED)
        self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        self.refused.discard(self)
        super().connection_lost(exc)

    def _update_timer(self) -> None:
        """Start the timer while waiting for a head, and stop it otherwise."""
        if self.conn.their_state is not h11.IDLE:
            self._stop_timer()
        elif self._timer is None:
            self._timer = self.loop.call_later(HEAD_TIMEOUT, self.transport.close)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
