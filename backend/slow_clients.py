"""gunicorn's worker with threads, which no client can hold for longer than a time by sending slowly.

gunicorn's own timeout ends workers that hang, not clients that send a byte now and then: as many of those as there
are threads would stop the server.
"""

from __future__ import annotations

from typing import Any

from gunicorn.workers.gthread import ThreadWorker  # type: ignore[import-untyped]

from backend.settings import Settings
from backend.watchdog import Watchdog


class Worker(ThreadWorker):  # type: ignore[misc]
    """ThreadWorker with a watchdog; the name goes into gunicorn's ``--worker-class``."""

    def init_process(self) -> None:
        self._watchdog = Watchdog(Settings().request_seconds)
        super().init_process()

    def handle(self, conn: Any) -> Any:
        with self._watchdog.watching(conn.sock):
            return super().handle(conn)
