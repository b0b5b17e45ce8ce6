"""Who may ask, how much, how often; what is said to the others; and that nobody is told where files lie."""

from __future__ import annotations

import asyncio
import json
import resource
import socket
import threading

import httpx
import pytest
from starlette.testclient import TestClient

from crossrec.errors import ConfigError
from crossrec.serving import ServeConfig, Slot, connection, create_app
from crossrec.serving.images import Pictures, read_picture
from crossrec.serving.middleware import Buckets, Guard
from crossrec.serving.service import Answers

from .worlds import EVIL, ITEM_IDS, RAW, USER_IDS, a_png, a_run, served, some_pictures

TOKEN = "correct horse battery staple"
SOMEBODY = USER_IDS[3]
BEARER = {"authorization": f"Bearer {TOKEN}"}


def error_of(answer: httpx.Response) -> str:
    """The message of an error, which is one short line of JSON."""
    assert answer.headers["content-type"] == "application/json"
    told = answer.json()
    assert list(told) == ["error"]
    assert 0 < len(told["error"]) <= 300
    assert "\n" not in told["error"]
    return told["error"]


MISTAKES = {
    "user": ("recommend", {"user": "nobody"}, 404, "user 'nobody' is none of the 30 users"),
    "user of another kind": ("recommend", {"user": 3}, 404, "user 3 is none"),
    "yes as a user": ("recommend", {"user": True}, 422, "user"),
    "no user": ("recommend", {}, 422, "user: Field required"),
    "k of 0": ("recommend", {"user": SOMEBODY, "k": 0}, 422, "k: "),
    "k too large": ("recommend", {"user": SOMEBODY, "k": 51}, 422, "k: at most 50"),
    "k as a word": ("recommend", {"user": SOMEBODY, "k": "many"}, 422, "k: "),
    "unknown field": ("recommend", {"user": SOMEBODY, "kk": 3}, 422, "kk: "),
    "run": ("recommend", {"user": SOMEBODY, "run": 3}, 404, "no run 3: this service has 2"),
    "allow": ("recommend", {"user": SOMEBODY, "allow": ["x"]}, 422, "item 'x' is none of the 40 items"),
    "too much denied": ("recommend", {"user": SOMEBODY, "deny": ITEM_IDS[:21]}, 422, "deny: at most 20 ids"),
    "category": (
        "recommend",
        {"user": SOMEBODY, "category": ["teas"]},
        422,
        "no item of category 'teas'; did you mean",
    ),
    "history": ("recommend/history", {"items": []}, 422, "items: "),
    "unknown history": ("recommend/history", {"items": ["x"]}, 404, "item 'x'"),
    "long history": ("recommend/history", {"items": ITEM_IDS[:1] * 21}, 422, "items: at most 20 ids"),
    "how": ("recommend/history", {"items": ITEM_IDS[:2], "how": "magic"}, 422, "how: "),
    "item": ("similar", {"item": "x"}, 404, "item 'x'"),
    "by": ("similar", {"item": ITEM_IDS[0], "by": "smell"}, 422, "no similarity by 'smell': this run has behaviour"),
    "both": ("explain", {"user": SOMEBODY, "history": ITEM_IDS[:1], "item": ITEM_IDS[0]}, 422, "give one of them"),
    "neither": ("explain", {"item": ITEM_IDS[0]}, 422, "give one of them"),
    "item to explain": ("explain", {"user": SOMEBODY, "item": "x"}, 404, "item 'x'"),
    "modality": ("new-item", {"features": {"smell": [1.0]}}, 422, "unknown modality 'smell'"),
    "no features": ("new-item", {"features": {}}, 422, "features: "),
    "width": ("new-item", {"features": {"text": [1.0]}}, 422, "1 numbers an item, the run was trained with 3"),
    "words as numbers": ("new-item", {"features": {"text": ["a", "b", "c"]}}, 422, "features.text.0: "),
    "too large a number": ("new-item", {"features": {"text": [1e300, 0, 0]}}, 422, "not finite"),
    "no aligners": ("new-item", {"features": {"text": [1, 2, 3]}, "how": "aligned"}, 422, "item-level alignment"),
}


@pytest.mark.parametrize(("path", "body", "status", "told"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_told_in_one_line(client_of, path, body, status, told):
    answer = client_of(max_k=50, max_ids=20).post(f"/v1/{path}", json=body)
    assert answer.status_code == status
    assert told in error_of(answer)


RAW_BODIES = {
    "no JSON": (b"{user", 422),
    "not a number": (b'{"user": "ann/3", "k": NaN}', 422),
    "infinite feature": (b'{"features": {"text": [Infinity, 0, 0]}}', 422),
    "too large for a float": (b'{"user": 1e999}', 422),
    "digits without end": (b'{"user": ' + b"9" * 6000 + b"}", 400),
    "half a character": (b'{"user": "\\ud800"}', 422),
    "deep": (b'{"user": ' + b"[" * 50_000 + b"}", 400),
    "no text": (b"\xff\xfe\x00", 400),
    "nothing": (b"", 422),
}


@pytest.mark.parametrize("path", ["recommend", "new-item"])
@pytest.mark.parametrize(("body", "status"), RAW_BODIES.values(), ids=RAW_BODIES)
def test_bodies_that_make_no_sense(client, path, body, status):
    answer = client.post(f"/v1/{path}", content=body, headers={"content-type": "application/json"})
    assert answer.status_code in (status, 422)
    error_of(answer)


def test_what_is_not_there(client):
    for method, path, status in (
        ("GET", "/v1/nothing", 404),
        ("GET", "/v1/recommend", 405),
        ("DELETE", "/v1/users", 405),
        ("GET", "/static/nothing.js", 404),
        ("GET", "/static/..%2fapp.py", 404),
        ("GET", "/docs", 404),
    ):
        answer = client.request(method, path)
        assert answer.status_code == status, path
        error_of(answer)


def test_no_reply_names_a_folder(client, shop, tmp_path_factory):
    where = str(tmp_path_factory.getbasetemp())
    answers = [client.post(f"/v1/{path}", json=body) for path, body, *_ in MISTAKES.values()]
    answers += [client.get(f"/v1/{path}") for path in ("runs", "health", "users", "items", "openapi.json")]
    answers += [client.get("/v1/item", params={"item": ITEM_IDS[0]}), client.get("/v1/user", params={"user": EVIL})]
    answers += [client.get("/"), client.get("/static/app.js")]
    assert where in str(shop)
    for answer in answers:
        assert where not in answer.text + str(answer.headers)
        assert "Traceback" not in answer.text


def test_what_goes_wrong_inside_stays_inside(client_of, monkeypatch, caplog):
    def broken(*_):
        raise RuntimeError("secret of /a/folder")

    monkeypatch.setattr(Answers, "users", broken)
    answer = client_of().get("/v1/users")
    assert answer.status_code == 500
    assert "secret" not in error_of(answer)
    assert "secret of /a/folder" in caplog.text


def test_headers_keep_a_browser_from_trusting_anything(client):
    for path in ("/", "/static/app.js", "/v1/health", "/v1/nothing"):
        headers = client.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert "server" not in headers
        assert headers["cache-control"] == ("no-cache" if path in ("/", "/static/app.js") else "no-store")


def test_the_page_is_sent_once(client):
    first = client.get("/static/app.js")
    again = client.get("/static/app.js", headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_no_start_for_others_without_a_token(slots):
    for host in ("0.0.0.0", "::", "192.168.1.5", "shop.example"):
        with pytest.raises(ConfigError, match=r"--host .*token.*CROSSREC_TOKEN"):
            create_app(slots, ServeConfig(host=host))
        create_app(slots, ServeConfig(host=host, token=TOKEN))
    for host in ("127.0.0.1", "127.9.9.9", "::1", "localhost"):
        create_app(slots, ServeConfig(host=host))


def test_a_token_is_asked_for(client_of):
    client = client_of(token=TOKEN)
    for headers in ({}, {"authorization": TOKEN}, {"authorization": f"Bearer {TOKEN}x"}, {"authorization": "Bearer "}):
        for answer in (
            client.get("/v1/runs", headers=headers),
            client.get("/v1/health", headers=headers),
            client.get("/v1/picture", params={"item": ITEM_IDS[1]}, headers=headers),
            client.post("/v1/recommend", json={"user": SOMEBODY}, headers=headers),
        ):
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"] == "Bearer"
            assert TOKEN not in error_of(answer)
    assert client.post("/v1/recommend", json={"user": SOMEBODY}, headers=BEARER).status_code == 200
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
def test_a_page_elsewhere_cannot_point_its_name_here(client_of, host, status):
    answer = client_of(hosts=("Shop.example",)).get("/v1/health/live", headers={"host": host})
    assert answer.status_code == status


def test_a_request_that_is_too_large(client_of):
    client = client_of(max_body=2000)
    small = {"user": SOMEBODY, "deny": ITEM_IDS[:5]}
    assert client.post("/v1/recommend", json=small).status_code == 200
    answer = client.post("/v1/recommend", json={"user": SOMEBODY, "deny": ITEM_IDS * 5})
    assert answer.status_code == 413
    assert "2000 bytes" in error_of(answer)

    def chunks():  # no length told beforehand
        yield from [b'{"user": "' + b"x" * 500] * 9

    assert client.post("/v1/recommend", content=chunks()).status_code == 413


def test_a_bucket_fills_and_empties():
    now = [0.0]
    buckets = Buckets(2.0, lambda: now[0], most=2)
    assert [buckets.wait("a") for _ in range(4)] == [0, 0, 0, 0]
    assert buckets.wait("a") == pytest.approx(0.5)
    assert buckets.wait("b") == 0
    now[0] = 0.5
    assert buckets.wait("a") == 0
    assert buckets.wait("a") > 0
    now[0] = 1e6
    assert [buckets.wait("a") == 0 for _ in range(5)] == [True] * 4 + [False]
    assert buckets.wait("c") == 0  # forgets whoever has not come for longest, not those who are over their rate
    assert buckets.wait("a") > 0
    assert not any(Buckets(0).wait("a") for _ in range(1000))


def test_whoever_asks_too_often_is_told_when_to_come_again(client_of):
    client = client_of(rate=0.25)
    answers = [client.get("/v1/runs") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 429, 429]
    assert 1 <= int(answers[1].headers["retry-after"]) <= 4
    error_of(answers[1])


def test_what_is_too_much_at_once_is_sent_away_and_the_rest_answered(slots, monkeypatch):
    go, answered = threading.Event(), Answers.recommended

    def slow(self, asked):
        assert go.wait(30)
        return answered(self, asked)

    monkeypatch.setattr(Answers, "recommended", slow)
    guard = create_app(slots, ServeConfig(rate=0, waiting=3, threads=1))

    async def crowd() -> tuple[list[httpx.Response], httpx.Response, httpx.Response]:
        transport = httpx.ASGITransport(guard)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            asked = [asyncio.create_task(client.post("/v1/recommend", json={"user": SOMEBODY})) for _ in range(8)]
            await asyncio.wait(asked[3:], timeout=30)
            ready, live = await client.get("/v1/health/ready"), await client.get("/v1/health/live")
            go.set()
            return await asyncio.gather(*asked), ready, live

    answers, ready, live = asyncio.run(crowd())
    assert sorted(answer.status_code for answer in answers) == [200] * 3 + [503] * 5
    assert {answer.headers["retry-after"] for answer in answers if answer.status_code == 503} == {"1"}
    assert (ready.status_code, ready.json(), live.status_code) == (503, {"ready": False}, 200)
    assert guard.busy == 0


def test_a_request_that_never_ends_is_let_go(monkeypatch):
    monkeypatch.setattr("crossrec.serving.middleware.SECONDS", 0.05)
    sent = []

    async def ask() -> None:
        async def receive():
            await asyncio.sleep(5)

        async def send(message):
            sent.append(message)

        scope = {"type": "http", "path": "/v1/recommend", "headers": [(b"host", b"localhost")], "client": ("a", 1)}
        guard = Guard(None, ServeConfig())
        await guard(scope, receive, send)
        assert guard.busy == 0

    asyncio.run(ask())
    assert sent[0]["status"] == 408


def test_silent_connections_are_let_go_and_too_many_sent_away(slots, monkeypatch):
    monkeypatch.setattr(connection, "SECONDS", 1.5)
    monkeypatch.setattr(connection, "MOST", 3)
    with served(slots) as address:
        port = int(address.split(":")[2].strip("/"))

        def connect() -> socket.socket:
            return socket.create_connection(("127.0.0.1", port), timeout=30)

        silent, slow, lively = connect(), connect(), connect()
        slow.sendall(b"GET /v1/health HTTP/1.1\r\nHost: ")
        with connect() as fourth:
            head, body = fourth.recv(1000).split(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 503 ")
        assert b"Retry-After: 10" in head
        assert "too many connections" in json.loads(body)["error"]
        lively.sendall(b"GET /v1/health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert lively.recv(15) == b"HTTP/1.1 200 OK"
        assert (silent.recv(10), slow.recv(10)) == (b"", b"")
        assert httpx.get(f"{address}v1/health/live").status_code == 200
        for one in (silent, slow, lively):
            one.close()


def test_there_are_files_left_for_what_is_not_a_connection(monkeypatch):
    for files, expected in ((256, 56), (100_000, 800), (resource.RLIM_INFINITY, 800), (50, 1)):
        monkeypatch.setattr(resource, "getrlimit", lambda _, files=files: (files, files))
        assert connection.most() == expected


def test_pictures_come_from_their_folder_only(tmp_path):
    folder = some_pictures(tmp_path / "pictures")
    (tmp_path / "secret.png").write_bytes(a_png(1, 2, 3))
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    (folder / "text.png").write_text("<script>alert(1)</script>")
    (folder / "page.svg").write_text("<svg/>")
    (folder / "id 7.png").write_bytes(a_png(9, 9, 9))
    (folder / "round.png").symlink_to("round.png")
    pictures = Pictures(folder)
    assert pictures.find("one.png", "") == folder / "one.png"
    assert pictures.find("folder/../one.png", "") == folder / "one.png"
    assert pictures.find(None, "id 7") == folder / "id 7.png"
    refused = ("../secret.png", str(tmp_path / "secret.png"), "link.png", "page.svg", "folder", "", "one.png\x00.png")
    for name in (*refused, "x" * 5000 + ".png", "round.png", "../pictures.png"):
        assert pictures.find(name or None, "../secret") is None, name[:50]
    found = pictures.find("text.png", "")
    assert found is not None
    assert read_picture(found) is None
    assert read_picture(folder / "one.png") == (a_png(255, 120, 0), "image/png")


def test_a_table_cannot_make_the_service_show_other_files(tmp_path):
    folder = some_pictures(tmp_path / "pictures")
    (tmp_path / "secret.png").write_bytes(a_png(1, 2, 3))
    lines = ["item,picture", f'"{ITEM_IDS[0]}",../secret.png', f'"{ITEM_IDS[1]}",one.png']
    (tmp_path / "items.csv").write_text("\n".join(lines))
    slot = Slot(a_run(tmp_path / "run"), tmp_path / "items.csv", folder)
    client = TestClient(create_app([slot], ServeConfig()), base_url="http://localhost")
    assert client.get("/v1/picture", params={"item": ITEM_IDS[0]}).status_code == 404
    assert client.get("/v1/picture", params={"item": ITEM_IDS[1]}).status_code == 200


def test_a_run_without_content_says_so(tmp_path):
    from dataclasses import replace

    from crossrec.runs.embeddings import EMBEDDINGS_FILE, TrainedEmbeddings

    run = a_run(tmp_path / "run")
    bare = replace(TrainedEmbeddings.load(run / EMBEDDINGS_FILE), modality_IL={}, content_encoders={}, aligners={})
    bare.save(run / EMBEDDINGS_FILE)
    client = TestClient(create_app([Slot(run)], ServeConfig()), base_url="http://localhost")
    answer = client.post("/v1/new-item", json={"features": {m: [1.0] for m in RAW}})
    assert answer.status_code == 422
    assert "knows no content" in error_of(answer)
    assert client.get("/v1/item", params={"item": ITEM_IDS[0]}).json()["views"] == ["behaviour"]
