"""A real server among clients that send much, without end, or slowly."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import requests

from backend.demo.clickpick import ClickPickServer

SECONDS = 2
LIMIT = 100_000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickPickServer]:
    data: Path = tmp_path_factory.mktemp("data")
    settings = {
        "CLICKPICK_REQUEST_SECONDS": str(SECONDS),
        "CLICKPICK_MAX_REQUEST_BYTES": str(LIMIT),
        "CLICKPICK_SEGMENTER": "grabcut",
        "CLICKPICK_THREADS": "4",
    }
    with ClickPickServer(data, studio_url="http://127.0.0.1:9", token="x", settings=settings) as running:
        yield running


def connected(server: ClickPickServer, start: str) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=20)
    connection.sendall(start.replace("\n", "\r\n").encode())
    return connection


def answer_to(connection: socket.socket) -> str:
    """All that comes before the server hangs up."""
    parts = []
    with contextlib.suppress(ConnectionError):
        while part := connection.recv(65536):
            parts.append(part)
    connection.close()
    return b"".join(parts).decode()


HEAD = "POST /predict HTTP/1.1\nHost: x\nContent-Type: application/json\nConnection: close\n"


@pytest.mark.integration
class TestServer:
    def test_a_declared_length_over_the_limit(self, server: ClickPickServer) -> None:
        started = time.monotonic()
        answer = answer_to(connected(server, f"{HEAD}Content-Length: {LIMIT + 1}\n\n"))
        assert " 413 " in answer.splitlines()[0]
        assert f"larger than {LIMIT} bytes" in answer
        assert time.monotonic() - started < SECONDS

    def test_a_connection_outlives_the_time_to_think(self, server: ClickPickServer) -> None:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)) as kept:
            kept.request("GET", "/health")
            assert kept.getresponse().read()
            at_first = kept.sock
            time.sleep(2.5 * SECONDS)
            kept.request("GET", "/health")
            assert kept.getresponse().status == 200
            assert kept.sock is at_first

    def test_chunks_without_end(self, server: ClickPickServer) -> None:
        def chunks() -> Iterator[bytes]:
            yield b'{"tasks": "'
            for _ in range(300):
                yield b"x" * 1000
            yield b'"}'

        answer = requests.post(
            f"{server.url}/predict", data=chunks(), headers={"Content-Type": "application/json"}, timeout=20
        )
        assert answer.status_code == 413
        assert f"larger than {LIMIT} bytes" in answer.json()["error"]

    def test_chunks_within_the_limit_are_read(self, server: ClickPickServer) -> None:
        body = json.dumps({"project": "1.2", "schema": "<View/>"}).encode()
        parts = iter([body[:7], body[7:]])
        headers = {"Content-Type": "application/json"}
        assert (
            requests.post(f"{server.url}/setup", data=parts, headers=headers, timeout=20).status_code == 200
        )

    @pytest.mark.parametrize("kind", ["Content-Length: 1000", "Transfer-Encoding: chunked"])
    def test_a_body_that_drips(self, server: ClickPickServer, kind: str) -> None:
        connection = connected(server, f"{HEAD}{kind}\n\n")
        started = time.monotonic()
        stop = dripping(connection, b"1\r\nx\r\n" if "chunked" in kind else b"x")
        answer = answer_to(connection)
        stop.set()
        assert time.monotonic() - started < SECONDS + 3
        assert " 408 " in answer.splitlines()[0]
        assert "CLICKPICK_REQUEST_SECONDS" in answer

    def test_headers_that_drip_from_more_clients_than_there_are_threads(
        self, server: ClickPickServer
    ) -> None:
        slow = [connected(server, "POST /predict HTTP/1.1\nHost: x\nX-Drip: ") for _ in range(8)]
        stops = [dripping(connection, b"x") for connection in slow]
        started = time.monotonic()
        assert requests.get(f"{server.url}/health", timeout=20).json()["status"] == "UP"
        assert time.monotonic() - started < 2 * SECONDS + 3, "two rounds of four threads"
        for stop, connection in zip(stops, slow, strict=True):
            answer_to(connection)
            stop.set()

    @pytest.mark.parametrize(
        "content",
        [
            b"[" * 50_000,
            b'{"tasks":' * 9_000,
            b"9" * 90_000,
            b'{"project": 1e999}',
            b'{"project": NaN}',
            b"\xff",
        ],
    )
    @pytest.mark.parametrize("path", ["/predict", "/setup", "/webhook"])
    def test_json_that_is_none_of_label_studios(
        self, server: ClickPickServer, path: str, content: bytes
    ) -> None:
        headers = {"Content-Type": "application/json"}
        answer = requests.post(f"{server.url}{path}", data=content, headers=headers, timeout=20)
        assert answer.status_code == 400, answer.text
        assert answer.json()["error"]


def dripping(connection: socket.socket, piece: bytes) -> threading.Event:
    """A thread sends the piece every tenth of a second until the event is set or the other side hangs up."""
    stop = threading.Event()

    def drip() -> None:
        with contextlib.suppress(OSError):
            while not stop.wait(0.1):
                connection.sendall(piece)

    threading.Thread(target=drip, daemon=True).start()
    return stop


def test_one_worker_holds_the_models(server: ClickPickServer) -> None:
    bound = f"127.0.0.1:{server.port}"
    processes = [one for one in psutil.Process().children(recursive=True) if bound in one.cmdline()]
    assert len(processes) == 2, "one that watches and one that works"
