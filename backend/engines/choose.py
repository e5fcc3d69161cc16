"""The engine that the settings name."""

from __future__ import annotations

from backend.engines.base import Engine
from backend.engines.local import LocalEngine
from backend.metrics import Metrics
from backend.services import Sources
from backend.settings import Settings
from backend.store import Store


def open_engine(settings: Settings, store: Store, sources: Sources, metrics: Metrics) -> Engine:
    """Made, not started."""
    return LocalEngine(settings, store, sources, metrics)
