"""Clicks go first, nothing waits for ever, late calls are dropped, and one thread is always left to clicks."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

import pytest

from backend.engines import model_queue, model_threads
from backend.engines.model_queue import ModelQueue, Urgency
from backend.engines.model_threads import ModelThreads
from backend.errors import TooLate
from backend.settings import Settings

pytestmark = pytest.mark.unit


class Blocked:
    """A queue whose threads are all held until ``release``."""

    def __init__(self, workers: int) -> None:
        self.queue = ModelQueue(workers, lambda: None)
        self.release = threading.Event()
        busy = threading.Barrier(workers + 1)
        self.holding = [
            self.queue.submit(lambda: (busy.wait(10), self.release.wait(10))) for _ in range(workers)
        ]
        busy.wait(10)


@pytest.fixture
def block() -> Iterator[Callable[[int], Blocked]]:
    made: list[Blocked] = []

    def make(workers: int) -> Blocked:
        made.append(Blocked(workers))
        return made[-1]

    yield make
    for one in made:
        one.release.set()
        one.queue.stop()


def order_of(blocked: Blocked, calls: list[tuple[str, Urgency]]) -> list[str]:
    seen: list[str] = []
    futures = [blocked.queue.submit(lambda n=name: seen.append(n), urgency) for name, urgency in calls]
    blocked.release.set()
    for future in futures:
        future.result(10)
    return seen


def test_clicks_go_before_openings_and_those_before_the_background(block: Any) -> None:
    calls = [
        ("warm", Urgency.BACKGROUND),
        ("open", Urgency.OPENING),
        ("first", Urgency.CLICK),
        ("second", Urgency.CLICK),
    ]
    assert order_of(block(1), calls) == ["first", "second", "open", "warm"]


def test_what_has_waited_long_enough_is_not_overtaken_any_more(
    block: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = block(1)
    seen: list[str] = []
    early = blocked.queue.submit(lambda: seen.append("warm"), Urgency.BACKGROUND)
    clock = time.monotonic
    monkeypatch.setattr(model_queue.time, "monotonic", lambda: clock() + Urgency.BACKGROUND.value + 1)
    late = blocked.queue.submit(lambda: seen.append("click"))
    blocked.release.set()
    early.result(10)
    late.result(10)
    assert seen == ["warm", "click"]


def test_a_call_that_comes_too_late_is_not_made(block: Any) -> None:
    blocked = block(1)
    calls: list[int] = []
    late = blocked.queue.submit(lambda: calls.append(1), deadline=time.monotonic() + 0.05)
    in_time = blocked.queue.submit(lambda: calls.append(2), deadline=time.monotonic() + 60)
    time.sleep(0.1)
    blocked.release.set()
    with pytest.raises(TooLate, match=r"waited 0 s for the model and was dropped.*click again"):
        late.result(10)
    in_time.result(10)
    assert calls == [2]


def test_the_background_leaves_one_thread_to_clicks(block: Any) -> None:
    blocked = block(2)
    hold, running, most = threading.Event(), [0], [0]
    lock = threading.Lock()

    def background() -> None:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        hold.wait(10)
        with lock:
            running[0] -= 1

    waiting = [blocked.queue.submit(background, Urgency.BACKGROUND) for _ in range(3)]
    blocked.release.set()
    click: Future[str] = blocked.queue.submit(lambda: "answered")
    assert click.result(5) == "answered", "while background work holds all that it may hold"
    hold.set()
    for future in waiting:
        future.result(10)
    assert most[0] == 1


def test_one_thread_serves_all_kinds(block: Any) -> None:
    blocked = block(1)
    futures = [blocked.queue.submit(lambda n=n: n, urgency) for n, urgency in enumerate(Urgency)]
    blocked.release.set()
    assert sorted(future.result(10) for future in futures) == [0, 1, 2]


def test_errors_reach_the_asker_and_the_thread_goes_on(block: Any) -> None:
    blocked = block(1)
    blocked.release.set()
    failing = blocked.queue.submit(lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        failing.result(10)
    assert blocked.queue.submit(lambda: 1).result(10) == 1


def test_what_waits_is_cancelled_by_the_end(block: Any) -> None:
    blocked = block(1)
    waiting = [blocked.queue.submit(lambda: 1, urgency) for urgency in Urgency]
    blocked.queue.stop()
    assert all(future.cancelled() for future in waiting)
    with pytest.raises(RuntimeError):
        blocked.queue.submit(lambda: 1)


@pytest.mark.parametrize(
    ("device", "cores", "wanted", "expected"),
    [("cpu", 2, 0, 2), ("cpu", 16, 0, 2), ("cpu", 1, 0, 1), ("cuda", 16, 0, 1), ("cuda:1", 16, 3, 3)],
)
def test_threads_fit_the_device(
    device: str, cores: int, wanted: int, expected: int, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_threads.os, "cpu_count", lambda: cores)
    made = settings.model_copy(update={"device": device, "model_threads": wanted})
    assert model_threads.model_threads(made) == expected


@pytest.mark.parametrize("threads", [1, 2])
def test_model_calls_take_turns(settings: Settings, threads: int) -> None:
    models = ModelThreads(settings.model_copy(update={"model_threads": threads}))
    running: list[int] = []

    def call() -> int:
        running.append(1)
        most = len(running)
        time.sleep(0.05)
        running.pop()
        return most

    try:
        assert max(future.result() for future in [models.submit(call) for _ in range(6)]) == threads
    finally:
        models.stop()
