"""``crossrec serve`` as a process: output, malformed requests, load, shutdown and errors; limits on connections."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import socket
import sys
from collections import Counter

import httpx
import pytest
from benchmarks.malformed import KINDS, requests
from benchmarks.serving import Service, as_post, load, malformed, service

from crossrec.cli import main
from crossrec.serving import ServeConfig, server

from .worlds import USER_IDS, serve_in_thread, write_run

TOKEN = "a token of many characters"
BODY = {"user": USER_IDS[2], "k": 3}


@pytest.fixture(scope="module")
def served(shop):
    arguments = (shop / "plain", shop / "cross", "--items", shop / "items.csv", "--rate", 0, "--max-k", 50)
    with service(*arguments) as running:
        yield running
        running.process.send_signal(signal.SIGINT)  # as Ctrl-C does
        assert running.process.wait(30) == 0


def recommend(served: Service, **options) -> httpx.Response:
    return httpx.post(f"http://127.0.0.1:{served.port}/v1/recommend", json=BODY, timeout=30, **options)


def accepts_connections(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=30).close()
    except ConnectionError:
        return False
    return True


def test_it_prints_its_address_and_answers(served):
    assert served.stderr_lines[0].startswith("crossrec serves vbpr and lightgcn+cross on http://127.0.0.1:")
    answer = recommend(served)
    assert (answer.status_code, len(answer.json()["items"])) == (200, 3)
    assert "server" not in answer.headers


@pytest.mark.parametrize("seed", [0, 1])
def test_malformed_requests_get_no_server_error(served, seed):
    before = recommend(served).json()
    counts = asyncio.run(malformed(served.port, requests(20 * len(KINDS), seed)))
    assert sum(counts.values()) == 20 * len(KINDS)
    assert not [status for _, status in counts if status.startswith("5")]
    assert {"200", "400", "404", "405", "413", "422"} <= {status for _, status in counts}
    assert recommend(served).json() == before
    assert served.process.poll() is None
    assert not [line for line in served.stderr_lines if "Traceback" in line]


def test_the_load_benchmark_counts_answers(served):
    before = served.cpu_seconds()
    measured = asyncio.run(load(served, lambda: as_post("/v1/recommend", BODY), clients=3, length=0.3))
    assert set(measured.statuses) == {"200"}
    assert measured.statuses.total() >= 3
    assert 0 < measured.p50 <= measured.p99
    assert measured.rate > 0
    assert not served.cpu_seconds() < before  # NaN on systems without /proc


def test_token_from_the_environment_swap_and_graceful_shutdown(tmp_path):
    write_run(tmp_path / "old", seed=1)
    write_run(tmp_path / "new", seed=2)
    (tmp_path / "current").symlink_to("old")
    arguments = (tmp_path / "current", "--host", "0.0.0.0", "--watch", 0.05, "--rate", 0)
    served = Service(*arguments, environment={"CROSSREC_TOKEN": TOKEN})
    address = f"http://127.0.0.1:{served.port}/v1"
    assert recommend(served).status_code == 401
    with httpx.Client(headers={"authorization": f"Bearer {TOKEN}"}, timeout=30) as client:
        answers = [client.post(f"{address}/recommend", json=BODY)]
        (tmp_path / "next").symlink_to("new")
        os.replace(tmp_path / "next", tmp_path / "current")
        for _ in range(10_000):
            answers.append(client.post(f"{address}/recommend", json=BODY))
            if answers[-1].json()["identity"] != answers[0].json()["identity"]:
                break
        assert {answer.status_code for answer in answers} == {200}
        assert len({answer.json()["identity"] for answer in answers}) == 2
        with socket.create_connection(("127.0.0.1", served.port), timeout=30) as connection:
            content = json.dumps(BODY).encode()
            head = f"POST /v1/recommend HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n"
            head += f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
            connection.sendall(head.encode() + content[:9])
            while not client.get(f"{address}/health").json()["busy"]:
                pass
            served.process.send_signal(signal.SIGTERM)
            while accepts_connections(served.port):
                pass
            connection.sendall(content[9:])  # the request in progress is answered
            assert connection.recv(15) == b"HTTP/1.1 200 OK"
    assert served.stop() == 0
    assert not [line for line in served.stderr_lines if "Traceback" in line]


@pytest.fixture
def crossrec(capsys):
    def call(*arguments):
        code = main(["serve", *map(str, arguments)])
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.count("\n") == 1
        return code, captured.err

    return call


def test_mistakes_are_one_line(crossrec, shop, tmp_path, monkeypatch):
    run = shop / "plain"
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        for arguments, message in (
            ([tmp_path / "none"], "none: no such folder"),
            ([tmp_path], "config.json: missing"),
            ([run, tmp_path / "none"], "none: no such folder"),
            ([run, "--host", "0.0.0.0"], "--host 0.0.0.0: others can reach it, so it needs a token"),
            ([run, "--token", "short"], "16 printable ASCII characters"),
            ([run, "--port", 70000], "--port"),
            ([run, "--port", port], f"--port {port}: cannot be listened on"),
            ([run, "--host", "999.1.1.1", "--token", TOKEN], "cannot be listened on"),
            ([run, "--rate", "-1"], "--rate"),
            ([run, "--items", tmp_path / "none.csv"], "none.csv: no such file"),
            ([run, "--pictures", tmp_path / "none"], "--pictures"),
            ([run, "--nonsense", 1], "--nonsense"),
        ):
            code, error = crossrec(*arguments)
            assert code == 2, arguments
            assert message in error, (arguments, error)
    monkeypatch.setenv("CROSSREC_TOKEN", "short")
    code, error = crossrec(run)
    assert code == 2
    assert "$CROSSREC_TOKEN: give at least 16" in error


def test_missing_libraries_are_named(crossrec, shop, monkeypatch):
    for name in [name for name in sys.modules if name.startswith(("crossrec.serving", "crossrec.commands.serve"))]:
        monkeypatch.delitem(sys.modules, name)
    for name in ("fastapi", "uvicorn"):
        monkeypatch.setitem(sys.modules, name, None)
    code, error = crossrec(shop / "plain")
    assert code == 2
    assert "serving needs fastapi and uvicorn: pip install 'crossrec[serve]'" in error


def test_idle_connections_are_closed_and_too_many_refused(served_runs, monkeypatch):
    monkeypatch.setattr(server, "HEAD_TIMEOUT", 1.5)
    monkeypatch.setattr(server, "MAX_CONNECTIONS", 3)
    with serve_in_thread(served_runs) as address:
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
        for client in (silent, slow, lively):
            client.close()


def test_connections_that_wait_are_not_ignored(monkeypatch):
    """Nobody accepts here: the system completes each connection, so its client's request waits and is not lost."""
    with server.listen(ServeConfig(port=0)) as listener:
        listener.listen(server.ACCEPTED_AT_ONCE)  # as asyncio does
        address = listener.getsockname()
        clients = [socket.create_connection(address, timeout=10) for _ in range(300)]
        for client in clients:
            client.close()


def test_of_a_crowd_everybody_gets_an_answer(served_runs, monkeypatch):
    monkeypatch.setattr(server, "MAX_CONNECTIONS", 5)

    async def ask(port: int) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /v1/health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        answer = await asyncio.wait_for(reader.read(), 30)
        writer.close()
        return answer

    async def crowd(port: int) -> list[bytes]:
        return await asyncio.gather(*(ask(port) for _ in range(100)))

    with serve_in_thread(served_runs) as address:
        answers = asyncio.run(crowd(int(address.split(":")[2].strip("/"))))
    statuses = Counter(answer[9:12] for answer in answers)
    assert set(statuses) <= {b"200", b"503"}
    assert statuses[b"200"] > 0
    assert all(b"Retry-After: 10" in answer for answer in answers if answer[9:12] == b"503")


def test_malformed_http_is_refused_in_json(served_runs):
    with serve_in_thread(served_runs) as address:
        port = int(address.split(":")[2].strip("/"))
        with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
            client.sendall(b"no HTTP\r\n\r\n")
            head, body = client.makefile("rb").read().split(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json")
    assert json.loads(body) == {"error": "not valid HTTP"}


def test_the_limit_leaves_spare_files(monkeypatch):
    for files, expected in ((256, 56), (100_000, 800), (resource.RLIM_INFINITY, 800), (50, 1)):
        monkeypatch.setattr(resource, "getrlimit", lambda _, files=files: (files, files))
        assert server.connection_limit() == expected
