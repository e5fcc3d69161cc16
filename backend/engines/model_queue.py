"""Threads that run model calls: clicks before what nobody waits for, and nothing that comes too late for its asker."""

from __future__ import annotations

import contextvars
import heapq
import itertools
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from typing import Any, TypeVar

from backend.errors import TooLate

T = TypeVar("T")


class Urgency(Enum):
    """Seconds by which a call may be overtaken: it takes its turn as if it had come so much later.

    So a click goes before all openings of the last two seconds, and nothing waits for ever.
    """

    CLICK = 0.0
    OPENING = 2.0
    BACKGROUND = 30.0


@dataclass(order=True)
class _Call:
    turn: float
    number: int  # equal turns: the oldest first
    function: Callable[[], Any] = field(compare=False)
    future: Future[Any] = field(compare=False)
    urgency: Urgency = field(compare=False)
    begun: float = field(compare=False)
    deadline: float | None = field(compare=False)


class ModelQueue:
    """``workers`` threads; of several, one is always left to clicks and openings."""

    def __init__(self, workers: int, prepare: Callable[[], None]) -> None:
        """prepare: run once in each thread."""
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="model", initializer=prepare)
        self._background_limit = max(1, workers - 1)
        self._background = 0
        self._waiting: list[_Call] = []
        self._numbers = itertools.count()
        self._lock = threading.Lock()

    def submit(
        self,
        function: Callable[[], T],
        urgency: Urgency = Urgency.CLICK,
        deadline: float | None = None,
    ) -> Future[T]:
        """deadline: of time.monotonic; a call whose turn comes later ends with TooLate. RuntimeError after `stop`."""
        now, future = time.monotonic(), Future[T]()
        in_context = partial(
            contextvars.copy_context().run, function
        )  # its lines in the log tell whose it is
        call = _Call(now + urgency.value, next(self._numbers), in_context, future, urgency, now, deadline)
        with self._lock:
            self._threads.submit(self._take_turn)  # whichever call is first then, which may be another one
            heapq.heappush(self._waiting, call)
        return future

    def stop(self) -> None:
        """Cancel what waits; what runs ends by itself."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        with self._lock:
            waiting, self._waiting = self._waiting, []
        for call in waiting:
            call.future.cancel()

    def __len__(self) -> int:
        """Calls that wait."""
        return len(self._waiting)

    def _take_turn(self) -> None:
        call = self._next()
        if call is None:
            return
        try:
            _run(call)
        finally:
            if call.urgency is Urgency.BACKGROUND:
                self._end_background()

    def _next(self) -> _Call | None:
        """None where all that waits is work for the background, and enough of that is under way."""
        with self._lock:
            held: list[_Call] = []
            found = None
            while self._waiting and found is None:
                call = heapq.heappop(self._waiting)
                if call.urgency is Urgency.BACKGROUND and self._background >= self._background_limit:
                    held.append(call)
                else:
                    found = call
            for call in held:
                heapq.heappush(self._waiting, call)
            if found is not None and found.urgency is Urgency.BACKGROUND:
                self._background += 1
            return found

    def _end_background(self) -> None:
        """And take up what was held back meanwhile."""
        with self._lock:
            self._background -= 1
            if self._waiting:
                try:
                    self._threads.submit(self._take_turn)
                except RuntimeError:  # stopped; the calls are cancelled
                    return


def _run(call: _Call) -> None:
    if not call.future.set_running_or_notify_cancel():
        return
    now = time.monotonic()
    if call.deadline is not None and now > call.deadline:
        call.future.set_exception(too_late(now - call.begun))
        return
    try:
        result = call.function()
    except BaseException as error:
        call.future.set_exception(error)
    else:
        call.future.set_result(result)


def too_late(seconds: float) -> TooLate:
    """What an annotator is told whose request has waited so long."""
    return TooLate(
        f"the request waited {seconds:.0f} s for the model and was dropped, because Label Studio has given up on it; "
        "click again, and use a quicker segmenter or more cores if this happens often"
    )
