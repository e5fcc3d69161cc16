"""Work that no request waits for, on threads that end with whoever owns them."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from backend.errors import ClickPickError
from model_zoo.errors import ModelZooError

LOG = logging.getLogger(__name__)
PATIENCE = 2.0
"""Seconds that `stop` waits for threads in a download or a model call; they see that it was called, and end later."""


@dataclass(frozen=True)
class Step:
    """One piece of work. ``failure``: what the log says, at ``level``, before the reason why it failed."""

    run: Callable[[], object]
    failure: str
    level: int = logging.INFO


class Background:
    """Runs steps one after another, each sequence on a thread of its own. Nothing that they raise leaves it."""

    def __init__(self) -> None:
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._threads: set[threading.Thread] = set()

    def start(self, steps: Sequence[Step]) -> bool:
        """Begin, and return at once whether that was possible; nothing begins after `stop`."""
        thread = threading.Thread(target=self._run, args=(steps,), name="background", daemon=True)
        with self._lock:
            if self._stopping.is_set():
                return False
            try:
                thread.start()
            except RuntimeError as problem:  # the machine has no thread to give; nobody waits for this work
                LOG.warning("%s: %s", steps[0].failure if steps else "no step", problem)
                return False
            self._threads.add(thread)
            return True

    def pause(self, seconds: float) -> bool:
        """For steps that wait for something: sleep, and say whether the end has come."""
        return self._stopping.wait(seconds)

    def cancel(self) -> None:
        """Begin no further step, and take what fails from now on for a sign of the end."""
        with self._lock:
            self._stopping.set()

    def stop(self, patience: float = PATIENCE) -> None:
        """Cancel, and wait for the steps under way, at most ``patience`` seconds for all of them."""
        self.cancel()
        until = time.monotonic() + patience
        for thread in self._running():
            thread.join(max(0.0, until - time.monotonic()))
        if left := self._running():
            LOG.info("%d threads end later: they are in a download or a model call", len(left))

    def _running(self) -> list[threading.Thread]:
        with self._lock:
            return list(self._threads)

    def _run(self, steps: Sequence[Step]) -> None:
        try:
            for step in steps:
                if self._stopping.is_set():
                    return
                self._take(step)
        finally:
            with self._lock:  # held by start until this thread is in the set
                self._threads.discard(threading.current_thread())

    def _take(self, step: Step) -> None:
        try:
            step.run()
        except (ClickPickError, ModelZooError) as problem:
            LOG.log(self._level(step.level), "%s: %s", step.failure, problem)
        except Exception as problem:
            # Connections and files that close under a step raise all kinds of errors; without that, it is a bug.
            LOG.log(self._level(logging.ERROR), "%s", step.failure, exc_info=problem)

    def _level(self, level: int) -> int:
        return logging.DEBUG if self._stopping.is_set() else level
