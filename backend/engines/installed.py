"""Whether what an engine needs is installed; imports none of it."""

from __future__ import annotations

import importlib.util

from backend.errors import ConfigProblem
from backend.settings import Settings


def check_engine(settings: Settings) -> None:
    """ConfigProblem where the settings name an engine whose extra is not installed."""
    if settings.engine == "ray" and importlib.util.find_spec("ray") is None:
        raise ConfigProblem(
            "the engine ray needs Ray, which is not installed; install clickpick[ray], or set CLICKPICK_ENGINE=local"
        )
