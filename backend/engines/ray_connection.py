"""A web process's connection to the replicas: made in the background, tried again until it stands, and renewed."""

from __future__ import annotations

import atexit
import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Generic, TypeVar

from backend.engines.ray_cluster import connect, leave
from backend.engines.ray_messages import Figures
from backend.engines.ray_serve import count_running, deploy, is_deployed
from backend.errors import ClickPickError, ModelUnavailable
from backend.settings import Settings

LOG = logging.getLogger(__name__)
T = TypeVar("T")
START_SECONDS = 60.0
"""So long `start` waits for its first attempt: a cluster without room may hold it up for ever."""
FIRST_PAUSE, LONGEST_PAUSE = 2.0, 60.0
LOOK_SECONDS, GONE_LOOKS = 10.0, 3
"""Between looks whether the application is still there, and how many have to miss it."""
JOIN_SECONDS = 5.0
FIGURES_SECONDS, LATE_SECONDS = 2.0, 4.0
STARTING = "the segmenter replicas are being started; ask again in a few seconds"
UNREACHABLE = "the segmenter replicas cannot be reached; try again later, the log says why"


class Fresh(Generic[T]):
    """A value that is read anew at most once a second, by one caller at a time; the others get the last one.

    ``unknown`` is what they get before the first, and while a reading takes longer than LATE_SECONDS.
    """

    def __init__(self, read: Callable[[], T], unknown: T) -> None:
        self._read = read
        self._unknown = self._value = unknown
        self._next = self._begun = 0.0
        self._lock = threading.Lock()

    def get(self) -> T:
        now = time.monotonic()
        if now <= self._next:
            return self._value
        if self._lock.acquire(blocking=False):
            self._begun = now
            try:
                self._value = self._read()
            finally:
                self._next = time.monotonic() + 1.0
                self._lock.release()
        elif now - self._begun > LATE_SECONDS:
            return self._unknown
        return self._value


class Connection:
    """Thread-safe; nothing happens before `start`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._thread = threading.Thread(target=self._run, name="connect-ray", daemon=True)
        self._tried = threading.Event()
        self._stopping = threading.Event()
        self._handle: Any = None
        self._failure: ClickPickError | None = None
        self._running = Fresh(self._count, 0)
        self._figures: Fresh[list[Figures]] = Fresh(self._ask_figures, [])

    def start(self) -> None:
        """Connect and deploy; once. Raises what the first attempt raised; others follow in the background."""
        self._thread.start()
        self._tried.wait(START_SECONDS)
        if self._failure is not None:
            raise self._failure

    def handle(self, seconds: float) -> Any:
        """The application's handle, waited for so long; ModelUnavailable where there is none."""
        if self._handle is None and self._failure is None:
            self._tried.wait(seconds)
        if self._handle is None:
            raise ModelUnavailable(STARTING if self._failure is None else UNREACHABLE)
        return self._handle

    def problems(self) -> list[str]:
        """Why no replica answers, in words for anybody; empty when one is up."""
        if self._handle is None:
            return [STARTING if self._failure is None else UNREACHABLE]
        return [] if self._running.get() else [UNREACHABLE]

    def figures(self) -> list[Figures]:
        """Of all replicas that answer."""
        return [] if self._handle is None else self._figures.get()

    def stop(self) -> None:
        """Leave the cluster; the replicas stay for other web processes."""
        atexit.unregister(self.stop)
        self._stopping.set()
        self._tried.set()
        if self._thread.is_alive():
            self._thread.join(JOIN_SECONDS)
        self._let_go()
        if not self._thread.is_alive():
            leave(self)

    def _run(self) -> None:
        pause = FIRST_PAUSE
        while not self._stopping.is_set():
            try:
                self._connect()
                pause = FIRST_PAUSE
                self._stay()
            except ClickPickError as problem:
                self._fail(problem)
            except Exception as problem:
                LOG.log(self._level(), "no connection to the segmenter replicas", exc_info=problem)
                self._fail(ModelUnavailable(UNREACHABLE))
            finally:
                self._tried.set()
            self._stopping.wait(pause)
            pause = min(LONGEST_PAUSE, pause * 2)

    def _connect(self) -> None:
        connect(self._settings, self)
        atexit.unregister(self.stop)
        atexit.register(self.stop)  # called before Ray's own, which leaves calls under way to crash
        self._handle = deploy(self._settings)
        self._failure = None
        self._tried.set()
        LOG.info("connected to the segmenter replicas")

    def _stay(self) -> None:
        """Return at the end, or once the application is gone: somebody has ended it, or Ray Serve has died."""
        gone = 0
        while gone < GONE_LOOKS:
            if self._stopping.wait(LOOK_SECONDS):
                return
            gone = 0 if self._is_deployed() else gone + 1
        LOG.warning("the segmenter replicas are gone from the cluster; they are started anew")
        self._failure = ModelUnavailable(UNREACHABLE)
        self._let_go()

    def _is_deployed(self) -> bool:
        try:
            return is_deployed()
        except Exception as problem:  # of Ray's many ways to say so
            LOG.log(self._level(), "the cluster does not answer: %s", type(problem).__name__)
            return False

    def _let_go(self) -> None:
        handle, self._handle = self._handle, None
        if handle is not None:
            with suppress(Exception):  # of a cluster that is gone
                handle.shutdown()

    def _fail(self, problem: ClickPickError) -> None:
        if self._failure is not None:  # the first one is raised by `start`
            LOG.log(self._level(), "%s", problem)
        self._failure = problem

    def _level(self) -> int:
        return logging.DEBUG if self._stopping.is_set() else logging.WARNING

    def _count(self) -> int:
        try:
            return count_running()
        except Exception as problem:  # of Ray's many ways to say so
            LOG.log(self._level(), "the cluster does not answer: %s", type(problem).__name__)
            return 0

    def _ask_figures(self) -> list[Figures]:
        try:
            answers = self._handle.broadcast("figures")
            found = answers.results(timeout_s=FIGURES_SECONDS, return_exceptions=True)
        except Exception as problem:  # as above
            LOG.log(self._level(), "the replicas do not tell their figures: %s", type(problem).__name__)
            return []
        return [one for one in found if isinstance(one, Figures)]
