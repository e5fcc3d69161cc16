"""The engine that the settings name."""

from __future__ import annotations

import os

from backend.engines.base import Engine
from backend.engines.installed import check_engine
from backend.engines.local import LocalEngine
from backend.metrics import Metrics
from backend.services import Sources
from backend.settings import Settings
from backend.store import Store


def open_engine(settings: Settings, store: Store, sources: Sources, metrics: Metrics) -> Engine:
    """Made, not started. Raises ConfigProblem as `check_engine` does."""
    check_engine(settings)
    if settings.engine == "ray":
        # Read when Ray is imported. Else, once the connection is lost, it would start a cluster of its own here, and
        # abort this process three seconds after SIGTERM, in the middle of its last answers.
        os.environ.setdefault("RAY_ENABLE_AUTO_CONNECT", "0")
        os.environ.setdefault("RAY_DISABLE_FAILURE_SIGNAL_HANDLER", "1")
        from backend.engines.ray import RayEngine  # noqa: PLC0415 - imports an extra

        return RayEngine(settings, store, metrics)
    return LocalEngine(settings, store, sources, metrics)
