"""The training process of this machine, which runs rounds, and beside it that of the deep learner."""

from __future__ import annotations

import atexit
import logging
import subprocess
import threading
import time

from backend.engines.deep import DeepProcess
from backend.engines.process import close_input, end, spawn
from backend.round_queue import INSTANT
from backend.settings import Settings
from backend.store import Store

LOG = logging.getLogger(__name__)
RESTART_PAUSE = 1.0
LONGEST_PAUSE = 60.0


class TrainingProcesses:
    """Starts them when they are first needed, and again when they die."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._watcher: threading.Thread | None = None
        self._stopping = threading.Event()
        self._deep = DeepProcess(settings, store)

    def start(self) -> None:
        """Make sure that somebody works on the queue of rounds; nothing after `stop`."""
        if not self._settings.token:
            LOG.error("no rounds: LABEL_STUDIO_API_KEY is not set; set it and start again")
            return
        with self._lock:
            if self._process is not None or self._stopping.is_set():
                return
            self._process = self._spawn()
            self._watcher = threading.Thread(target=self._watch, name="watch-training", daemon=True)
            self._watcher.start()
            self._deep.start()
        atexit.register(self.stop)

    @property
    def pid(self) -> int | None:
        """Number of the training process, while it runs."""
        process = self._process
        return None if process is None or process.poll() is not None else process.pid

    @property
    def deep_pid(self) -> int | None:
        """Number of the deep learner's process, while there is one."""
        return self._deep.pid

    def stop(self) -> None:
        """End the processes; rounds under way are run again by the next ones."""
        with self._lock:
            self._stopping.set()
            process, watcher = self._process, self._watcher
        self._deep.stop()
        if process is not None:
            end(process)
        if watcher is not None:
            watcher.join()
        atexit.unregister(self.stop)

    def _spawn(self) -> subprocess.Popen[bytes]:
        return spawn(self._settings, INSTANT)

    def _watch(self) -> None:
        """Start the training process again whenever it dies, with growing pauses."""
        pause = RESTART_PAUSE
        while True:
            process = self._process
            if process is None:
                return
            started = time.monotonic()
            code = process.wait()
            close_input(process)
            if self._stopping.is_set():
                return
            if time.monotonic() - started > LONGEST_PAUSE:
                pause = RESTART_PAUSE
            LOG.error("the training process ended with code %s; it starts again in %.0f s", code, pause)
            while not self._restarted(pause):
                if self._stopping.is_set():
                    return
                pause = min(LONGEST_PAUSE, pause * 2)
            pause = min(LONGEST_PAUSE, pause * 2)

    def _restarted(self, pause: float) -> bool:
        """Whether, after the pause, there is a training process again; a machine without memory has none to give."""
        if self._stopping.wait(pause):
            return False
        with self._lock:
            if self._stopping.is_set():
                return False
            try:
                self._process = self._spawn()
            except OSError as error:
                LOG.error("the training process cannot be started: %s", error)
                return False
        return True
