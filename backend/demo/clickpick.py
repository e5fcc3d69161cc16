"""ClickPick itself as a server process of ours: what ``clickpick serve`` runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from backend.demo.process import LOOPBACK, Progress, ServerProcess, free_port, silent, with_no_proxy

START_SECONDS = 180.0
CREDENTIALS = ("CLICKPICK_BASIC_AUTH_USER", "CLICKPICK_BASIC_AUTH_PASS", "CLICKPICK_WEBHOOK_SECRET")
_GRACE_SECONDS = 15.0  # gunicorn gives its worker ten


class ClickPickServer:
    """The backend on loopback, with its tables, versions and caches in ``data``.

    ``port`` is a wish: when it is taken another one is used. ``settings``: more environment, such as
    ``CLICKPICK_SEGMENTER``. Use as a context manager, or ``start`` and ``stop``; it can be started again.
    """

    def __init__(
        self,
        data: Path,
        *,
        studio_url: str,
        token: str,
        port: int = 9090,
        log: Path | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.port = port
        self._log = log or data.absolute() / "clickpick.log"
        own = {
            "LABEL_STUDIO_URL": studio_url,
            "LABEL_STUDIO_API_KEY": token,
            "CLICKPICK_DATA": str(data.absolute()),
            "CLICKPICK_DATABASE_URL": "",  # the demo never writes to the tables of a real installation
            "CLICKPICK_SHARED": "",  # nor to its storage
            **dict.fromkeys(CREDENTIALS, ""),  # it listens on loopback, and Label Studio is told of none
            **(settings or {}),
        }
        self.environment = with_no_proxy({**os.environ, **own})
        """That of the server, and of commands about its data."""
        self.process = self._make_process()

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    def start(self, progress: Progress = silent) -> None:
        """Returns when ``/health`` answers."""
        self.port = free_port(self.port)
        self.process = self._make_process()
        self.process.start()
        self.process.wait_until_ready(f"{self.url}/health", timeout=START_SECONDS, progress=progress)

    def stop(self) -> None:
        self.process.stop()

    def __enter__(self) -> ClickPickServer:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _make_process(self) -> ServerProcess:
        command = [sys.executable, "-m", "backend.cli", "serve", "--host", LOOPBACK, "--port", str(self.port)]
        return ServerProcess("ClickPick", command, self._log, self.environment, grace=_GRACE_SECONDS)
