"""What goes on beside something else, on threads of its own."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TypeVar

Entered = TypeVar("Entered", bound="Aside")


class Aside:
    """Runs while it is entered: ``_run`` once a worker, on a thread each, which ends when ``_stop`` is set."""

    def __init__(self, workers: int = 1) -> None:
        self._stop = threading.Event()
        self._threads: Sequence[threading.Thread] = [
            threading.Thread(target=self._run, args=(number,)) for number in range(workers)
        ]

    def __enter__(self: Entered) -> Entered:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self, worker: int) -> None:
        raise NotImplementedError
