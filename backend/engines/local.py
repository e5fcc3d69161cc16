"""The default engine: model calls on one thread, rounds in a training process on this machine, the deep learner in one
more."""

from __future__ import annotations

import atexit
import logging
import os
import subprocess
import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from typing import TypeVar

from backend.engines.deep import DeepProcess
from backend.engines.process import close_input, end, spawn
from backend.errors import ModelUnavailable
from backend.round_queue import INSTANT
from backend.settings import Settings
from backend.store import Store

LOG = logging.getLogger(__name__)
T = TypeVar("T")
RESTART_PAUSE = 1.0
LONGEST_PAUSE = 60.0
SHUTTING_DOWN = "the server is shutting down; try again when it is back"


def half_of_the_cores() -> int:
    """Threads for one process's models: clicks and training get in each other's way least like this.

    Measured on 2 cores, gp-lite0 at 1280x960: a warm click takes 27 ms on one thread and 39 to 55 ms on two.
    """
    return max(1, (os.cpu_count() or 1) // 2)


def share_cores() -> None:
    """Limit the calling thread's tensors; `clickpick serve` limits the libraries below them too."""
    import torch  # noqa: PLC0415 - seconds to import, and the web process answers without it

    torch.set_num_threads(half_of_the_cores())


class LocalEngine:
    """Owns the model thread and the training processes; all start when first needed."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self._settings = settings
        self._store = store
        self._models = ThreadPoolExecutor(1, thread_name_prefix="model", initializer=share_cores)
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._watcher: threading.Thread | None = None
        self._stopping = threading.Event()
        self._deep = DeepProcess(settings, store)

    def submit(self, function: Callable[[], T]) -> Future[T]:
        """Run a model call; calls of all requests take turns."""
        try:
            return self._models.submit(function)
        except RuntimeError as error:
            raise ModelUnavailable(SHUTTING_DOWN) from error

    def run(self, function: Callable[[], T]) -> T:
        """The answer of a model call, when its turn has come; ModelUnavailable when the engine stops before that."""
        try:
            return self.submit(function).result()
        except CancelledError as error:
            raise ModelUnavailable(SHUTTING_DOWN) from error

    def start_training_process(self) -> None:
        """Make sure that somebody works on the queue of rounds."""
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
    def training_pid(self) -> int | None:
        process = self._process
        return None if process is None or process.poll() is not None else process.pid

    @property
    def deep_pid(self) -> int | None:
        """Number of the deep learner's process, while there is one."""
        return self._deep.pid

    def stop(self) -> None:
        """End the training processes; rounds under way are run again by the next ones."""
        with self._lock:
            self._stopping.set()
            process, watcher = self._process, self._watcher
        self._deep.stop()
        if process is not None:
            end(process)
        if watcher is not None:
            watcher.join()
        atexit.unregister(self.stop)
        self._models.shutdown(wait=False, cancel_futures=True)

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
