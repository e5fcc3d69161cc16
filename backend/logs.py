"""Logging of a process: one line a fact, to standard error, without secrets; as text or as JSON."""

from __future__ import annotations

import json
import logging
import re
import time
from typing import Literal

from backend import log_context

FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
SECRETS = re.compile(
    r"(?i)\b(token|bearer|basic)\s+(?=\S*[\d=])[A-Za-z0-9._~+/=-]{8,}|\b[0-9a-f]{40}\b|\beyJ[\w-]+\.[\w-]+\.[\w-]*"
)
QUIET = ("urllib3", "httpx", "httpcore", "label_studio_ml.api", "label_studio_ml.model", "PIL")
"""Loggers that print requests with their headers, or every connection, when asked for details."""
LogFormat = Literal["text", "json"]


class _Censor(logging.Formatter):
    """Last line of defence: credentials that found their way into a message are blanked out."""

    def format(self, record: logging.LogRecord) -> str:
        return SECRETS.sub("[secret]", super().format(record)) + _context()


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, logger, message, and what the line belongs to."""

    def format(self, record: logging.LogRecord) -> str:
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, object] = {
            "time": f"{moment}.{int(record.msecs):03d}Z",
            "level": record.levelname,
            "logger": record.name,
            "message": SECRETS.sub("[secret]", record.getMessage()),
            **log_context.current(),
        }
        if record.exc_info:
            line["exception"] = SECRETS.sub("[secret]", self.formatException(record.exc_info))
        return json.dumps(line, ensure_ascii=False, default=str)


def configure_logging(level: str, log_format: LogFormat = "text") -> None:
    """Send all logs of this process to standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines() if log_format == "json" else _Censor(FORMAT))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in QUIET:
        logging.getLogger(name).setLevel(max(logging.INFO, root.level))
    for name in ("httpx", "httpcore", "alembic.runtime.plugins"):
        logging.getLogger(name).setLevel(logging.WARNING)


def _context() -> str:
    fields = " ".join(f"{name}={value}" for name, value in log_context.current().items())
    return f" [{fields}]" if fields else ""
