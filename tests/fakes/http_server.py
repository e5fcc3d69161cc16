"""HTTP servers for tests: one function decides every answer."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit


class Refusal(Exception):
    """An answer that is no success."""

    def __init__(self, status: int, detail: str = "", **extra: Any) -> None:
        super().__init__(detail)
        self.status = status
        self.body = {
            "id": "0",
            "status_code": status,
            "version": "1.23.2",
            "detail": detail,
            "exc_info": None,
            **extra,
        }


@dataclass
class Call:
    """One request that the fake has seen. ``headers`` have lower-case names."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any


@dataclass
class Answer:
    """An answer that is not JSON."""

    content: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


@contextmanager
def serve(answer: Callable[[Call], Any]) -> Iterator[str]:
    """A server whose answers ``answer`` makes: a JSON-able value, an Answer, or a Refusal raised; its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(answer))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def _handler(answer: Callable[[Call], Any]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        # HTTP/1.0, the default: the connection ends with the answer, and no test leaks one.

        def _serve(self) -> None:
            parts = urlsplit(self.path)
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            query = {key: values[-1] for key, values in parse_qs(parts.query, keep_blank_values=True).items()}
            headers = {key.lower(): value for key, value in self.headers.items()}
            path = unquote(parts.path)
            call = Call(self.command, path, query, headers, json.loads(raw) if raw else None)
            try:
                said = answer(call)
            except Refusal as refusal:
                said = Answer(json.dumps(refusal.body).encode(), refusal.status)
            if not isinstance(said, Answer):
                status = 201 if self.command == "POST" else 200
                said = Answer(json.dumps(said).encode(), status, {"Content-Type": "application/json"})
            self._send(said)

        def _send(self, said: Answer) -> None:
            self.send_response(said.status)
            for name, value in said.headers.items():
                self.send_header(name, value)
            if "Content-Length" not in said.headers:
                self.send_header("Content-Length", str(len(said.content)))
            self.end_headers()
            with suppress(ConnectionError):  # the other side has heard enough
                self.wfile.write(said.content)

        do_GET = do_POST = do_PATCH = do_DELETE = _serve  # noqa: N815

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    return Handler
