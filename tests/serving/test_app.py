"""Errors are one line of JSON, and no response contains a file path; the files of the page."""

from __future__ import annotations

from collections import Counter

import pytest
from starlette.testclient import TestClient

from crossrec.serving import ServeConfig, ServedRun, create_app
from crossrec.serving.service import RecommendationService

from .worlds import ITEM_IDS, MARKUP, RAW, USER_IDS, error_of, png, write_pictures, write_run

USER = USER_IDS[3]


MISTAKES = {
    "user": ("recommend", {"user": "nobody"}, 404, "user 'nobody' is none of the 30 users"),
    "user of another kind": ("recommend", {"user": 3}, 404, "user 3 is none"),
    "yes as a user": ("recommend", {"user": True}, 422, "user"),
    "no user": ("recommend", {}, 422, "user: Field required"),
    "k of 0": ("recommend", {"user": USER, "k": 0}, 422, "k: "),
    "k too large": ("recommend", {"user": USER, "k": 51}, 422, "k: at most 50"),
    "k as a word": ("recommend", {"user": USER, "k": "many"}, 422, "k: "),
    "unknown field": ("recommend", {"user": USER, "kk": 3}, 422, "kk: "),
    "run": ("recommend", {"user": USER, "run": 3}, 404, "no run 3: this service has 2"),
    "allow": ("recommend", {"user": USER, "allow": ["x"]}, 422, "item 'x' is none of the 40 items"),
    "too much denied": ("recommend", {"user": USER, "deny": ITEM_IDS[:21]}, 422, "deny: at most 20 ids"),
    "too much allowed": ("recommend", {"user": USER, "allow": ITEM_IDS[:21]}, 422, "allow: at most 20 ids"),
    "too much allowed for a history": (
        "recommend/history",
        {"items": ITEM_IDS[:1], "allow": ITEM_IDS[:21]},
        422,
        "allow: at most 20 ids",
    ),
    "category": (
        "recommend",
        {"user": USER, "category": ["teas"]},
        422,
        "no item of category 'teas'; did you mean",
    ),
    "history": ("recommend/history", {"items": []}, 422, "items: "),
    "unknown history": ("recommend/history", {"items": ["x"]}, 404, "item 'x'"),
    "long history": ("recommend/history", {"items": ITEM_IDS[:1] * 21}, 422, "items: at most 20 ids"),
    "how": ("recommend/history", {"items": ITEM_IDS[:2], "how": "magic"}, 422, "how: "),
    "item": ("similar", {"item": "x"}, 404, "item 'x'"),
    "by": ("similar", {"item": ITEM_IDS[0], "by": "smell"}, 422, "no similarity by 'smell': this run has behaviour"),
    "both": ("explain", {"user": USER, "history": ITEM_IDS[:1], "item": ITEM_IDS[0]}, 422, "give one of them"),
    "neither": ("explain", {"item": ITEM_IDS[0]}, 422, "give one of them"),
    "long history to explain": (
        "explain",
        {"history": ITEM_IDS[:1] * 21, "item": ITEM_IDS[0]},
        422,
        "history: at most 20 ids",
    ),
    "item to explain": ("explain", {"user": USER, "item": "x"}, 404, "item 'x'"),
    "modality": ("new-item", {"features": {"smell": [1.0]}}, 422, "unknown modality 'smell'"),
    "no features": ("new-item", {"features": {}}, 422, "features: "),
    "width": ("new-item", {"features": {"text": [1.0]}}, 422, "1 numbers an item, the run was trained with 3"),
    "words as numbers": ("new-item", {"features": {"text": ["a", "b", "c"]}}, 422, "features.text.0: "),
    "too large a number": ("new-item", {"features": {"text": [1e300, 0, 0]}}, 422, "not finite"),
    "no aligners": ("new-item", {"features": {"text": [1, 2, 3]}, "how": "aligned"}, 422, "item-level alignment"),
}


@pytest.mark.parametrize(("path", "body", "status", "message"), MISTAKES.values(), ids=MISTAKES)
def test_an_invalid_request_gets_a_one_line_error(client_of, path, body, status, message):
    answer = client_of(max_k=50, max_ids=20).post(f"/v1/{path}", json=body)
    assert answer.status_code == status
    assert message in error_of(answer)


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
def test_malformed_bodies_are_refused(client, path, body, status):
    answer = client.post(f"/v1/{path}", content=body, headers={"content-type": "application/json"})
    assert answer.status_code in (status, 422)
    error_of(answer)


def test_unknown_paths_and_methods_are_refused(client):
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


def test_no_response_contains_a_file_path(client, shop, tmp_path_factory):
    folder = str(tmp_path_factory.getbasetemp())
    answers = [client.post(f"/v1/{path}", json=body) for path, body, *_ in MISTAKES.values()]
    answers += [client.get(f"/v1/{path}") for path in ("runs", "health", "users", "items", "openapi.json")]
    answers += [client.get("/v1/item", params={"item": ITEM_IDS[0]}), client.get("/v1/user", params={"user": MARKUP})]
    answers += [client.get("/"), client.get("/static/app.js")]
    assert folder in str(shop)
    for answer in answers:
        assert folder not in answer.text + str(answer.headers)
        assert "Traceback" not in answer.text


def test_every_status_is_in_the_openapi_description(client_of, monkeypatch):
    """Requests of all kinds, refused for all reasons."""
    paths = client_of().get("/v1/openapi.json").json()["paths"]
    statuses = Counter()

    def count(client: TestClient, method: str, path: str, **options) -> None:
        answer = client.request(method, f"/v1/{path}", **options)
        statuses[answer.status_code] += 1
        assert str(answer.status_code) in paths[f"/v1/{path}"][method.lower()]["responses"], (method, path, answer.text)

    limited, secret = client_of(max_k=50, max_ids=20, max_body=10_000), client_of(token="x" * 16)
    flooded = client_of(rate=1e-9)
    flooded.get("/v1/runs")  # the one request that it may have
    for path, body, *_ in MISTAKES.values():
        count(limited, "POST", path, json=body)
    for content, _ in RAW_BODIES.values():
        count(limited, "POST", "recommend", content=content, headers={"content-type": "application/json"})
    for client, options in (
        (client_of(), {}),
        (secret, {}),
        (flooded, {}),
        (client_of(), {"params": {"run": 3}}),
        (client_of(), {"params": {"run": "x", "limit": 1000}}),
        (client_of(), {"headers": {"host": "evil.example"}}),
    ):
        for path in ("users", "items", "user", "item", "picture", "runs", "health", "health/live", "health/ready"):
            count(client, "GET", path, **{"params": {"user": USER, "item": ITEM_IDS[0]}, **options})
    monkeypatch.setattr(RecommendationService, "search_users", lambda *_: 1 / 0)
    count(client_of(), "GET", "users")
    busy = client_of(waiting=1)
    busy.app.active_requests = 1
    for method, path in (("GET", "users"), ("GET", "health/ready"), ("POST", "recommend")):
        count(busy, method, path)
    assert set(statuses) == {200, 400, 401, 404, 413, 421, 422, 429, 500, 503}
    assert "408" in paths["/v1/recommend"]["post"]["responses"], "of a body that does not arrive"


def test_unexpected_errors_are_logged_but_not_sent(client_of, monkeypatch, caplog):
    def broken(*_):
        raise RuntimeError("secret of /a/folder")

    monkeypatch.setattr(RecommendationService, "search_users", broken)
    answer = client_of().get("/v1/users")
    assert answer.status_code == 500
    assert "secret" not in error_of(answer)
    assert "secret of /a/folder" in caplog.text


def test_security_headers(client):
    for path in ("/", "/static/app.js", "/v1/health", "/v1/nothing"):
        headers = client.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert "server" not in headers
        assert headers["cache-control"] == ("no-cache" if path in ("/", "/static/app.js") else "no-store")


def test_unchanged_files_of_the_page_get_status_304(client):
    first = client.get("/static/app.js")
    again = client.get("/static/app.js", headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_a_table_cannot_make_the_service_read_other_files(tmp_path):
    folder = write_pictures(tmp_path / "pictures")
    (tmp_path / "secret.png").write_bytes(png(1, 2, 3))
    lines = ["item,picture", f'"{ITEM_IDS[0]}",../secret.png', f'"{ITEM_IDS[1]}",one.png']
    (tmp_path / "items.csv").write_text("\n".join(lines))
    served_run = ServedRun(write_run(tmp_path / "run"), tmp_path / "items.csv", folder)
    client = TestClient(create_app([served_run], ServeConfig()), base_url="http://localhost")
    assert client.get("/v1/picture", params={"item": ITEM_IDS[0]}).status_code == 404
    assert client.get("/v1/picture", params={"item": ITEM_IDS[1]}).status_code == 200


def test_a_run_without_content_refuses_new_items(tmp_path):
    from dataclasses import replace

    from crossrec.runs.directory import seal
    from crossrec.runs.embeddings import EMBEDDINGS_FILE, TrainedEmbeddings

    run = write_run(tmp_path / "run")
    bare = replace(TrainedEmbeddings.load(run / EMBEDDINGS_FILE), modality_IL={}, content_encoders={}, aligners={})
    bare.save(run / EMBEDDINGS_FILE)
    seal(run)
    client = TestClient(create_app([ServedRun(run)], ServeConfig()), base_url="http://localhost")
    answer = client.post("/v1/new-item", json={"features": {m: [1.0] for m in RAW}})
    assert answer.status_code == 422
    assert "knows no content" in error_of(answer)
    assert client.get("/v1/item", params={"item": ITEM_IDS[0]}).json()["views"] == ["behaviour"]
