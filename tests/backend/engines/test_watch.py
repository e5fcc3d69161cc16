"""Who watches the training process: starts it again, survives a machine that has no process to give, and ends."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from backend.engines import local
from backend.engines.local import LocalEngine
from backend.settings import Settings
from backend.store import Store

pytestmark = pytest.mark.unit


class Process:
    """Dead from the start, or alive until it is told to end."""

    stdin = None
    pid = 0

    def __init__(self, *, alive: bool) -> None:
        self._ended = threading.Event()
        if not alive:
            self._ended.set()

    def wait(self, timeout: float | None = None) -> int:
        assert self._ended.wait(60 if timeout is None else timeout)
        return 1

    def poll(self) -> int | None:
        return 1 if self._ended.is_set() else None

    def terminate(self) -> None:
        self._ended.set()


def test_the_watch_outlives_a_failed_start_and_ends_with_the_engine(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "RESTART_PAUSE", 0.01)
    store = Store(settings.store_url)
    engine = LocalEngine(settings, store)
    outcomes: list[Any] = [Process(alive=False), OSError("no memory"), Process(alive=True)]
    running = threading.Event()

    def spawn() -> Any:
        outcome = outcomes.pop(0)
        if isinstance(outcome, OSError):
            raise outcome
        if not outcomes:
            running.set()
        return outcome

    monkeypatch.setattr(engine, "_spawn", spawn)
    engine.start_training_process()
    watcher = engine._watcher
    assert watcher is not None
    assert running.wait(20), "a start that failed is tried again"
    engine.stop()
    assert not watcher.is_alive()
    store.close()
