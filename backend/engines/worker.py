"""A training process: claims rounds of one kind from the queue and runs them, one at a time, at low priority.

Started by `backend.engines.process`; ends when its standard input closes, which happens however the parent dies. That
of the deep learner ends, too, when nothing is left to do: the device's memory is free then.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import signal
import sys
import threading
import time

from backend import log_context
from backend.engines.heartbeat import Heartbeat, RoundLost
from backend.engines.limits import cap_memory, is_out_of_memory
from backend.engines.model_threads import share_cores
from backend.errors import (
    ClickPickError,
    ClusterUnavailable,
    Overtaken,
    SharedUnavailable,
    StoreUnavailable,
    StudioUnavailable,
    is_disk_full,
)
from backend.images import ImageFetcher
from backend.learning.deep_training import DeepTrainer
from backend.learning.rounds import RoundRunner
from backend.learning.scoring import Scoring
from backend.learning.versions import Versions
from backend.logs import configure_logging
from backend.memory import keep_freed_memory
from backend.round_queue import DEEP, INSTANT, Kind, Round
from backend.services import open_images, open_shared, open_studio
from backend.settings import MEGABYTE, Settings
from backend.store import Store
from label_config import LabelConfigError
from model_zoo.errors import ModelZooError

LOG = logging.getLogger(__name__)
POLL_SECONDS = 0.2
RECOVER_SECONDS = 5.0
REST_SECONDS = 0.1
"""After a round that made way for others: late enough for those, soon enough for its own queue."""
AWAY_SECONDS = 1.0
LONGEST_PAUSE = 300.0
PREPARE_SECONDS = 10.0
"""After the start; a server's first seconds belong to those who open it."""
INTERNAL = "internal error; the log of the training process has the details"
DISK_FULL = "the disk of the data folder is full; make room there, and the round goes on by itself"
OUT_OF_MEMORY = (
    "training ran out of memory; raise CLICKPICK_TRAINING_MEMORY_MB, give the machine more, or choose a smaller "
    "learner"
)
DEEP_IDLE_SECONDS = 5.0
"""The deep learner's process stays so long without work: the next project's training may be asked for just now."""


class Worker:
    """Runs rounds of a kind from one store. ``scoring``: of their pools, where it is not this process."""

    def __init__(self, settings: Settings, kind: Kind = INSTANT, *, scoring: Scoring | None = None) -> None:
        self._kind = kind
        self._store = Store(settings.store_url)
        studio = open_studio(settings)
        images: ImageFetcher = open_images(settings, studio)
        versions = Versions(
            self._store,
            settings.versions_folder,
            lambda: settings.torch_device,
            quota=settings.versions_mb * MEGABYTE,
            storage=open_shared(settings),
        )
        self._runner: RoundRunner | DeepTrainer
        if kind == DEEP:
            self._runner = DeepTrainer(settings, self._store, studio, images, versions)
        else:
            self._runner = RoundRunner(settings, self._store, studio, images, versions, scoring=scoring)
        self._claimed: int | None = None

    def run_one(self, project: int | None = None) -> Round | None:
        """Claim and run one due round; returns it as it ended, or None when there was none."""
        claimed = self._store.rounds.claim(project, self._kind)
        if claimed is None:
            return None
        self._run(claimed)
        return self._store.rounds.get(claimed.id)

    def run_forever(self) -> None:
        """Work until the process ends; what other processes left behind when they died is taken up too."""
        recovered, ready_at = -RECOVER_SECONDS, time.monotonic() + PREPARE_SECONDS
        while True:
            try:
                if time.monotonic() - recovered > RECOVER_SECONDS:
                    self._store.rounds.recover()
                    recovered = time.monotonic()
                worked = self.run_one() is not None
            except StoreUnavailable:
                self._wait_for_store()
                continue
            if not worked:
                time.sleep(POLL_SECONDS)
                if time.monotonic() > ready_at:
                    ready_at = math.inf
                    import_compiler()

    def run_until_idle(self, patience: float) -> int:
        """Work until there has been nothing to do for so many seconds; returns how many rounds were run."""
        count, worked = 0, time.monotonic()
        while time.monotonic() - worked < patience:
            try:
                found = self.run_one() is not None
            except StoreUnavailable:
                self._wait_for_store()
                continue
            if found:
                count, worked = count + 1, time.monotonic()
            else:
                time.sleep(POLL_SECONDS)
        return count

    def _wait_for_store(self) -> None:
        """Until the database is back; then what was cut short is queued, and labels that nobody could note are read."""
        while True:
            time.sleep(AWAY_SECONDS)
            with contextlib.suppress(StoreUnavailable):
                if self._claimed is not None:
                    self._store.rounds.retry(self._claimed, "the database was away", 0.0)
                    self._claimed = None
                for project in self._store.projects():
                    self._store.rounds.request(project, "database back")
                return

    def _run(self, claimed: Round) -> None:
        rounds = self._store.rounds
        self._claimed = claimed.id
        log_context.clear()
        log_context.bind(project=claimed.project, round=claimed.id)
        beat = Heartbeat(self._store, claimed)
        try:
            with beat:
                outcome = self._runner.run(
                    claimed.project, claimed.reason, beat.report, beat.is_superseded, claimed.id
                )
            rounds.finish(claimed.id, "done", outcome.message, outcome.version)
            if not outcome.complete:
                rounds.request(claimed.project, "rest of the queue", delay=REST_SECONDS)
            log_context.bind(version=outcome.version)
            LOG.info("project %d, round %d: %s", claimed.project, claimed.id, outcome.message)
        except StoreUnavailable:
            raise
        except RoundLost:
            LOG.error("project %d, round %d: another process runs it by now", claimed.project, claimed.id)
        except (StudioUnavailable, ClusterUnavailable, SharedUnavailable, Overtaken) as error:
            self._put_off(claimed, str(error))
        except (ClickPickError, LabelConfigError, ModelZooError) as error:
            rounds.finish(claimed.id, "failed", str(error))
            LOG.error("project %d, round %d failed: %s", claimed.project, claimed.id, error)
        except Exception as error:
            if is_disk_full(error):
                self._put_off(claimed, DISK_FULL)
            else:
                rounds.finish(claimed.id, "failed", OUT_OF_MEMORY if is_out_of_memory(error) else INTERNAL)
                LOG.exception("project %d, round %d failed", claimed.project, claimed.id)
        except BaseException:
            with contextlib.suppress(StoreUnavailable):  # it would take the interrupt's place
                rounds.retry(claimed.id, "interrupted", 0.0)
            raise
        self._claimed = None

    def _put_off(self, claimed: Round, why: str) -> None:
        """Try the round again, after pauses that grow."""
        pause = min(LONGEST_PAUSE, 2.0 ** min(claimed.attempts, 10))
        self._store.rounds.retry(claimed.id, why, pause)
        LOG.warning("project %d: %s; next try in %.0f s", claimed.project, why, pause)


def _leave_with_parent() -> None:
    """End this process once the other end of standard input is gone."""
    with contextlib.suppress(OSError):  # a pipe that cannot be read has nobody at its other end
        while os.read(sys.stdin.fileno(), 1):
            pass
    os._exit(0)


def import_compiler() -> None:
    """What torch imports with the first optimiser: seconds of a core that the first fit need not wait for."""
    from torch import optim, zeros  # noqa: PLC0415 - not before it is time

    optim.AdamW([zeros(1, requires_grad=True)])


def main(kind: Kind) -> None:
    """Entry point of a training process."""
    settings = Settings()
    configure_logging(settings.log_level, settings.log_format)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent too, which ends this process
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    keep_freed_memory()
    share_cores()
    cap_memory(settings.training_memory_mb, settings.torch_device)
    worker = Worker(settings, kind)
    if kind == DEEP:
        worker.run_until_idle(DEEP_IDLE_SECONDS)
    else:
        worker.run_forever()


if __name__ == "__main__":
    main(DEEP if DEEP in sys.argv[1:] else INSTANT)
