"""A limit in time for reading from a socket, however slowly the other side sends."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

CHECK_SECONDS = 0.5


class Watchdog:
    """Ends the reading of sockets that are overdue. Reading then meets the end of the data; answers still go out.

    Its thread lives while there is something to watch.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._due: dict[socket.socket, float] = {}
        self._running = False
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def watching(self, connection: socket.socket) -> Iterator[None]:
        """While a thread reads from this socket."""
        with self._lock:
            self._due[connection] = time.monotonic() + self._seconds
            if not self._running:
                threading.Thread(target=self._watch, name="watchdog", daemon=True).start()
                self._running = True
        try:
            yield
        finally:
            with self._lock:
                self._due.pop(connection, None)

    def _watch(self) -> None:
        while True:
            time.sleep(CHECK_SECONDS)
            with self._lock:
                self._end_overdue(time.monotonic())
                if not self._due:
                    self._running = False
                    return

    def _end_overdue(self, now: float) -> None:
        for connection in [connection for connection, due in self._due.items() if due < now]:
            del self._due[connection]
            with contextlib.suppress(OSError):  # it has gone by itself
                connection.shutdown(socket.SHUT_RD)
