"""Commands where memory is refused: one line on stderr, exit code 2, nothing half written."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits of the address space are Linux's")


@pytest.mark.parametrize("allocate", [lambda: np.zeros(2**55), lambda: torch.empty(2**55)], ids=["numpy", "torch"])
def test_a_library_that_is_refused_memory_ends_a_command_in_one_line(allocate, crossrec, tiny, monkeypatch):
    monkeypatch.setattr("crossrec.commands.train.run", lambda *args, **options: allocate())
    line = crossrec("train", *tiny, "--out", "out").mistake
    assert line.startswith("out of memory: ")
    assert "--batch-size" in line


def test_another_error_is_not_one_of_memory(crossrec, tiny, monkeypatch):
    def broken(*args, **options):
        raise RuntimeError("a fault of the program")

    monkeypatch.setattr("crossrec.commands.train.run", broken)
    assert "(RuntimeError: a fault of the program)" in crossrec("train", *tiny, "--out", "out").mistake


def limited(gib, *arguments, **options):
    """Run Python in a process that may take so much address space."""
    size = int(gib * 2**30)
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (size, size)),
        **options,
    )


@linux
@pytest.mark.parametrize("gib", [0.3, 0.8])
def test_too_little_memory_for_the_libraries(gib, tmp_path):
    done = limited(gib, "-m", "crossrec", "train", "--data", "synthetic-tiny", "--out", tmp_path / "out")
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"crossrec: error: out of memory: ulimit -v allows {gib} GiB, ")
    assert not (tmp_path / "out").exists()


@linux
def test_help_needs_no_library():
    done = limited(0.3, "-m", "crossrec", "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Usage: crossrec COMMAND" in done.stdout


GUARDED = """
import os, signal, sys
from crossrec.commands.guard import run_guarded
from crossrec.errors import CrossrecError

def command():
    print("result")
    print("notice", file=sys.stderr)
    os.write(2, b"noise of a library\\n")
    {body}

try:
    sys.exit(run_guarded(command))
except CrossrecError as error:
    print(error, file=sys.stderr)
    sys.exit(2)
"""


def start_guarded(body):
    code = GUARDED.format(body=textwrap.indent(textwrap.dedent(body), "    ").strip())
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def guarded(body):
    """Exit code, stdout and stderr of a guarded command."""
    with start_guarded(body) as process:
        output = process.communicate(timeout=60)
    return process.returncode, *output


@linux
@pytest.mark.parametrize(
    "body", ["os.abort()", "os.kill(os.getpid(), signal.SIGSEGV)", 'os.write(2, b"cannot allocate memory"); return 1']
)
def test_a_library_that_ends_the_process(body):
    code, _, err = guarded(body)
    assert code == 2
    notice, line = err.splitlines()
    assert notice == "notice"
    assert line.startswith("out of memory: ")


@linux
@pytest.mark.parametrize(("body", "code"), [("return 0", 0), ("return 1", 1), ("return 130", 130)])
def test_a_command_that_ends_by_itself(body, code):
    assert guarded(body) == (code, "result\n", "notice\nnoise of a library\n")


@linux
def test_a_guarded_command_that_is_killed_ends_alike():
    assert guarded("os.kill(os.getpid(), signal.SIGKILL)")[0] == -signal.SIGKILL


@linux
@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_signals_are_passed_on(sent):
    body = """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        print("ready", flush=True)
        signal.pause()
    except KeyboardInterrupt:
        return 130
    """
    with start_guarded(body) as process:
        while process.stdout.readline() != "ready\n":
            pass
        process.send_signal(sent)
        assert process.wait(60) == 130


@linux
def test_the_child_does_not_outlive_a_killed_parent():
    with start_guarded('print("ready", flush=True); signal.pause()') as process:
        assert process.stdout.readline() == "result\n"
        assert process.stdout.readline() == "ready\n"
        process.kill()
        assert process.stdout.read() == ""  # ends when the last process that can write to it has ended
