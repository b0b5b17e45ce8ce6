"""ASGI middleware that limits access: host names, token, rate, size and number of requests."""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import math
from collections import OrderedDict
from collections.abc import Callable
from time import monotonic

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from crossrec.serving.config import ServeConfig

log = logging.getLogger("crossrec.serving")

PROBES = ("/v1/health/live", "/v1/health/ready")
"""Paths that are answered however many requests there are: who gets no answer from them starts the service again."""
NO_TOKEN_PATHS = (*PROBES, "/v1/openapi.json")
"""Paths of the API that need no token. The page's own files, which hold nothing of a run, need none either."""
METRICS_PATH = "/metrics"
"""Figures for Prometheus; they need the token, and are answered however busy the service is."""
HEALTH_PREFIX = "/v1/health"
"""Paths that are answered however busy the service is."""
BODY_TIMEOUT = 10.0
"""Seconds for the body of a request to arrive."""
MAX_CLIENTS = 10_000
"""Addresses to remember for the rate limit."""
HEADERS = [
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
        b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
]
"""Headers of every response."""


class RateLimiter:
    """Token bucket for each client: it fills at ``rate`` tokens a second up to ``2 · rate``; a request takes one."""

    def __init__(self, rate: float) -> None:
        self.rate, self.capacity = rate, max(2 * rate, 1.0)
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, client: str) -> float:
        """0 if a request may pass now, else the seconds until one may."""
        if not self.rate:
            return 0.0
        now = monotonic()
        tokens, updated = self._buckets.pop(client, (self.capacity, now))
        tokens = min(self.capacity, tokens + (now - updated) * self.rate)
        passes = tokens >= 1
        self._buckets[client] = (tokens - passes, now)
        if len(self._buckets) > MAX_CLIENTS:
            self._buckets.popitem(last=False)
        return 0.0 if passes else (1 - tokens) / self.rate


class AccessMiddleware:
    """Pass on the requests that ``config`` allows; refuse others with one line of JSON.

    ``active_requests``: number of requests in progress or waiting. ``observe``: called with path, status and seconds of
    every request that was answered.
    """

    def __init__(
        self, app: ASGIApp, config: ServeConfig, observe: Callable[[str, int, float], None] = lambda *_: None
    ) -> None:
        self.app, self.config, self.observe = app, config, observe
        self.active_requests = 0
        self._rate_limiter = RateLimiter(config.rate)
        self._token = None if config.token is None else config.token.encode()
        self._hosts = {"localhost", "127.0.0.1", "::1", config.host.lower(), *(name.lower() for name in config.hosts)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        started = monotonic()

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                self.observe(scope["path"], message["status"], monotonic() - started)
                names = {name.lower() for name, _ in message["headers"]}
                cache = [] if b"cache-control" in names else [(b"cache-control", b"no-store")]
                message = {**message, "headers": [*message["headers"], *cache, *HEADERS]}
            await send(message)

        try:
            await self._handle(scope, receive, send_with_headers)
        except HTTPException as error:
            body = json.dumps({"error": error.detail})
            response = Response(body, error.status_code, error.headers, "application/json")
            await response(scope, receive, send_with_headers)
        except Exception:  # the application has sent status 500
            log.exception("%r: failed", scope["path"])

    async def _handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {name.lower(): value for name, value in scope["headers"]}
        self._check_host(headers)
        path = scope["path"]
        wait = 0.0 if path in PROBES else self._rate_limiter.wait((scope.get("client") or ("",))[0])
        if wait:
            raise HTTPException(429, "too many requests: come again later", {"retry-after": str(math.ceil(wait))})
        is_api = path.startswith("/v1/") or path == METRICS_PATH
        if is_api and path not in NO_TOKEN_PATHS:
            self._check_token(headers)
        if not is_api or path.startswith(HEALTH_PREFIX) or path == METRICS_PATH:
            await self.app(scope, receive, send)
            return
        if self.active_requests >= self.config.waiting:
            raise HTTPException(503, "busy: come again in a second", {"retry-after": "1"})
        self.active_requests += 1
        try:
            body = await self._read_body(headers, scope, receive)
            await self.app(scope, _replay(body, receive), send)
        finally:
            self.active_requests -= 1

    def _check_host(self, headers: dict[bytes, bytes]) -> None:
        """Refuse other host names where no token protects the service, against DNS rebinding."""
        if not self.config.loopback and not self.config.hosts:
            return
        host = headers.get(b"host", b"").decode("latin-1").lower()
        name = host[1 : host.find("]")] if host.startswith("[") else host.split(":")[0]
        if name not in self._hosts:
            raise HTTPException(
                421, "not a name of this service: call it by its address, or start it with --hosts NAME"
            )

    def _check_token(self, headers: dict[bytes, bytes]) -> None:
        if self._token is None:
            return
        scheme, _, token = headers.get(b"authorization", b"").partition(b" ")
        if not hmac.compare_digest(token.strip(), self._token) or scheme.lower() != b"bearer":
            raise HTTPException(401, "a token is needed: Authorization: Bearer TOKEN", {"www-authenticate": "Bearer"})

    async def _read_body(self, headers: dict[bytes, bytes], scope: Scope, receive: Receive) -> bytes:
        max_body = self.config.max_body
        too_large = HTTPException(413, f"too large: a request has at most {max_body} bytes", {"connection": "close"})
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or len(length) > 12 or int(length) > max_body:
            raise too_large
        body = bytearray()
        try:
            async with asyncio.timeout(BODY_TIMEOUT):
                async for part in Request(scope, receive).stream():
                    body += part
                    if len(body) > max_body:
                        raise too_large
            return bytes(body)
        except ClientDisconnect:
            raise HTTPException(400, "the request ended early") from None
        except TimeoutError:
            raise HTTPException(408, "the request took too long to arrive", {"connection": "close"}) from None


def _replay(body: bytes, receive: Receive) -> Receive:
    """A channel that delivers the whole body at once, and then what ``receive`` delivers."""
    request = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def replay() -> Message:
        return next(request, None) or await receive()

    return replay
