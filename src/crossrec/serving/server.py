"""Running the service: a socket, the watcher, uvicorn, and an end that lets go of nobody half way."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Sequence

import torch
import uvicorn

from crossrec.errors import ConfigError
from crossrec.serving.app import create_app
from crossrec.serving.config import ServeConfig
from crossrec.serving.connection import SPARE, Connection, most
from crossrec.serving.hot_swap import Slot, Watcher
from crossrec.serving.middleware import Guard

BACKLOG = SPARE // 5
"""Connections that may wait to be taken. asyncio takes so many at once, a few times over before the first is sent away
for being one too many, and there must be files for them."""
PATIENCE = 10
"""Seconds that requests have to end in when the service is told to stop."""
HEAD = 16 * 2**10
"""Bytes of the longest request line with its headers."""


def serve(slots: Sequence[Slot], config: ServeConfig, on_start: Callable[[str], None] = lambda _: None) -> None:
    """Serve until SIGTERM or Ctrl-C; requests that have begun are answered first.

    ``on_start`` is told the address once connections are taken. Raises ConfigError where the address cannot be
    listened on, or would need a token.
    """
    config.check()
    torch.set_num_threads(1)  # a question is answered by one thread, and several at a time
    with listen(config) as listener, Watcher(slots, config.watch):
        server = uvicorn.Server(uvicorn_config(create_app(slots, config)))
        on_start(address(listener, config))
        try:
            server.run(sockets=[listener])
        except KeyboardInterrupt:  # raised again by uvicorn, after a graceful end
            return


def uvicorn_config(app: Guard) -> uvicorn.Config:
    """How uvicorn is run: HTTP/1.1 alone, bounded heads and connections, nothing told about itself."""
    Connection.most = most()
    return uvicorn.Config(
        app,
        loop="asyncio",
        http=Connection,
        ws="none",
        h11_max_incomplete_event_size=HEAD,
        backlog=BACKLOG,
        timeout_graceful_shutdown=PATIENCE,
        proxy_headers=False,
        server_header=False,
        access_log=False,
        log_config=None,
    )


def listen(config: ServeConfig) -> socket.socket:
    """A socket that listens. Raises ConfigError where the address is taken or not this machine's."""
    listener = None
    try:
        *kind, _, place = socket.getaddrinfo(config.host, config.port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(*kind)  # says TCP, where asyncio then sends without waiting for acknowledgements
        if os.name == "posix":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(place)
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
    """Where the page is."""
    host = f"[{config.host}]" if ":" in config.host else config.host
    return f"http://{host}:{listener.getsockname()[1]}/"
