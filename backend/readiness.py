"""Whether this process can answer clicks now, and what it cannot do meanwhile."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from backend.background import Background, Step
from backend.store import Store

ANSWER_SECONDS = 0.5
"""So long /ready waits for the database: balancers and Kubernetes give up on /ready itself after a second."""


class Readiness:
    """The reasons name no model, host or file: anybody may ask, as with /health. ``engine``: its own reasons.

    No process starts without the database. Later it is no reason to send requests elsewhere: a click never asks it,
    and all processes of an installation would leave the balancer together.
    """

    def __init__(self, store: Store, engine: Callable[[], list[str]], background: Background) -> None:
        self._store = store
        self._engine = engine
        self._background = background
        self._lock = threading.Lock()
        self._asked = threading.Event()
        self._asked.set()
        self._answers = True

    def problems(self) -> list[str]:
        """Why requests should go elsewhere for now; empty when they may come."""
        return self._engine()

    def warnings(self) -> list[str]:
        """What does not work while clicks are answered."""
        if self._database_answers():
            return []
        return ["the database does not answer; clicks go on, what needs it gets 503, and the log says why"]

    def _database_answers(self) -> bool:
        with self._lock:
            if self._asked.is_set():  # else it is being asked
                self._asked.clear()
                step = Step(self._ask, "the database does not answer", logging.WARNING)
                if not self._background.start([step]):
                    self._asked.set()
        return self._asked.wait(ANSWER_SECONDS) and self._answers

    def _ask(self) -> None:
        answers = False
        try:
            self._store.overview.ping()
            answers = True
        finally:
            self._answers = answers
            self._asked.set()
