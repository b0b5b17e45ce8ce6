"""Run the service: listening socket, run watcher, uvicorn and graceful shutdown."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Sequence

import torch
import uvicorn

from crossrec.errors import ConfigError
from crossrec.serving.app import create_app
from crossrec.serving.config import ServeConfig
from crossrec.serving.connection import SPARE_FILES, LimitedConnection, connection_limit
from crossrec.serving.hot_swap import RunWatcher, ServedRun
from crossrec.serving.middleware import AccessMiddleware

BACKLOG = SPARE_FILES // 5
"""Connections that may wait to be accepted. asyncio accepts up to this many at once, several times over before it
closes the first one above the limit, and each needs an open file."""
SHUTDOWN_SECONDS = 10
"""Time for requests in progress to finish when the service stops."""
MAX_HEAD_BYTES = 16 * 2**10
"""Size of the longest request line with its headers."""


def serve(runs: Sequence[ServedRun], config: ServeConfig, on_start: Callable[[str], None] = lambda _: None) -> None:
    """Serve until SIGTERM or Ctrl-C, then finish the requests in progress.

    ``on_start`` is called with the address once connections are accepted. Raises ConfigError if the address cannot be
    listened on, or needs a token.
    """
    config.check()
    torch.set_num_threads(1)  # each request is answered by one thread, several requests in parallel
    with listen(config) as listener, RunWatcher(runs, config.watch):
        server = uvicorn.Server(uvicorn_config(create_app(runs, config)))
        on_start(address(listener, config))
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
        backlog=BACKLOG,
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
        listener = socket.socket(*family)  # names TCP as its protocol, so that asyncio sets TCP_NODELAY
        if os.name == "posix":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(socket_address)
        listener.listen(BACKLOG)
        return listener
    except OSError as error:
        if listener is not None:
            listener.close()
        raise ConfigError(
            f"--host {config.host} --port {config.port}: cannot be listened on ({error.strerror or error}); "
            "give another --port, or 0 for any that is free"
        ) from None


def address(listener: socket.socket, config: ServeConfig) -> str:
    """The URL of the page."""
    host = f"[{config.host}]" if ":" in config.host else config.host
    return f"http://{host}:{listener.getsockname()[1]}/"
