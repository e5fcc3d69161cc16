"""Waiting in tests for what others do in their own time."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE = 300.0
"""Of a busy machine; what is waited for takes seconds."""


def wait_until(condition: Callable[[], object], what: str, seconds: float = PATIENCE) -> None:
    """Return as soon as the condition holds; AssertionError that says what was waited for."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s for {what}"
        time.sleep(0.05)
