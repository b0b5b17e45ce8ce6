"""Users split between two runs, feedback that the next import reads, and figures for Prometheus."""

from __future__ import annotations

import hashlib

import polars as pl
import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from crossrec.data import DataConfig, load
from crossrec.data.importers import import_data
from crossrec.errors import DataError
from crossrec.serving import ServeConfig, create_app

from .worlds import ITEM_IDS, USER_IDS


def arm(user, share):
    return 2 if int(hashlib.sha256(str(user).encode()).hexdigest()[:16], 16) / 2**64 < share else 1


@pytest.mark.parametrize("share", [0, 0.3, 1])
def test_a_share_of_the_users_gets_the_second_run(client_of, served_runs, share):
    client = client_of(ab_share=share)
    runs = []
    for user in USER_IDS:
        answer = client.post("/v1/recommend", json={"user": user}).json()
        assert answer["run"] == arm(user, share)
        assert answer["identity"] == served_runs[answer["run"] - 1].current.card["identity"]
        runs.append(answer["run"])
    assert 1 + (share > 0) >= max(runs)
    assert 0 < runs.count(2) < len(runs) if share == 0.3 else len(set(runs)) == 1
    assert client.post("/v1/recommend", json={"user": USER_IDS[0], "run": 2}).json()["run"] == 2
    assert client_of().post("/v1/recommend", json={"user": USER_IDS[0]}).json()["run"] == 1


def test_feedback_is_a_log_that_the_import_reads(client_of, served_runs, tmp_path):
    path = tmp_path / "feedback.csv"
    client = client_of(feedback=path, ab_share=0.5)
    rows = [(user, item) for user in USER_IDS[:6] for item in ITEM_IDS[:4]] + [('new, "user"\n2', "another")]
    for number, (user, item) in enumerate(rows):
        body = {"user": user, "item": item} | ({"event": "purchase"} if number % 2 else {})
        answer = client.post("/v1/feedback", json=body)
        assert answer.status_code == 200
        run = arm(user, 0.5)
        assert answer.json() == {"run": run, "identity": served_runs[run - 1].current.card["identity"]}
    client_of(feedback=path).post("/v1/feedback", json={"user": USER_IDS[0], "item": ITEM_IDS[9]})  # goes on
    log = pl.read_csv(path)
    assert log.columns == ["user", "item", "time", "event", "run", "identity"]
    assert log.select("user", "item").rows() == [*rows, (USER_IDS[0], ITEM_IDS[9])]
    assert log["event"].to_list()[:3] == ["click", "purchase", "click"]
    assert log["run"].to_list()[:-1] == [arm(user, 0.5) for user, _ in rows]
    import_data(path, tmp_path / "data")
    dataset = load(DataConfig(data=str(tmp_path / "data")))
    assert set(dataset.user_ids) == {*USER_IDS[:6], rows[-1][0]}


def test_bad_feedback(client_of, client, tmp_path):
    path = tmp_path / "feedback.csv"
    full = client_of(feedback=path)
    answer = client.post("/v1/feedback", json={"user": "u", "item": "i"})
    assert (answer.status_code, "--feedback FILE" in answer.json()["error"]) == (404, True)
    for body in ({"user": "u"}, {"user": "u", "item": "i", "event": "a,b"}, {"user": "u", "item": True}):
        assert full.post("/v1/feedback", json=body).status_code == 422
    assert full.post("/v1/feedback", json={"user": "u", "item": "i", "run": 3}).status_code == 404
    assert len(path.read_text().splitlines()) == 1
    path.unlink()
    answer = full.post("/v1/feedback", json={"user": "u", "item": "i"})
    assert (answer.status_code, answer.json()["error"]) == (503, "the feedback cannot be written now")
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    for name, message in (("other.csv", "its first line is not 'user,item,"), ("none/x.csv", "No such file")):
        with pytest.raises(DataError, match=message):
            client_of(feedback=tmp_path / name)
    assert (tmp_path / "other.csv").read_text() == "a,b\n1,2\n"


def figures(client, **headers):
    text = client.get("/metrics", headers=headers).text
    samples = (sample for family in text_string_to_metric_families(text) for sample in family.samples)
    return {(sample.name, *sample.labels.values()): sample.value for sample in samples}


def test_metrics(client):
    for user in (*USER_IDS[:3], "nobody"):
        client.post("/v1/recommend", json={"user": user})
    client.get("/v1/made-up")
    client.get("/v1/made-up-too")
    values = figures(client)
    assert values["crossrec_requests_total", "/v1/recommend", "200"] == 3
    assert values["crossrec_requests_total", "/v1/recommend", "404"] == 1
    assert values["crossrec_requests_total", "other", "404"] == 2
    assert values["crossrec_request_seconds_count", "/v1/recommend"] == 4
    assert values["crossrec_requests_active",] == 0
    assert values["crossrec_run_swaps", "2"] == 0
    assert figures(client)["crossrec_requests_total", "/metrics", "200"] == 1


def test_metrics_need_the_token(served_runs):
    app = create_app(served_runs, ServeConfig(token="x" * 16, rate=0))
    client = TestClient(app, base_url="http://localhost")
    assert client.get("/metrics").status_code == 401
    assert figures(client, authorization=f"Bearer {'x' * 16}")["crossrec_requests_total", "/metrics", "401"] == 1
