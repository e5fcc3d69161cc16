"""The default engine: model calls on one thread, rounds in one training process on this machine."""

from __future__ import annotations

import atexit
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from typing import TypeVar

from backend.errors import ModelUnavailable
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
    """Owns the model thread and the training process; both start when first needed."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self._settings = settings
        self._store = store
        self._models = ThreadPoolExecutor(1, thread_name_prefix="model", initializer=share_cores)
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._watcher: threading.Thread | None = None
        self._stopping = threading.Event()

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
        atexit.register(self.stop)

    @property
    def training_pid(self) -> int | None:
        process = self._process
        return None if process is None or process.poll() is not None else process.pid

    def stop(self) -> None:
        """End the training process; a round under way is run again by the next one."""
        with self._lock:
            self._stopping.set()
            process, watcher = self._process, self._watcher
        if process is not None and process.poll() is None:
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if process is not None:
            _close_input(process)
        if watcher is not None:
            watcher.join()
        atexit.unregister(self.stop)
        self._models.shutdown(wait=False, cancel_futures=True)

    def _spawn(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "backend.engines.worker"]
        process = subprocess.Popen(  # noqa: S603 - our own module
            command, stdin=subprocess.PIPE, env={**os.environ, **_environment(self._settings)}
        )
        LOG.info("training process %d started", process.pid)
        return process

    def _watch(self) -> None:
        """Start the training process again whenever it dies, with growing pauses."""
        pause = RESTART_PAUSE
        while True:
            process = self._process
            if process is None:
                return
            started = time.monotonic()
            code = process.wait()
            _close_input(process)
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


def _close_input(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        process.stdin.close()


def _environment(settings: Settings) -> dict[str, str]:
    """The settings as the child reads them: flags of the command line must reach it too."""
    values = {
        f"CLICKPICK_{name.upper()}": ",".join(value) if isinstance(value, tuple) else str(value)
        for name, value in settings.model_dump(exclude={"label_studio_url", "label_studio_api_key"}).items()
    }
    return {**values, "LABEL_STUDIO_URL": settings.label_studio_url, "LABEL_STUDIO_API_KEY": settings.token}
