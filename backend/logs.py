"""Logging of a process: one line a fact, to standard error, without secrets."""

from __future__ import annotations

import logging
import re

FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
SECRETS = re.compile(
    r"(?i)\b(token|bearer|basic)\s+(?=\S*[\d=])[A-Za-z0-9._~+/=-]{8,}|\b[0-9a-f]{40}\b|\beyJ[\w-]+\.[\w-]+\.[\w-]*"
)
QUIET = ("urllib3", "httpx", "httpcore", "label_studio_ml.api", "label_studio_ml.model", "PIL")
"""Loggers that print requests with their headers, or every connection, when asked for details."""


class _Censor(logging.Formatter):
    """Last line of defence: credentials that found their way into a message are blanked out."""

    def format(self, record: logging.LogRecord) -> str:
        return SECRETS.sub("[secret]", super().format(record))


def configure_logging(level: str) -> None:
    """Send all logs of this process to standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Censor(FORMAT))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in QUIET:
        logging.getLogger(name).setLevel(max(logging.INFO, root.level))
    for name in ("httpx", "httpcore", "alembic.runtime.plugins"):
        logging.getLogger(name).setLevel(logging.WARNING)
