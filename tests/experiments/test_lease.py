"""Who works on a folder: one worker at a time, and another one where that one is dead."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import pytest

from crossrec.data.io import lock as module
from crossrec.data.io.lock import FolderLock, born
from crossrec.errors import RunError

ELSEWHERE = "another host"


@pytest.fixture
def clock(monkeypatch):
    """A clock that is set by hand."""

    class Clock:
        now = 1000.0

    monkeypatch.setattr(module.time, "monotonic", lambda: Clock.now)
    return Clock


@pytest.fixture
def elsewhere(monkeypatch):
    """Make leases as if from another host."""

    def take(folder):
        with monkeypatch.context() as patch:
            patch.setattr(module, "_host", lambda: ELSEWHERE)
            lease = FolderLock(folder)
            assert lease.take()
        return lease

    return take


def test_one_at_a_time(tmp_path):
    one, two = FolderLock(tmp_path / "cell"), FolderLock(tmp_path / "cell")
    assert one.take()
    assert not two.take()
    assert one.renew()
    one.release()
    assert list((tmp_path / "cell").iterdir()) == []
    assert two.take()
    assert not one.take()


def test_a_dead_process_of_this_host_is_succeeded_at_once(tmp_path):
    ended = subprocess.Popen([sys.executable, "-S", "-c", ""])
    ended.wait()
    worker = FolderLock(tmp_path)
    worker.take()
    left = tmp_path / "worker-0.json"
    left.write_text(json.dumps(json.loads(left.read_text()) | {"processes": [[ended.pid, "1"]]}))
    lease, second = FolderLock(tmp_path), FolderLock(tmp_path)
    assert lease.take()
    assert left.exists()
    assert not second.take()
    lease.release()
    assert list(tmp_path.iterdir()) == [], "what the dead one left is gone too"


def test_a_process_that_outlives_its_worker_keeps_the_lease(tmp_path):
    child = subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE)
    worker = FolderLock(tmp_path)
    worker.take()
    worker.add(child.pid)
    path = tmp_path / "worker-0.json"
    content = json.loads(path.read_text())
    assert [process for process, _ in content["processes"]] == [os.getpid(), child.pid]
    content["processes"][0] = [os.getpid(), "began another day"]  # the number is used again
    path.write_text(json.dumps(content))
    other = FolderLock(tmp_path)
    assert not other.take()
    child.kill()  # a zombie until it is waited for
    while born(child.pid) is not None:
        time.sleep(0.01)
    assert other.take()
    child.communicate()


def test_another_host_is_waited_for_while_it_shows_signs_of_life(tmp_path, clock, elsewhere):
    worker = elsewhere(tmp_path)
    progress = tmp_path / "history.csv"
    mine = FolderLock(tmp_path, progress, grace=100)
    assert not mine.take()
    clock.now += 90
    assert worker.renew()
    assert not mine.take()
    clock.now += 90
    progress.write_text("an epoch")  # the trainer, whose worker may be dead
    assert not mine.take()
    clock.now += 90
    assert not mine.take()
    clock.now += 20
    assert mine.take()
    clock.now += 20
    assert not worker.renew(), "who only slept finds out"
    worker.release()
    assert mine.renew()
    assert not FolderLock(tmp_path).take()


def test_only_one_succeeds_a_dead_worker(tmp_path, clock, elsewhere):
    elsewhere(tmp_path)
    others = [FolderLock(tmp_path, grace=10) for _ in range(3)]
    assert not any(lease.take() for lease in others)
    clock.now += 11
    assert [lease.take() for lease in others] == [True, False, False]


def test_a_lease_cut_short_is_not_taken_for_a_dead_one(tmp_path, clock):
    (tmp_path / "worker-0.json").write_text('{"host"')
    lease = FolderLock(tmp_path, grace=10)
    assert not lease.take()
    clock.now += 11
    assert lease.take()


def test_a_folder_that_cannot_be(tmp_path):
    (tmp_path / "file").write_text("text")
    for folder in (tmp_path / "file", tmp_path / "file" / "cell"):
        with pytest.raises(RunError, match=r"file.*; give another --out|file: give another --out"):
            FolderLock(folder).take()
