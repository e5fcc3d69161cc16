"""gunicorn's worker with threads, which no client can hold for longer than a time by sending slowly.

gunicorn's own timeout ends workers that hang, not clients that send a byte now and then: as many of those as there
are threads would stop the server.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import Any

from gunicorn.workers.gthread import ThreadWorker  # type: ignore[import-untyped]

from backend.settings import Settings

CHECK_SECONDS = 0.5


class Watchdog:
    """Ends the reading of sockets that are overdue. Reading then meets the end of the data; answers still go out."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._due: dict[socket.socket, float] = {}
        self._lock = threading.Lock()

    def start(self) -> None:
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    @contextlib.contextmanager
    def watching(self, connection: socket.socket) -> Any:
        """While a thread reads a request from this socket and answers it."""
        with self._lock:
            self._due[connection] = time.monotonic() + self._seconds
        try:
            yield
        finally:
            with self._lock:
                self._due.pop(connection, None)

    def _watch(self) -> None:
        while True:
            time.sleep(CHECK_SECONDS)
            self.end_overdue(time.monotonic())

    def end_overdue(self, now: float) -> None:
        with self._lock:
            overdue = [connection for connection, due in self._due.items() if due < now]
            for connection in overdue:
                del self._due[connection]
                with contextlib.suppress(OSError):  # it has gone by itself
                    connection.shutdown(socket.SHUT_RD)


class Worker(ThreadWorker):  # type: ignore[misc]
    """ThreadWorker with a watchdog; the name goes into gunicorn's ``--worker-class``."""

    def init_process(self) -> None:
        self._watchdog = Watchdog(Settings().request_seconds)
        self._watchdog.start()
        super().init_process()

    def handle(self, conn: Any) -> Any:
        with self._watchdog.watching(conn.sock):
            return super().handle(conn)
