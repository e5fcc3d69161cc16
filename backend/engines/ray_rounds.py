"""Rounds on a Ray cluster: while some are due, a task of the cluster claims them from the queue and runs them.

Which round is whose is the database's doing, whatever number of web processes look into the queue. A task that dies
leaves its round to be queued again; Ray is not asked to run it again.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import threading
import time
from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING

from backend.database import worker_name
from backend.engines.ray_cluster import connect, leave, resources
from backend.engines.ray_process import become_background, for_workers
from backend.engines.ray_task import RoundTask
from backend.errors import ClickPickError, StoreUnavailable
from backend.round_queue import DEEP, INSTANT, Kind
from backend.settings import DEEP_LEARNER, Settings
from backend.store import Store

if TYPE_CHECKING:
    from backend.engines.worker import Worker

LOG = logging.getLogger(__name__)
LOOK_SECONDS = 0.2
RECOVER_SECONDS = 5.0
FIRST_SECONDS = 2.0
"""So long a task waits for its first round: another web process's task may have taken the one that it was for."""
IDLE_SECONDS = {INSTANT: 30.0, DEEP: 5.0}
"""So long a task stays for the next round: its process knows the project, and a new one imports torch for seconds."""
CLAIM_SECONDS = 5.0
"""A process without a round takes one that can be claimed within a fraction of this, if it lives."""
RENEW_SECONDS = 30.0
"""Between looks at what the cluster has: nodes with GPUs come and go."""
LONGEST_PAUSE = 60.0
JOIN_SECONDS = 10.0
"""A watcher that is joining a cluster that does not answer is not waited for any longer."""


class RayRounds:
    """Sees to it that somebody works on the queue of rounds; `start` when that is first needed."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self._settings = settings
        self._store = store
        self._tasks: dict[Kind, RoundTask] = {}
        self._gone: set[str] = set()
        self._silent: dict[Kind, tuple[str, float]] = {}
        """Who was seen without a round at every look since then, while one could be claimed."""
        self._recovered = -RECOVER_SECONDS
        self._renewed = 0.0
        self._store_was_away = False
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._watcher: threading.Thread | None = None

    def start(self) -> None:
        """Begin to look into the queue, once; returns at once, even while no cluster answers."""
        if not self._settings.token:
            LOG.error("no rounds: LABEL_STUDIO_API_KEY is not set; set it and start again")
            return
        with self._lock:
            if self._watcher is None and not self._stopping.is_set():
                self._watcher = threading.Thread(target=self._watch, name="watch-ray-rounds", daemon=True)
                self._watcher.start()

    @property
    def workers(self) -> dict[Kind, str]:
        """The processes that run rounds for this one now, by `worker_name`."""
        return {kind: task.worker for kind, task in self._tasks.items() if task.worker}

    def stop(self) -> None:
        """End the tasks; rounds under way go back into the queue."""
        with self._lock:
            self._stopping.set()
        if self._watcher is not None:
            self._watcher.join(JOIN_SECONDS)
        atexit.unregister(self.stop)
        for task in self._tasks.values():
            self._gone |= task.end()
        if self._gone:
            with contextlib.suppress(StoreUnavailable):  # then the next web process recovers them
                self._store.rounds.recover(self._gone)
        if not (self._watcher and self._watcher.is_alive()):
            leave(self)

    def _watch(self) -> None:
        pause = LOOK_SECONDS
        while not self._stopping.wait(pause):
            try:
                self._look()
                pause = LOOK_SECONDS
                continue
            except StoreUnavailable:
                self._store_was_away = True
            except ClickPickError as problem:
                LOG.error("no rounds for now: %s", problem)
            except Exception:
                LOG.exception("no rounds for now")
            pause = min(LONGEST_PAUSE, 2 * pause)

    def _look(self) -> None:
        if not self._tasks:
            connect(self._settings, self)
            self._tasks, self._renewed = _round_tasks(self._settings), time.monotonic()
            atexit.register(self.stop)  # and called before Ray's own, which was registered by now
            # Its process is made, and imports torch, before anybody waits for it.
            self._tasks[INSTANT].submit()
        rounds = self._store.rounds
        for task in self._tasks.values():
            self._gone |= task.follow()
        if self._store_was_away:  # labels that nobody could note are read
            for project in self._store.projects():
                rounds.request(project, "database back")
            self._store_was_away = False
        if self._gone or time.monotonic() - self._recovered > RECOVER_SECONDS:
            rounds.recover(self._gone)
            self._gone, self._recovered = set(), time.monotonic()
        if time.monotonic() - self._renewed > RENEW_SECONDS:
            self._renew()
        for kind, task in self._tasks.items():
            self._serve(kind, task)

    def _renew(self) -> None:
        """Let a kind that has no task now have what the cluster has by now."""
        self._renewed = time.monotonic()
        for kind, task in _round_tasks(self._settings).items():
            if self._tasks[kind].may_start() and self._tasks[kind].gets != task.gets:
                self._tasks[kind] = task

    def _serve(self, kind: Kind, task: RoundTask) -> None:
        """See to it that a round which can be claimed is; the process of the task may be gone without Ray knowing."""
        if not self._store.rounds.is_claimable(kind):
            self._silent.pop(kind, None)
            return
        if self._is_silent(kind, task.worker):
            LOG.error("%s runs no rounds any more", task.worker)
            task.abandon()
        if task.may_start():
            task.submit()

    def _is_silent(self, kind: Kind, worker: str) -> bool:
        """Whether a process has long run no round though one can be claimed; "": none has begun."""
        if not worker or self._store.rounds.is_run_by(worker):
            self._silent.pop(kind, None)
            return False
        now = time.monotonic()
        who, since = self._silent.get(kind, ("", now))
        if who != worker:
            since = now
        self._silent[kind] = (worker, since)
        return now - since > CLAIM_SECONDS


def _round_tasks(settings: Settings) -> dict[Kind, RoundTask]:
    """One of each kind, with what it gets of the cluster."""
    gpus: dict[Kind, float] = {INSTANT: settings.ray_round_gpus, DEEP: 0.0}
    if settings.device == "auto" or settings.device.startswith("cuda"):
        gpus[DEEP] = min(1.0, resources().get("GPU", 0.0))
    deep_learner = settings.deep_learner
    if deep_learner == "auto":  # by what the cluster has, not the node that happens to ask
        deep_learner = DEEP_LEARNER if gpus[DEEP] else ""
    return {
        kind: RoundTask(kind, run_rounds, for_workers(settings, share, deep_learner=deep_learner), gpus=share)
        for kind, share in gpus.items()
    }


def run_rounds(settings: Settings, kind: Kind, gpus: float) -> Iterator[str]:
    """In a process of the cluster: say by what name it claims rounds, and run them until none has come for a while."""
    worker = _worker(settings, kind, gpus)
    yield worker_name()
    if worker.run_until_idle(FIRST_SECONDS):
        worker.run_until_idle(IDLE_SECONDS[kind])


@lru_cache(maxsize=2)
def _worker(settings: Settings, kind: Kind, gpus: float) -> Worker:
    """Kept by the process, so that the next task knows what this one has learnt of Label Studio's lists."""
    from backend.engines.ray_scoring import RayScoring  # noqa: PLC0415 - what only the cluster's processes need
    from backend.engines.worker import Worker, import_compiler  # noqa: PLC0415

    become_background(settings, kind, gpus)
    worker = Worker(settings, kind, scoring=RayScoring(settings))
    import_compiler()
    return worker
