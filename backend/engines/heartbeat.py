"""A round's heartbeat: the store hears that it lives, and the round hears when it is lost."""

from __future__ import annotations

import contextlib
import threading

from backend.round_queue import Round
from backend.store import Store

BEAT_SECONDS = 0.5


class RoundLost(Exception):
    """The round is another process's by now: this one was silent for too long."""


class Heartbeat:
    """Tells the store twice a second that the round lives, and how far it is; the round hears of it when it is lost."""

    def __init__(self, store: Store, claimed: Round) -> None:
        self._store = store
        self._round = claimed
        self._state = ("", 0.0)
        self._lost = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def report(self, stage: str, progress: float) -> None:
        """Raises RoundLost where the round has become another process's."""
        self._check()
        self._state = (stage, progress)

    def is_superseded(self) -> bool:
        """Whether another round waits for the end of this one; RoundLost as with `report`."""
        self._check()
        return self._store.rounds.should_give_way(self._round.project)

    def _check(self) -> None:
        if self._lost:
            raise RoundLost

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _beat(self) -> None:
        while not self._stop.wait(BEAT_SECONDS):
            with contextlib.suppress(Exception):  # a missed beat is made up for by the next
                self._lost = not self._store.rounds.beat(self._round.id, *self._state)
