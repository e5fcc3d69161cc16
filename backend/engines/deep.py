"""The process of the deep learner: started when a round of its kind is due, gone when there is none."""

from __future__ import annotations

import logging
import subprocess
import threading
import time

from sqlalchemy.exc import SQLAlchemyError

from backend.engines.process import close_input, end, spawn
from backend.errors import StoreUnavailable
from backend.round_queue import DEEP
from backend.settings import Settings
from backend.store import Store

LOG = logging.getLogger(__name__)
LOOK_SECONDS = 2.0
LONGEST_PAUSE = 60.0


class DeepProcess:
    """Looks into the queue of rounds, and keeps one process while the deep learner has work there.

    A process that dies leaves its round to be queued again, which starts the next one; the queue counts the attempts.
    One that dies before it takes a round up is begun again after growing pauses.
    """

    def __init__(self, settings: Settings, store: Store) -> None:
        self._settings = settings
        self._store = store
        self._stopping = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._started = self._not_before = 0.0
        self._pause = LOOK_SECONDS
        self._watcher = threading.Thread(target=self._watch, name="watch-deep", daemon=True)

    def start(self) -> None:
        """Begin to look; once."""
        self._watcher.start()

    @property
    def pid(self) -> int | None:
        process = self._process
        return None if process is None or process.poll() is not None else process.pid

    def stop(self) -> None:
        """End the process; its round is run again by the next one."""
        self._stopping.set()
        if self._watcher.is_alive():
            self._watcher.join()
        if self._process is not None:
            end(self._process)

    def _watch(self) -> None:
        while not self._stopping.wait(LOOK_SECONDS):
            try:
                if self._is_running() or time.monotonic() < self._not_before:
                    continue
                if self._store.rounds.is_claimable(DEEP):
                    self._started = time.monotonic()
                    self._process = spawn(self._settings, DEEP)
            except (OSError, SQLAlchemyError, StoreUnavailable) as problem:
                LOG.error("the deep learner's process cannot be started: %s", problem)
                self._put_off()

    def _put_off(self) -> None:
        """No start before a pause has passed, and a longer one after that."""
        self._not_before = time.monotonic() + self._pause
        self._pause = min(LONGEST_PAUSE, self._pause * 2)

    def _is_running(self) -> bool:
        process = self._process
        if process is None:
            return False
        code = process.poll()
        if code is None:
            return True
        if code == 0 or time.monotonic() - self._started > LONGEST_PAUSE:
            self._pause = LOOK_SECONDS
        if code:
            LOG.error("the deep learner's process ended with code %s", code)
            self._put_off()
        close_input(process)
        self._process = None
        return False
