"""A run in the place of another is served without a gap; what cannot be served leaves the old one."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path

import httpx
import pytest
from starlette.testclient import TestClient

from crossrec.runs.embeddings import EMBEDDINGS_FILE
from crossrec.serving import ServeConfig, Slot, create_app
from crossrec.serving.hot_swap import Watcher

from .worlds import ITEM_IDS, USER_IDS, a_run, a_table

OLD, NEW = (f"{seed:064x}"[::-1][:12] for seed in (1, 2))


@pytest.fixture
def current(tmp_path: Path) -> Path:
    """A link to the first of two runs."""
    a_run(tmp_path / "old", seed=1)
    a_run(tmp_path / "new", seed=2, alignment=None, users=[*USER_IDS, "somebody new"])
    link = tmp_path / "current"
    link.symlink_to(tmp_path / "old")
    return link


def turn(link: Path, target: Path) -> None:
    """Point a link elsewhere, in one step."""
    other = link.with_name("next")
    other.symlink_to(target)
    os.replace(other, link)


def client_of(slot: Slot) -> TestClient:
    return TestClient(create_app([slot], ServeConfig(rate=0)), base_url="http://localhost")


def test_a_link_that_is_turned(current):
    slot = Slot(current)
    client = client_of(slot)
    assert not slot.check()
    turn(current, current.with_name("new"))
    assert client.get("/v1/users").json()["identity"] == OLD
    assert slot.check()
    assert client.get("/v1/users").json()["identity"] == NEW
    assert client.post("/v1/recommend", json={"user": "somebody new"}).status_code == 200
    told = client.get("/v1/health").json()
    assert (told["status"], told["runs"][0]["swaps"], told["runs"][0]["label"]) == ("ok", 1, "vbpr")
    assert client.get("/v1/runs").json()["runs"][0]["identity"] == NEW
    assert not slot.check()


def test_a_folder_that_is_replaced_by_another(current):
    folder = current.with_name("old")
    slot = Slot(folder)
    folder.rename(current.with_name("gone"))
    assert not slot.check()  # nothing lies there now
    assert slot.refused
    current.with_name("new").rename(folder)
    assert slot.check()
    assert slot.refused is None
    assert slot.current.card["identity"] == NEW


def test_a_table_that_is_rewritten(current, tmp_path):
    slot = Slot(current, a_table(tmp_path / "items.csv"))
    client = client_of(slot)
    (tmp_path / "items.csv").write_text(f'item,title\n"{ITEM_IDS[1]}",A new title\n')
    assert slot.check()
    assert client.get("/v1/item", params={"item": ITEM_IDS[1]}).json()["item"]["title"] == "A new title"
    (tmp_path / "items.csv").write_text("title\nno items\n")
    assert not slot.check()
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


@pytest.mark.parametrize("damage", [cut, not_done, other_ids, no_json])
def test_a_broken_run_is_refused_and_the_old_one_goes_on(current, damage, caplog):
    slot = Slot(current)
    client = client_of(slot)
    damage(current.with_name("new"))
    turn(current, current.with_name("new"))
    assert not slot.check()
    told = client.get("/v1/health")
    assert (told.status_code, told.json()["status"]) == (200, "degraded")
    assert "goes on" in told.json()["runs"][0]["refused"]
    assert str(current.parent) not in told.text
    assert str(current.parent) in caplog.text  # whoever runs the service is told where
    assert client.post("/v1/recommend", json={"user": USER_IDS[1]}).json()["identity"] == OLD
    assert not slot.check()
    assert len(caplog.records) == 1  # told once
    turn(current, current.with_name("old"))
    assert slot.check()
    assert client.get("/v1/health").json()["status"] == "ok"


def test_a_run_that_is_still_being_copied_is_looked_at_again(current, monkeypatch):
    slot = Slot(current)
    new = current.with_name("new")
    vectors = (new / EMBEDDINGS_FILE).read_bytes()
    (new / EMBEDDINGS_FILE).unlink()
    turn(current, new)
    opened = slot._open

    def arrives_meanwhile(run):
        (new / EMBEDDINGS_FILE).write_bytes(vectors)
        return opened(run)

    monkeypatch.setattr(slot, "_open", arrives_meanwhile)
    assert not slot.check()
    assert slot.refused is None
    monkeypatch.setattr(slot, "_open", opened)
    assert slot.check()


def test_files_that_are_cut_under_a_served_run_do_no_harm(current):
    slot = Slot(current)
    client = client_of(slot)
    before = client.post("/v1/recommend", json={"user": USER_IDS[1], "k": 40}).json()
    os.truncate(current / EMBEDDINGS_FILE, 10)
    for table in ("users.parquet", "items.parquet"):
        os.truncate(current / table, 10)
    assert client.post("/v1/recommend", json={"user": USER_IDS[1], "k": 40}).json() == before


def test_no_request_is_lost_while_runs_are_swapped(current):
    slot = Slot(current)
    guard = create_app([slot], ServeConfig(rate=0))
    runs = [current.with_name("new"), current.with_name("old")]
    swaps, done = 6, threading.Event()

    def swap() -> None:
        for n in range(swaps):
            turn(current, runs[n % 2])
            assert slot.check()
        done.set()

    async def crowd() -> list[httpx.Response]:
        answers = []
        transport = httpx.ASGITransport(guard)
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
    assert slot.swaps == swaps
    assert len(answers) > 20
    assert {answer.status_code for answer in answers} == {200}
    assert {answer.json()["identity"] for answer in answers} == {OLD, NEW}
    assert all(len(answer.json()["items"]) == 5 for answer in answers)


def test_the_watcher_looks_by_itself(current):
    slot = Slot(current)
    with Watcher([slot], 0.01):
        turn(current, current.with_name("new"))
        for _ in range(1000):
            if slot.swaps:
                break
            threading.Event().wait(0.01)
    assert slot.current.card["identity"] == NEW
    turn(current, current.with_name("old"))
    with Watcher([slot], 0):
        threading.Event().wait(0.05)
    assert slot.swaps == 1
