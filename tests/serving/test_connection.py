"""Limits on the number of connections and on the time for a request's head."""

from __future__ import annotations

import json
import resource
import socket

import httpx

from crossrec.serving import connection

from .worlds import serve_in_thread


def test_idle_connections_are_closed_and_too_many_refused(served_runs, monkeypatch):
    monkeypatch.setattr(connection, "HEAD_TIMEOUT", 1.5)
    monkeypatch.setattr(connection, "MAX_CONNECTIONS", 3)
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


def test_the_limit_leaves_spare_files(monkeypatch):
    for files, expected in ((256, 56), (100_000, 800), (resource.RLIM_INFINITY, 800), (50, 1)):
        monkeypatch.setattr(resource, "getrlimit", lambda _, files=files: (files, files))
        assert connection.connection_limit() == expected
