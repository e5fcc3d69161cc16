"""The default engine: model calls on a few threads, rounds in a training process on this machine, the deep learner
in one more."""

from __future__ import annotations

import atexit
import logging
import os
import subprocess
import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from typing import TypeVar

from backend.engines.deep import DeepProcess
from backend.engines.model_queue import ModelQueue, Urgency
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
    """Cores for one model call: clicks and training get in each other's way least like this.

    Measured on 2 cores, gp-lite0 at 1280x960: a warm click takes 27 ms on one core and 39 to 55 ms on two.
    """
    return max(1, (os.cpu_count() or 1) // 2)


def share_cores() -> None:
    """Limit the calling thread's tensors; `clickpick serve` limits the libraries below them too."""
    import torch  # noqa: PLC0415 - seconds to import, and the web process answers without it

    torch.set_num_threads(half_of_the_cores())


def model_threads(settings: Settings) -> int:
    """Model calls at once: one on a GPU, which makes them one after another anyway; two on processors, where a core
    each does more than two for one.

    Measured on 2 cores, `clicknet` at 1280x960: two calls at once, a core each, make 1.35 to 1.9 times as many clicks a
    second as one call on one core, and 1.2 to 1.9 times as many as one call on both.
    """
    if settings.model_threads:
        return settings.model_threads
    return min(2, os.cpu_count() or 1) if settings.torch_device == "cpu" else 1


class LocalEngine:
    """Owns the model threads and the training processes; all start when first needed."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self._settings = settings
        self._store = store
        self._models: ModelQueue | None = None
        self._making = threading.Lock()  # its holder may import torch for seconds
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._watcher: threading.Thread | None = None
        self._stopping = threading.Event()
        self._deep = DeepProcess(settings, store)

    def submit(
        self,
        function: Callable[[], T],
        urgency: Urgency = Urgency.CLICK,
        deadline: float | None = None,
    ) -> Future[T]:
        """Run a model call when its turn has come. deadline: of time.monotonic, after which it is not run."""
        try:
            return self._queue().submit(function, urgency, deadline)
        except RuntimeError as error:
            raise ModelUnavailable(SHUTTING_DOWN) from error

    def run(
        self,
        function: Callable[[], T],
        urgency: Urgency = Urgency.CLICK,
        deadline: float | None = None,
    ) -> T:
        """The answer of a model call; ModelUnavailable when the engine stops before, TooLate after the deadline."""
        try:
            return self.submit(function, urgency, deadline).result()
        except CancelledError as error:
            raise ModelUnavailable(SHUTTING_DOWN) from error

    def _queue(self) -> ModelQueue:
        """Made at the first model call: how many threads are right depends on the device, which torch knows."""
        with self._making:
            if self._models is None:
                if self._stopping.is_set():
                    raise ModelUnavailable(SHUTTING_DOWN)
                self._models = ModelQueue(model_threads(self._settings), share_cores)
            return self._models

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
    def waiting(self) -> int:
        """Model calls that wait for a thread."""
        models = self._models
        return 0 if models is None else len(models)

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
        with self._making:
            models = self._models
        if models is not None:
            models.stop()

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
