"""``torchrun -m crossrec train``: a process that is killed ends the job with one message, or it starts again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest

from crossrec.checkpoint import load_checkpoint
from crossrec.cli import main

LIMIT = 60
"""Seconds within which a job ends whose process was killed."""


def wait_for(condition, job, seconds=120):
    """Wait until the condition holds; fail where the job has ended."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end
        assert job.poll() is None
        time.sleep(0.1)
    return value


def process_of(job, rank):
    """Number of the process of a rank, None where there is none now."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == job.pid and f"RANK={rank}" in (folder / "environ").read_text().split("\0"):
                return int(folder.name)
        except (OSError, ValueError):
            pass
    return None


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks for processes in /proc")
def test_a_killed_process_starts_the_job_again_and_then_ends_it(tmp_path):
    out, log = tmp_path / "run", tmp_path / "log.txt"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--max-restarts=1"]
    command += ["-m", "crossrec", "train", "--data", "synthetic-tiny", "--backbone", "bpr", "--alignment", "none"]
    command += ["--epochs", "100000", "--patience", "100000", "--checkpoint-seconds", "0", "--out", str(out)]

    def epochs():
        lines = [line.split() for line in log.read_text().splitlines() if line.startswith("bpr epoch")]
        return [int(words[2].rstrip(":")) for words in lines]

    with log.open("w") as file:
        job = subprocess.Popen(command, stdout=file, stderr=file, env=os.environ | {"OMP_NUM_THREADS": "1"})
    try:
        wait_for(lambda: len(epochs()) > 2, job)
        first = wait_for(lambda: process_of(job, 1), job)
        os.kill(first, signal.SIGKILL)
        second = wait_for(lambda: (other := process_of(job, 1)) != first and other, job)
        count = len(epochs())
        wait_for(lambda: len(epochs()) > count + 2, job)
        os.kill(second, signal.SIGKILL)
        assert job.wait(LIMIT) != 0
    finally:
        job.kill()
    messages = [line for line in log.read_text().splitlines() if line.startswith("crossrec:")]
    assert len(messages) == 2  # one each time
    assert all("another process of th" in message and "--resume" in message for message in messages)
    ended = epochs()
    repeated = [epoch for epoch, following in pairwise(ended) if following != epoch + 1]
    assert len(repeated) <= 1  # an epoch may have been printed and not saved
    assert ended[-1] - len(ended) >= -2
    load_checkpoint(out / "checkpoint")  # nothing is half written


def test_other_commands_say_that_they_run_in_one_process(monkeypatch, capsys):
    handler = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(signal, "signal", lambda *_: handler)
    for name, value in {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    assert main(["compare", "--data", "synthetic-tiny"]) == 2
    assert "torchrun is for 'crossrec train', which trains one model: start 'crossrec compare' without it" in (
        capsys.readouterr().err.replace("\n", " ")
    )
    monkeypatch.setenv("RANK", "1")
    assert main(["compare", "--data", "synthetic-tiny"]) == 2
    assert not capsys.readouterr().err
    assert main(["train", "--alignment", "auto"]) == 2
    assert not capsys.readouterr().err
