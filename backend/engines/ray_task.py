"""One task of the cluster that runs rounds of a kind: submitted, followed, ended."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

from backend.engines.ray_process import BACKGROUND
from backend.round_queue import DEEP, Kind
from backend.settings import Settings

LOG = logging.getLogger(__name__)
SHORTEST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
LONG_WAIT = 30.0
"""Seconds without a place on the cluster after which that is said."""
GRACE_SECONDS = 10.0
Function = Callable[[Settings, Kind, float], Iterator[str]]


class RoundTask:
    """At most one task at a time; those that fail are followed by growing pauses.

    function: what the task runs; it yields the name of its process first. gpus: how much of one it gets.
    """

    def __init__(self, kind: Kind, function: Function, settings: Settings, gpus: float) -> None:
        self._kind = kind
        self._function = function
        self._settings = settings
        self._gpus = gpus
        self._remote: Any = None
        self._task: Any = None
        self._submitted = self._not_before = 0.0
        self._pause = SHORTEST_PAUSE
        self._said = False
        self.worker = ""
        """The process that runs it, once it has begun."""

    @property
    def gets(self) -> tuple[Settings, float]:
        """What it is run with: settings, and how much of a GPU."""
        return self._settings, self._gpus

    def may_start(self) -> bool:
        """Whether there is none, nor has one failed just now."""
        return self._task is None and time.monotonic() >= self._not_before

    def submit(self) -> None:
        """Hand the task to the cluster, which runs it when there is a place for it."""
        import ray  # noqa: PLC0415 - an extra

        self._remote = self._remote or ray.remote(
            num_cpus=self._settings.ray_round_cpus,
            num_gpus=self._gpus,
            num_returns="streaming",
            max_retries=0,
            max_calls=1 if self._kind == DEEP else 0,  # a deep learner's memory is free when it has no work
            runtime_env=BACKGROUND,
        )(self._function)
        self._submitted, self._said = time.monotonic(), False
        self._task = self._remote.remote(self._settings, self._kind, self._gpus)

    def follow(self) -> set[str]:
        """Take note of how the task gets on. Returns the name of its process where that died."""
        from ray.exceptions import RayError, RayTaskError  # noqa: PLC0415 - an extra

        if self._task is None:
            return set()
        try:
            self._hear()
        except StopIteration:
            return self._ended("")
        except RayTaskError as error:
            self._ended(f"failed: {error.cause}")
            return set()
        except RayError as error:
            return self._ended(f"died ({type(error).__name__})")
        self._say_if_it_waits()
        return set()

    def end(self) -> set[str]:
        """Cancel the task, by force where it does not obey in time. Returns the name of its process in that case."""
        import ray  # noqa: PLC0415 - an extra

        if self._task is None or not ray.is_initialized():
            return set()
        ray.cancel(self._task)
        patience = time.monotonic() + GRACE_SECONDS
        while not self._is_over():
            if time.monotonic() > patience:
                ray.cancel(self._task, force=True)
                return self._ended("is ended by force")
            time.sleep(0.1)
        self._ended("")
        return set()

    def abandon(self) -> None:
        """Forget the task, whose process is silent; Ray may find out what has become of it."""
        import ray  # noqa: PLC0415 - an extra

        ray.cancel(self._task)
        self._ended("is silent")

    def _hear(self) -> None:
        """Take in what the task has said. StopIteration where it is over, RayError where it failed or died."""
        import ray  # noqa: PLC0415 - an extra

        while ray.wait([self._task], timeout=0)[0]:
            self.worker = ray.get(next(self._task))
            LOG.info("%s rounds are run by %s", self._kind, self.worker)

    def _is_over(self) -> bool:
        from ray.exceptions import RayError  # noqa: PLC0415 - an extra

        try:
            self._hear()
        except (StopIteration, RayError):
            return True
        return False

    def _ended(self, problem: str) -> set[str]:
        """Forget the task; with a problem, none is begun for a while. Returns the name of its process."""
        if not problem or time.monotonic() - self._submitted > LONGEST_PAUSE:
            self._pause = SHORTEST_PAUSE
        if problem:
            where = self.worker or "no process"
            LOG.error("the task of %s rounds, run by %s, %s", self._kind, where, problem)
            self._not_before = time.monotonic() + self._pause
            self._pause = min(LONGEST_PAUSE, 2 * self._pause)
        worker, self._task, self.worker = self.worker, None, ""
        return {worker} - {""} if problem else set()

    def _say_if_it_waits(self) -> None:
        if self.worker or self._said or time.monotonic() - self._submitted < LONG_WAIT:
            return
        self._said = True
        LOG.warning(
            "%s rounds wait for a place on the cluster (%g CPU, %g GPU); add nodes, or lower CLICKPICK_RAY_ROUND_CPUS",
            self._kind, self._settings.ray_round_cpus, self._gpus,
        )  # fmt: skip
