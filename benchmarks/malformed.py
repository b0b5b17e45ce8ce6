"""Malformed HTTP requests, drawn from one seed, as bytes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import numpy as np

from crossrec.randomness import numpy_generator

POSTS = ("/v1/recommend", "/v1/recommend/history", "/v1/similar", "/v1/explain", "/v1/new-item")
GETS = (
    "/v1/users",
    "/v1/items",
    "/v1/user",
    "/v1/item",
    "/v1/picture",
    "/v1/runs",
    "/v1/health",
    "/",
    "/static/app.js",
)
FIELDS = (
    *("user", "item", "items", "history", "k", "run", "allow", "deny", "category", "exclude_seen", "how", "by"),
    *("features", "search", "offset", "limit", "__class__", ""),
)
STRANGE = (
    *("", " ", "0", "-1", "1e999", "999999999999999999999999", "../../etc/passwd", "..%2f..%2fetc%2fpasswd", "%00"),
    *("\x00", "\ud800", "<script>alert(1)</script>", "' OR 1=1 --", "{{7*7}}", "None", "nan", "ü" * 300, "x" * 2000),
)
NUMBERS = ("0", "-1", "1e400", "-1e400", "NaN", "Infinity", "-Infinity", "9" * 400, "9" * 5000, "1e-400", "2.5", "-0")
METHODS = ("PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE", "CONNECT", "GET", "POST", "BREW")
Draw = np.random.Generator


def requests(count: int, seed: int = 0) -> Iterator[bytes]:
    """``count`` requests, each kind in turn."""
    draw = numpy_generator(seed, "malformed requests")
    for n in range(count):
        yield KINDS[n % len(KINDS)](draw)


def _pick(draw: Draw, of: tuple[str, ...]) -> str:
    return of[int(draw.integers(len(of)))]


def _post(path: str, body: bytes, *, method: str = "POST", kind: str = "application/json", more: str = "") -> bytes:
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n{more}"
    )
    return head.encode("latin-1", "replace") + b"Connection: close\r\n\r\n" + body


def _get(target: bytes, *, method: str = "GET", more: bytes = b"Host: localhost\r\n") -> bytes:
    return method.encode() + b" " + target + b" HTTP/1.1\r\n" + more + b"Connection: close\r\n\r\n"


def _noise(draw: Draw, most: int = 400) -> bytes:
    return draw.integers(0, 256, int(draw.integers(1, most)), dtype=np.uint8).tobytes()


def _value(draw: Draw, depth: int = 0) -> str:
    """Random JSON, sometimes invalid."""
    kind = int(draw.integers(7 if depth < 3 else 4))
    if kind == 0:
        return _pick(draw, NUMBERS)
    if kind in (1, 2):
        return json.dumps(_pick(draw, STRANGE))
    if kind == 3:
        return _pick(draw, ("null", "true", "false", "5", "[]", "{}", '"5"'))
    inner = [_value(draw, depth + 1) for _ in range(int(draw.integers(4)))]
    if kind in (4, 5):
        return "[" + ",".join(inner) + "]"
    return "{" + ",".join(f"{json.dumps(_pick(draw, FIELDS))}:{one}" for one in inner) + "}"


def noise_as_body(draw: Draw) -> bytes:
    return _post(_pick(draw, POSTS), _noise(draw))


def wrong_fields(draw: Draw) -> bytes:
    fields = ",".join(f"{json.dumps(_pick(draw, FIELDS))}:{_value(draw)}" for _ in range(int(draw.integers(1, 6))))
    return _post(_pick(draw, POSTS), f"{{{fields}}}".encode())


def nearly_right(draw: Draw) -> bytes:
    """A request with one wrong field."""
    path = _pick(draw, POSTS)
    right = (
        {"user": "1", "item": "1"} if path == "/v1/explain" else {"item": "1"} if "similar" in path else {"user": "1"}
    )
    right |= {_pick(draw, FIELDS): _value(draw)}
    return _post(path, ("{" + ",".join(f"{json.dumps(k)}:{v}" for k, v in right.items()) + "}").encode())


def deep(draw: Draw) -> bytes:
    depth = int(draw.integers(100, 100_000))
    start, end = (b"[", b"]") if draw.integers(2) else (b'{"a":', b"}")
    return _post(_pick(draw, POSTS), b'{"user":' + start * depth + b"1" + end * depth * int(draw.integers(2)) + b"}")


def wrong_method(draw: Draw) -> bytes:
    return _post(_pick(draw, POSTS + GETS), b'{"user":1}', method=_pick(draw, METHODS))


def wrong_kind(draw: Draw) -> bytes:
    kind = _pick(
        draw, ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "x", "a/b;c")
    )
    return _post(_pick(draw, POSTS), b"user=1&k=3", kind=kind)


def strange_path(draw: Draw) -> bytes:
    paths = (
        *("/v1", "/v1/", "//v1/recommend", "/v1/../v1/runs", "/static/../app.py", "/static/%2e%2e%2fapp.py", "/%00"),
        *(
            "/static/",
            "/v2/recommend",
            "/v1/recommend/",
            "*",
            "/v1/health/live/x",
            "/static/..%5c..%5csecret",
            "/%ff%fe",
        ),
    )
    return _get(_pick(draw, paths).encode())


def strange_query(draw: Draw) -> bytes:
    words = "".join(f"%{byte:02x}" for byte in _pick(draw, STRANGE).encode("utf-8", "surrogatepass"))
    name, other = _pick(draw, FIELDS), _pick(draw, FIELDS)
    return _get(f"{_pick(draw, GETS)}?{name}={words}&{other}={_pick(draw, NUMBERS)}&{name}=%ff%c0".encode())


def long_url(draw: Draw) -> bytes:
    return _get(b"/v1/users?search=" + b"x" * int(draw.integers(1000, 60_000)))


def strange_head(draw: Draw) -> bytes:
    more = (
        *("Content-Length: -5", "Content-Length: 1, 2", "Transfer-Encoding: chunked", "Transfer-Encoding: gzip"),
        *("Host: evil.example", "Authorization: Bearer \xff\xfe", "Authorization: Basic", "Expect: 100-continue"),
        *("X: " + "y" * 20_000, "Accept-Encoding: \x01", "Upgrade: websocket", ": nameless", "Cookie: " + "a=b;" * 500),
        *("If-None-Match: " + "z" * 3000, "Range: bytes=5-1", "Content-Encoding: br", "no colon"),
    )
    return _post(_pick(draw, POSTS + GETS), b'{"user":1}', more=_pick(draw, more) + "\r\n")


def broken_chunks(draw: Draw) -> bytes:
    head = b"POST /v1/recommend HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return head + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n" + _noise(draw) + b"\r\n0\r\n\r\n"


def too_large(draw: Draw) -> bytes:
    announced = int(draw.integers(2**20 + 1, 2**62))
    head = f"POST {_pick(draw, POSTS)} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {announced}\r\n\r\n"
    return head.encode() + b"x" * 100


def cut_short(draw: Draw) -> bytes:
    request = _post(_pick(draw, POSTS), b'{"user": 1, "k": 5}')
    return request[: int(draw.integers(1, len(request)))]


def flipped(draw: Draw) -> bytes:
    request = bytearray(_post(_pick(draw, POSTS), b'{"user": 1, "item": 1, "k": 5, "items": [1]}'))
    for position in draw.integers(0, len(request), 4).tolist():
        request[position] = int(draw.integers(256))
    return bytes(request)


def no_http(draw: Draw) -> bytes:
    return _noise(draw) + b"\r\n\r\n"


KINDS: tuple[Callable[[Draw], bytes], ...] = (
    *(noise_as_body, wrong_fields, nearly_right, deep, wrong_method, wrong_kind, strange_path, strange_query),
    *(long_url, strange_head, broken_chunks, too_large, cut_short, flipped, no_http),
)
UNFINISHED = frozenset({strange_head, broken_chunks, too_large, cut_short, flipped, no_http})
"""Kinds for which the service waits for more bytes unless the client closes its sending side."""
