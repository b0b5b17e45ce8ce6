"""A new run replaces a served one without downtime; one that cannot be loaded does not."""

from __future__ import annotations

import asyncio
import os
import threading
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from starlette.testclient import TestClient

from crossrec.runs.directory import seal
from crossrec.runs.embeddings import EMBEDDINGS_FILE, TrainedEmbeddings
from crossrec.serving import ServeConfig, ServedRun, create_app
from crossrec.serving.hot_swap import watch

from .worlds import ITEM_IDS, USER_IDS, write_item_table, write_run

OLD, NEW = (f"{seed:064x}"[::-1][:12] for seed in (1, 2))


@pytest.fixture
def current(tmp_path: Path) -> Path:
    """A link to the first of two runs."""
    write_run(tmp_path / "old", seed=1)
    write_run(tmp_path / "new", seed=2, alignment=None, users=[*USER_IDS, "somebody new"])
    link = tmp_path / "current"
    link.symlink_to(tmp_path / "old")
    return link


def turn(link: Path, target: Path) -> None:
    """Point a link elsewhere, atomically."""
    other = link.with_name("next")
    other.symlink_to(target)
    os.replace(other, link)


def client_of(served_run: ServedRun) -> TestClient:
    return TestClient(create_app([served_run], ServeConfig(rate=0)), base_url="http://localhost")


def test_a_link_to_another_run(current):
    served_run = ServedRun(current)
    client = client_of(served_run)
    assert not served_run.check()
    turn(current, current.with_name("new"))
    assert client.get("/v1/users").json()["identity"] == OLD
    assert served_run.check()
    assert client.get("/v1/users").json()["identity"] == NEW
    assert client.post("/v1/recommend", json={"user": "somebody new"}).status_code == 200
    health = client.get("/v1/health").json()
    assert (health["status"], health["runs"][0]["swaps"], health["runs"][0]["label"]) == ("ok", 1, "vbpr")
    assert client.get("/v1/runs").json()["runs"][0]["identity"] == NEW
    assert not served_run.check()


def test_a_replaced_folder(current):
    folder = current.with_name("old")
    served_run = ServedRun(folder)
    folder.rename(current.with_name("gone"))
    assert not served_run.check()  # the folder is missing
    assert served_run.refused
    current.with_name("new").rename(folder)
    assert served_run.check()
    assert served_run.refused is None
    assert served_run.current.card["identity"] == NEW


def test_a_rewritten_table(current, tmp_path):
    served_run = ServedRun(current, write_item_table(tmp_path / "items.csv"))
    client = client_of(served_run)
    (tmp_path / "items.csv").write_text(f'item,title\n"{ITEM_IDS[1]}",A new title\n')
    assert served_run.check()
    assert client.get("/v1/item", params={"item": ITEM_IDS[1]}).json()["item"]["title"] == "A new title"
    (tmp_path / "items.csv").write_text("title,price\nno items,3\n")
    assert not served_run.check()
    assert client.get("/v1/item", params={"item": ITEM_IDS[1]}).json()["item"]["title"] == "A new title"


def cut(run: Path) -> None:
    content = (run / EMBEDDINGS_FILE).read_bytes()
    (run / EMBEDDINGS_FILE).write_bytes(content[: len(content) // 2])


def not_done(run: Path) -> None:
    (run / "metrics.json").unlink()


def other_ids(run: Path) -> None:
    (run / "users.parquet").write_bytes((run / "items.parquet").read_bytes())


def no_json(run: Path) -> None:
    (run / "metrics.json").write_text("{")


def overflowing(run: Path) -> None:
    """Finite vectors whose products are not."""
    vectors = TrainedEmbeddings.load(run / EMBEDDINGS_FILE)
    replace(vectors, user_US=1e30 * vectors.user_US, item_IS=1e30 * vectors.item_IS).save(run / EMBEDDINGS_FILE)
    seal(run)


@pytest.mark.parametrize("damage", [cut, not_done, other_ids, no_json, overflowing])
def test_a_broken_run_is_refused_and_the_old_one_stays(current, damage, caplog):
    served_run = ServedRun(current)
    client = client_of(served_run)
    damage(current.with_name("new"))
    turn(current, current.with_name("new"))
    assert not served_run.check()
    health = client.get("/v1/health")
    assert (health.status_code, health.json()["status"]) == (200, "degraded")
    assert "goes on" in health.json()["runs"][0]["refused"]
    assert str(current.parent) not in health.text
    assert str(current.parent) in caplog.text  # the log names the folder
    assert client.post("/v1/recommend", json={"user": USER_IDS[1]}).json()["identity"] == OLD
    assert not served_run.check()
    assert len(caplog.records) == 1  # logged once
    turn(current, current.with_name("old"))
    assert served_run.check()
    assert client.get("/v1/health").json()["status"] == "ok"


def test_a_run_that_is_still_being_copied_is_loaded_later(current, monkeypatch):
    served_run = ServedRun(current)
    new = current.with_name("new")
    vectors = (new / EMBEDDINGS_FILE).read_bytes()
    (new / EMBEDDINGS_FILE).unlink()
    turn(current, new)
    load = served_run._load

    def arrives_meanwhile(run):
        (new / EMBEDDINGS_FILE).write_bytes(vectors)
        return load(run)

    monkeypatch.setattr(served_run, "_load", arrives_meanwhile)
    assert not served_run.check()
    assert served_run.refused is None
    monkeypatch.setattr(served_run, "_load", load)
    assert served_run.check()


def test_truncating_files_does_not_change_a_loaded_run(current):
    served_run = ServedRun(current)
    client = client_of(served_run)
    before = client.post("/v1/recommend", json={"user": USER_IDS[1], "k": 40}).json()
    os.truncate(current / EMBEDDINGS_FILE, 10)
    for table in ("users.parquet", "items.parquet"):
        os.truncate(current / table, 10)
    assert client.post("/v1/recommend", json={"user": USER_IDS[1], "k": 40}).json() == before


def test_no_request_is_lost_during_swaps(current):
    served_run = ServedRun(current)
    app = create_app([served_run], ServeConfig(rate=0))
    runs = [current.with_name("new"), current.with_name("old")]
    swaps, done = 6, threading.Event()

    def swap() -> None:
        for n in range(swaps):
            turn(current, runs[n % 2])
            assert served_run.check()
        done.set()

    async def crowd() -> list[httpx.Response]:
        answers = []
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:

            async def one(user: str) -> None:
                while not done.is_set():
                    answers.append(await client.post("/v1/recommend", json={"user": user, "k": 5}))

            thread = threading.Thread(target=swap)
            thread.start()
            await asyncio.gather(*(one(user) for user in USER_IDS[:4]))
            thread.join()
        return answers

    answers = asyncio.run(crowd())
    assert served_run.swaps == swaps
    assert len(answers) > 20
    assert {answer.status_code for answer in answers} == {200}
    assert {answer.json()["identity"] for answer in answers} == {OLD, NEW}
    assert all(len(answer.json()["items"]) == 5 for answer in answers)


def test_the_watcher_swaps_by_itself(current):
    served_run = ServedRun(current)
    with watch([served_run], 0.01):
        turn(current, current.with_name("new"))
        for _ in range(1000):
            if served_run.swaps:
                break
            threading.Event().wait(0.01)
    assert served_run.current.card["identity"] == NEW
    turn(current, current.with_name("old"))
    with watch([served_run], 0):
        threading.Event().wait(0.05)
    assert served_run.swaps == 1
