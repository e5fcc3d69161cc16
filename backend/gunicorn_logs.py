"""gunicorn's own lines as JSON; `clickpick serve` names this class where CLICKPICK_LOG_FORMAT asks for it."""

from __future__ import annotations

from typing import Any

from gunicorn.glogging import Logger  # type: ignore[import-untyped]

from backend.logs import JsonLines


class GunicornJson(Logger):  # type: ignore[misc]
    """The logger of gunicorn's processes."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        for handler in (*self.error_log.handlers, *self.access_log.handlers):
            handler.setFormatter(JsonLines())
