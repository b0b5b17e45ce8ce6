"""Folder locks: one process at a time, and the next one as soon as the first has ended or was killed."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
import threading

import filelock
import pytest

from crossrec.data.io.lock import FILE, FolderLock
from crossrec.errors import RunError


def python(script, *arguments, **options):
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **options)


HOLD = """
import sys; from pathlib import Path; from crossrec.data.io.lock import FolderLock
assert FolderLock(Path(sys.argv[1])).acquire(); print("locked", flush=True); input()
"""


def test_one_at_a_time(tmp_path):
    one, two = FolderLock(tmp_path / "cell"), FolderLock(tmp_path / "cell")
    assert one.acquire()
    assert not two.acquire()
    one.release()
    assert list((tmp_path / "cell").iterdir()) == []
    assert two.acquire()
    assert two.acquire(), "it has it already"
    assert not one.acquire()
    one.release()
    assert not one.acquire(), "who does not hold the lock releases nothing"


def test_a_killed_process_is_succeeded_at_once(tmp_path):
    holder = python(HOLD, tmp_path)
    assert holder.stdout.readline() == "locked\n"
    first, second = FolderLock(tmp_path), FolderLock(tmp_path)
    assert not first.acquire()
    with pytest.raises(RunError, match=rf"{tmp_path} is in use: process {holder.pid} on .+ writes to it; wait until"):
        first.check()
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    assert (tmp_path / FILE).exists()
    first.check()
    assert first.acquire()
    assert not second.acquire()
    first.release()
    assert list(tmp_path.iterdir()) == [], "what the killed one left is gone too"


def test_a_child_holds_the_lock_after_its_parent(tmp_path):
    lock, other = FolderLock(tmp_path), FolderLock(tmp_path)
    assert lock.acquire()
    child = python("input()", pass_fds=lock.descriptors)
    for descriptor in lock.descriptors:  # as if this process had been killed
        os.close(descriptor)
    assert not other.acquire()
    child.kill()
    child.communicate()
    assert other.acquire()


def test_who_waits_gets_the_lock_when_the_holder_ends(tmp_path, caplog):
    holder = python(HOLD, tmp_path)
    assert holder.stdout.readline() == "locked\n"
    lock = FolderLock(tmp_path)
    ending = threading.Timer(0.3, holder.kill)
    ending.start()
    lock.wait()
    ending.join()
    holder.communicate()
    assert not FolderLock(tmp_path).acquire()
    assert [record.getMessage().split(" writes")[0] for record in caplog.records] == [
        f"{tmp_path} is in use: process {holder.pid} on {socket.gethostname()}"
    ]
    lock.release()


def test_processes_that_delete_the_file_on_release_never_hold_two_locks(tmp_path):
    script = """
import os, sys; from pathlib import Path; from crossrec.data.io.lock import FolderLock
folder, lock, wins = Path(sys.argv[1]), FolderLock(Path(sys.argv[1]) / "cell"), 0
print("ready", flush=True); input()
while wins < 200:
    if lock.acquire():
        os.close(os.open(folder / "alone", os.O_CREAT | os.O_EXCL))  # raises where another process is here too
        os.unlink(folder / "alone")
        wins += 1
        lock.release()
"""
    processes = [python(script, tmp_path) for _ in range(3)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    for process in processes:
        process.communicate()
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert list((tmp_path / "cell").iterdir()) == []


def test_as_a_context(tmp_path):
    with FolderLock(tmp_path):
        with (
            pytest.raises(RunError, match=rf"in use: process {os.getpid()} on .*give another --out"),
            FolderLock(tmp_path),
        ):
            pytest.fail("locked twice")
        assert (tmp_path / FILE).exists()
    with pytest.raises(KeyboardInterrupt), FolderLock(tmp_path):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_a_file_system_without_locks(tmp_path, monkeypatch):
    def refuse(descriptor, *, blocking):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(filelock, "lock_descriptor", refuse)
    with pytest.warns(UserWarning, match=r"no file locks \(Function not implemented\)"), FolderLock(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be(tmp_path):
    (tmp_path / "file").write_text("text")
    for folder in (tmp_path / "file", tmp_path / "file" / "cell"):
        FolderLock(folder).check()
        with pytest.raises(RunError, match=f"{folder}: a file is in the way; give another --out"):
            FolderLock(folder).acquire()


def test_who_holds_the_lock_is_not_judged_by_what_the_file_says(tmp_path):
    """Another host may have the same name and a process of the same number."""
    lock, other = FolderLock(tmp_path), FolderLock(tmp_path)
    tmp_path.joinpath(FILE).write_text(f"process {os.getpid()} on {socket.gethostname()}")
    assert lock.acquire(), "the process lives, but it does not hold the lock"
    tmp_path.joinpath(FILE).write_text(f"process {2**22 + 1} on {socket.gethostname()}")
    assert not other.acquire(), "no such process here, but the lock is held"
    with pytest.raises(RunError, match="in use"):
        other.check()


def test_a_folder_that_the_process_before_deletes_is_made_again(tmp_path, monkeypatch):
    folder, opened = tmp_path / "cell", os.open
    deletions = iter(range(3))

    def delete_first(path, *arguments):
        if next(deletions, None) is not None:
            folder.rmdir()
        return opened(path, *arguments)

    monkeypatch.setattr("crossrec.data.io.lock.os.open", delete_first)
    lock = FolderLock(folder)
    assert lock.acquire()
    assert lock.path.exists()
    lock.release()
