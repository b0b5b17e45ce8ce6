"""Host names, token, rate, size and number of requests."""

from __future__ import annotations

import asyncio
import threading

import httpx
import pytest

from crossrec.errors import ConfigError
from crossrec.serving import ServeConfig, create_app
from crossrec.serving.middleware import AccessMiddleware, RateLimiter
from crossrec.serving.service import RecommendationService

from .worlds import ITEM_IDS, USER_IDS, error_of

TOKEN = "correct horse battery staple"
USER = USER_IDS[3]
BEARER = {"authorization": f"Bearer {TOKEN}"}


def test_addresses_that_others_can_reach_need_a_token(served_runs):
    for host in ("0.0.0.0", "::", "192.168.1.5", "shop.example"):
        with pytest.raises(ConfigError, match=r"--host .*token.*CROSSREC_TOKEN"):
            create_app(served_runs, ServeConfig(host=host))
        create_app(served_runs, ServeConfig(host=host, token=TOKEN))
    for host in ("127.0.0.1", "127.9.9.9", "::1", "localhost"):
        create_app(served_runs, ServeConfig(host=host))


def test_requests_without_the_token_are_refused(client_of):
    client = client_of(token=TOKEN)
    wrong = (TOKEN, f"Bearer {TOKEN}x", "Bearer ", f"Basic {TOKEN}", f"Token {TOKEN}", f"Bearer{TOKEN}", f" {TOKEN}")
    for headers in ({}, *({"authorization": value} for value in wrong)):
        for answer in (
            client.get("/v1/runs", headers=headers),
            client.get("/v1/health", headers=headers),
            client.get("/v1/picture", params={"item": ITEM_IDS[1]}, headers=headers),
            client.post("/v1/recommend", json={"user": USER}, headers=headers),
        ):
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"] == "Bearer"
            assert TOKEN not in error_of(answer)
    for scheme in ("Bearer", "bearer"):
        headers = {"authorization": f"{scheme} {TOKEN}"}
        assert client.post("/v1/recommend", json={"user": USER}, headers=headers).status_code == 200
    for path in ("/", "/static/app.js", "/v1/health/live", "/v1/health/ready", "/v1/openapi.json"):
        assert client.get(path).status_code == 200


@pytest.mark.parametrize("token", ["short", "x" * 15, "ü" * 20, "new\nline" * 4])
def test_weak_tokens_are_refused(token):
    with pytest.raises(ConfigError, match="16 printable"):
        ServeConfig.parse({"token": token})


@pytest.mark.parametrize(
    ("host", "status"),
    [
        *(("localhost:8000", 200), ("127.0.0.1", 200), ("[::1]:8000", 200), ("LOCALHOST", 200), ("shop.example", 200)),
        *(("evil.example", 421), ("localhost.evil.example", 421), ("", 421), ("[", 421), ("127.0.0.1.evil", 421)),
    ],
)
def test_other_host_names_are_refused(client_of, host, status):
    for path in ("/v1/health/live", "/v1/users", "/"):
        answer = client_of(hosts=("Shop.example",)).get(path, headers={"host": host})
        assert answer.status_code == status
        if host != "shop.example":
            assert client_of().get(path, headers={"host": host}).status_code == status, "without --hosts too"
    if status == 421:
        assert client_of().post("/v1/recommend", json={"user": USER}, headers={"host": host}).status_code == 421


def test_too_large_requests_are_refused(client_of):
    client = client_of(max_body=2000)
    small = {"user": USER, "deny": ITEM_IDS[:5]}
    assert client.post("/v1/recommend", json=small).status_code == 200
    answer = client.post("/v1/recommend", json={"user": USER, "deny": ITEM_IDS * 5})
    assert answer.status_code == 413
    assert "2000 bytes" in error_of(answer)

    def chunks():  # sent without a content-length
        yield from [b'{"user": "' + b"x" * 500] * 9

    assert client.post("/v1/recommend", content=chunks()).status_code == 413


def test_the_rate_limiter_counts_per_client(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("crossrec.serving.middleware.monotonic", lambda: now[0])
    monkeypatch.setattr("crossrec.serving.middleware.MAX_CLIENTS", 2)
    limiter = RateLimiter(2.0)
    assert [limiter.wait("a") for _ in range(4)] == [0, 0, 0, 0]
    assert limiter.wait("a") == pytest.approx(0.5)
    assert limiter.wait("b") == 0
    now[0] = 0.5
    assert limiter.wait("a") == 0
    assert limiter.wait("a") > 0
    now[0] = 1e6
    assert [limiter.wait("a") == 0 for _ in range(5)] == [True] * 4 + [False]
    assert limiter.wait("c") == 0  # forgets the client that was away for longest, not one above its rate
    assert limiter.wait("a") > 0
    assert not any(RateLimiter(0).wait("a") for _ in range(1000))


def test_above_the_rate_retry_after_says_when(client_of):
    client = client_of(rate=0.25)
    answers = [client.get("/v1/runs") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 429, 429]
    assert 1 <= int(answers[1].headers["retry-after"]) <= 4
    error_of(answers[1])
    for _ in range(5):
        for path in ("live", "ready"):
            assert client.get(f"/v1/health/{path}").status_code == 200, "probes are not limited"
    assert client.get("/v1/health").status_code == 429


def test_above_the_limit_of_active_requests_status_503(served_runs, monkeypatch):
    go, recommend = threading.Event(), RecommendationService.recommend

    def slow(self, requests):
        assert go.wait(30)
        return recommend(self, requests)

    monkeypatch.setattr(RecommendationService, "recommend", slow)
    app = create_app(served_runs, ServeConfig(rate=0, waiting=3, threads=1))

    async def crowd() -> tuple[list[httpx.Response], httpx.Response, httpx.Response]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            requests = [asyncio.create_task(client.post("/v1/recommend", json={"user": USER})) for _ in range(8)]
            await asyncio.wait(requests[3:], timeout=30)
            ready, live = await client.get("/v1/health/ready"), await client.get("/v1/health/live")
            go.set()
            return await asyncio.gather(*requests), ready, live

    answers, ready, live = asyncio.run(crowd())
    assert sorted(answer.status_code for answer in answers) == [200] * 3 + [503] * 5
    assert {answer.headers["retry-after"] for answer in answers if answer.status_code == 503} == {"1"}
    assert (ready.status_code, ready.json(), live.status_code) == (503, {"ready": False}, 200)
    assert app.active_requests == 0


def test_a_request_that_never_arrives_gets_status_408(monkeypatch):
    monkeypatch.setattr("crossrec.serving.middleware.BODY_TIMEOUT", 0.05)
    sent = []

    async def request() -> None:
        async def receive():
            await asyncio.sleep(5)

        async def send(message):
            sent.append(message)

        scope = {"type": "http", "path": "/v1/recommend", "headers": [(b"host", b"localhost")], "client": ("a", 1)}
        app = AccessMiddleware(None, ServeConfig())
        await app(scope, receive, send)
        assert app.active_requests == 0

    asyncio.run(request())
    assert sent[0]["status"] == 408
