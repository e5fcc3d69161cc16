"""The model threads of a process: how many there are, how many cores each call has, and how calls wait for them."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from functools import partial
from typing import TypeVar

from backend.engines.model_queue import ModelQueue, Urgency
from backend.errors import ModelUnavailable
from backend.settings import Settings

T = TypeVar("T")
SHUTTING_DOWN = "the server is shutting down; try again when it is back"


def half_of_the_cores(cores: int = 0) -> int:
    """Cores for one model call: clicks and training get in each other's way least like this. 0: all of the machine.

    Measured on 2 cores, gp-lite0 at 1280x960: a warm click takes 27 ms on one core and 39 to 55 ms on two.
    """
    return max(1, (cores or os.cpu_count() or 1) // 2)


def share_cores(cores: int = 0) -> None:
    """Limit the calling thread's tensors; `clickpick serve` limits the libraries below them too."""
    import torch  # noqa: PLC0415 - seconds to import, and the web process answers without it

    torch.set_num_threads(half_of_the_cores(cores))


def model_threads(settings: Settings, cores: int = 0) -> int:
    """Model calls at once: one on a GPU, which makes them one after another anyway; two on processors, where a core
    each does more than two for one.

    Measured on 2 cores, `clicknet` at 1280x960: two calls at once, a core each, make 1.35 to 1.9 times as many clicks a
    second as one call on one core, and 1.2 to 1.9 times as many as one call on both.
    """
    if settings.model_threads:
        return settings.model_threads
    return min(2, cores or os.cpu_count() or 1) if settings.torch_device == "cpu" else 1


class ModelThreads:
    """Runs model calls; the threads start at the first one. cores: of the processor, 0: all of the machine."""

    def __init__(self, settings: Settings, cores: int = 0) -> None:
        self._settings = settings
        self._cores = cores
        self._models: ModelQueue | None = None
        self._making = threading.Lock()  # its holder may import torch for seconds
        self._stopped = False

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
        """The answer of a model call; ModelUnavailable when the threads stop before, TooLate after the deadline."""
        try:
            return self.submit(function, urgency, deadline).result()
        except CancelledError as error:
            raise ModelUnavailable(SHUTTING_DOWN) from error

    @property
    def waiting(self) -> int:
        """Model calls that wait for a thread."""
        models = self._models
        return 0 if models is None else len(models)

    def stop(self) -> None:
        """Call off what waits; what runs ends by itself."""
        with self._making:
            self._stopped = True
            models = self._models
        if models is not None:
            models.stop()

    def _queue(self) -> ModelQueue:
        """Made at the first model call: how many threads are right depends on the device, which torch knows."""
        with self._making:
            if self._models is None:
                if self._stopped:
                    raise ModelUnavailable(SHUTTING_DOWN)
                workers = model_threads(self._settings, self._cores)
                self._models = ModelQueue(workers, partial(share_cores, self._cores))
            return self._models
