"""``crossrec`` and ``python`` commands with the slow imports already done: a page of thirty commands runs in seconds.

    python preloaded.py SOCKET

imports the libraries of the commands and listens. A fork handles each request, in the caller's folder, with its
environment and its files 0, 1 and 2. ``tools`` writes shell commands that send the requests. ``crossrec serve``, which
a page stops by its process id, runs as a process of its own. Jobs of ``compare`` send requests, too.
"""

from __future__ import annotations

import json
import os
import runpy
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path

CLIENT = """#!{python} -IS
import json, os, socket, sys
if {name!r} == "crossrec" and sys.argv[1:2] == ["serve"]:
    os.execv({python!r}, [{python!r}, "-m", "crossrec", *sys.argv[1:]])
with socket.socket(socket.AF_UNIX) as connection:
    connection.connect({address!r})
    request = [[{name!r}, *sys.argv[1:]], os.getcwd(), dict(os.environ)]
    socket.send_fds(connection, [json.dumps(request).encode() + b"\\n"], [0, 1, 2])
    sys.exit(int(connection.recv(4) or b"70"))
"""
LIBRARIES = ("PIL.Image", "sentence_transformers", "crossrec.features.encode", "crossrec.commands.train")


@contextmanager
def tools(folder: Path) -> Iterator[Path]:
    """Context with a folder of the commands ``crossrec`` and ``python``."""
    folder.mkdir()
    address = str(folder / "s")
    for name in ("crossrec", "python"):
        command = folder / name
        command.write_text(CLIENT.format(python=sys.executable, name=name, address=address), encoding="utf-8")
        command.chmod(command.stat().st_mode | stat.S_IXUSR)
    server = subprocess.Popen([sys.executable, __file__, address], stdout=subprocess.PIPE)
    try:
        assert server.stdout is not None
        assert server.stdout.readline() == b"ready\n"
        yield folder
    finally:
        server.kill()
        server.communicate()


def listen(address: str) -> None:
    for library in LIBRARIES:
        with suppress(ModuleNotFoundError):
            import_module(library)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()
        print("ready", flush=True)
        while True:
            connection, _ = listener.accept()
            if os.fork() == 0:
                handle(connection, Path(address).with_name("python"))
            connection.close()
            with suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass


def handle(connection: socket.socket, tool: Path) -> None:
    """Run the request, send its exit code, and exit. ``tool``: the ``python`` command that sends requests."""
    content, files, _, _ = socket.recv_fds(connection, 2**20, 3)
    while not content.endswith(b"\n"):
        content += connection.recv(2**20)
    (name, *arguments), folder, environment = json.loads(content)
    for descriptor, file in enumerate(files):
        os.dup2(file, descriptor)
        os.close(file)
    os.chdir(folder)
    sys.executable = str(tool)
    os.environ.clear()
    os.environ.update(environment)
    code: int | str | None = 70
    try:
        if name == "crossrec":
            code = import_module("crossrec.cli").main(arguments)
        elif arguments[:2] == ["-m", "crossrec"]:
            code = import_module("crossrec.cli").main(arguments[2:])
        else:
            sys.argv, sys.path[0] = arguments, folder
            runpy.run_path(arguments[0], run_name="__main__")
            code = 0
    except SystemExit as end:
        code = end.code
    except BaseException:
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        connection.sendall(str(code if isinstance(code, int) else int(code is not None)).encode())
        os._exit(0)


if __name__ == "__main__":
    listen(sys.argv[1])
