"""What stands before every request: who may ask, how much, how often. Who may not is told in a line of JSON."""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import math
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from crossrec.serving.config import ServeConfig

log = logging.getLogger("crossrec.serving")
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

OPEN = ("/v1/health/live", "/v1/health/ready", "/v1/openapi.json")
"""What needs no token besides the page itself, which holds nothing of a run."""
PROBES = "/v1/health"
"""Answered however much is going on."""
SECONDS = 10.0
"""Time for a request to arrive."""
CLIENTS = 10_000
"""Addresses whose rate is remembered."""
HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}
RAW_HEADERS = [(name.encode(), value.encode()) for name, value in HEADERS.items()]


class Buckets:
    """A bucket of tokens for every client: filled at ``rate`` a second up to ``2 · rate``, one taken by a request."""

    def __init__(self, rate: float, clock: Callable[[], float] = time.monotonic, most: int = CLIENTS) -> None:
        self.rate, self.size, self._clock, self._most = rate, max(2 * rate, 1.0), clock, most
        self._level: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, client: str) -> float:
        """0 if the request may pass, else the seconds after which one may."""
        if not self.rate:
            return 0.0
        now = self._clock()
        level, then = self._level.pop(client, (self.size, now))
        level = min(self.size, level + (now - then) * self.rate)
        passed = level >= 1
        self._level[client] = (level - passed, now)
        if len(self._level) > self._most:
            self._level.popitem(last=False)
        return 0.0 if passed else (1 - level) / self.rate


class RefusedError(Exception):
    """A request that does not pass."""

    def __init__(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.headers = status, message, headers or {}


class Guard:
    """An ASGI application that lets through to another what ``config`` allows. ``busy``: requests being worked on."""

    def __init__(self, app: App, config: ServeConfig) -> None:
        self.app, self.config = app, config
        self.busy = 0
        self._buckets = Buckets(config.rate)
        self._token = None if config.token is None else config.token.encode()
        self._hosts = {"localhost", "127.0.0.1", "::1", config.host.lower(), *(name.lower() for name in config.hosts)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def guarded(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                names = {name.lower() for name, _ in message["headers"]}
                cache = [] if b"cache-control" in names else [(b"cache-control", b"no-store")]
                message = {**message, "headers": [*message["headers"], *cache, *RAW_HEADERS]}
            await send(message)

        try:
            await self._pass(scope, receive, guarded)
        except RefusedError as refusal:
            await tell(guarded, refusal.status, refusal.message, refusal.headers)
        except Exception:  # the application has answered
            log.exception("%r: failed", scope["path"])

    async def _pass(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {name.lower(): value for name, value in scope["headers"]}
        self._check_host(headers)
        wait = self._buckets.wait((scope.get("client") or ("",))[0])
        if wait:
            raise RefusedError(429, "too many requests: come again later", {"retry-after": str(math.ceil(wait))})
        path = scope["path"]
        if not path.startswith("/v1/"):
            await self.app(scope, receive, send)
            return
        if path not in OPEN:
            self._check_token(headers)
        if path.startswith(PROBES):
            await self.app(scope, receive, send)
            return
        if self.busy >= self.config.waiting:
            raise RefusedError(503, "busy: come again in a second", {"retry-after": "1"})
        self.busy += 1
        try:
            body = await self._body(headers, receive)
            await self.app(scope, _again(body, receive), send)
        finally:
            self.busy -= 1

    def _check_host(self, headers: dict[bytes, bytes]) -> None:
        """Names that an attacker's page could have pointed at this machine are refused where no token keeps it out."""
        if not self.config.loopback and not self.config.hosts:
            return
        host = headers.get(b"host", b"").decode("latin-1").lower()
        name = host[1 : host.find("]")] if host.startswith("[") else host.split(":")[0]
        if name not in self._hosts:
            raise RefusedError(421, "not a name of this service: call it by its address, or start it with --hosts NAME")

    def _check_token(self, headers: dict[bytes, bytes]) -> None:
        if self._token is None:
            return
        kind, _, given = headers.get(b"authorization", b"").partition(b" ")
        if not hmac.compare_digest(given.strip(), self._token) or kind.lower() != b"bearer":
            raise RefusedError(401, "a token is needed: Authorization: Bearer TOKEN", {"www-authenticate": "Bearer"})

    async def _body(self, headers: dict[bytes, bytes], receive: Receive) -> bytes:
        most = self.config.max_body
        too_large = RefusedError(413, f"too large: a request has at most {most} bytes", {"connection": "close"})
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or len(length) > 12 or int(length) > most:
            raise too_large
        parts: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(SECONDS):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise RefusedError(400, "the request ended early")
                    parts.append(message.get("body", b""))
                    size += len(parts[-1])
                    if size > most:
                        raise too_large
                    if not message.get("more_body", False):
                        return b"".join(parts)
        except TimeoutError:
            raise RefusedError(408, "the request took too long to arrive", {"connection": "close"}) from None


def _again(body: bytes, receive: Receive) -> Receive:
    """A channel that brings the whole body at once."""
    given = False

    async def again() -> MutableMapping[str, Any]:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


async def tell(send: Send, status: int, message: str, headers: dict[str, str]) -> None:
    """Send an error as JSON."""
    body = json.dumps({"error": short(message)}).encode()
    told = {"content-type": "application/json", "content-length": str(len(body)), **headers}
    raw = [(name.encode(), value.encode()) for name, value in told.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body})


def short(message: str) -> str:
    """One line of at most 300 characters, without what cannot be sent."""
    text = " ".join(message.split())
    text = text if len(text) <= 300 else text[:297] + "..."
    return text.encode("utf-8", "replace").decode()
