"""Who watches the training process: starts it again, survives a machine that has no process to give, and ends."""

from __future__ import annotations

import os
import threading
import time
from typing import Any

import pytest

from backend.engines import deep, process, training
from backend.engines.deep import DeepProcess
from backend.engines.training import TrainingProcesses
from backend.round_queue import DEEP, INSTANT, Kind
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
    monkeypatch.setattr(training, "RESTART_PAUSE", 0.01)
    store = Store(settings.store_url)
    made = TrainingProcesses(settings, store)
    outcomes: list[Any] = [Process(alive=False), OSError("no memory"), Process(alive=True)]
    running = threading.Event()

    def spawn() -> Any:
        outcome = outcomes.pop(0)
        if isinstance(outcome, OSError):
            raise outcome
        if not outcomes:
            running.set()
        return outcome

    monkeypatch.setattr(made, "_spawn", spawn)
    made.start()
    watcher = made._watcher
    assert watcher is not None
    assert running.wait(20), "a start that failed is tried again"
    made.stop()
    assert not watcher.is_alive()
    store.close()


def test_a_deep_process_that_dies_at_once_is_started_less_and_less_often(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deep, "LOOK_SECONDS", 0.01)
    store = Store(settings.store_url)
    store.rounds.request(1, "test", kind=DEEP)
    times: list[float] = []
    enough = threading.Event()

    def spawn(*_: Any) -> Any:
        times.append(time.monotonic())
        if len(times) == 6:
            enough.set()
        if len(times) == 2:
            raise OSError("no memory")
        return Process(alive=False)

    monkeypatch.setattr(deep, "spawn", spawn)
    watched = DeepProcess(settings, store)
    watched.start()
    assert enough.wait(20), "but it is tried again"
    watched.stop()
    store.close()
    assert times[5] - times[4] >= 0.16


@pytest.mark.parametrize("kind", [INSTANT, DEEP])
def test_a_training_process_gives_way_to_clicks_from_its_first_import_on(
    settings: Settings, kind: Kind
) -> None:
    started = process.spawn(settings, kind)
    try:
        expected = min(19, os.getpriority(os.PRIO_PROCESS, 0) + process.NICENESS[kind])
        assert os.getpriority(os.PRIO_PROCESS, started.pid) == expected
    finally:
        process.end(started)
