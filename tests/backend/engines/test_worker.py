"""The loop of a training process."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

from backend.database import worker_name
from backend.engines import worker
from backend.engines.heartbeat import RoundLost
from backend.learning.rounds import Outcome
from backend.settings import Settings
from backend.store import Store
from tests.fakes.postgres import PostgresServer

pytestmark = pytest.mark.unit


class Enough(Exception):
    """Ends a loop that has no end."""


class Clock:
    """The module `time` with another sleep, for one module alone."""

    def __init__(self, sleep: Callable[[float], None]) -> None:
        self.sleep = sleep
        self.monotonic = time.monotonic


def test_torchs_compiler_is_imported_once_and_not_in_the_first_seconds(
    make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    now, imported = [0.0], []

    def sleep(seconds: float) -> None:
        now[0] += seconds
        if now[0] > 60:
            raise Enough

    monkeypatch.setattr(worker.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(worker.time, "sleep", sleep)
    monkeypatch.setattr(worker, "import_compiler", lambda: imported.append(now[0]))
    with pytest.raises(Enough):
        worker.Worker(make_settings()).run_forever()
    (when,) = imported
    assert worker.PREPARE_SECONDS < when < worker.PREPARE_SECONDS + 1


def test_it_is_what_an_optimiser_needs() -> None:
    worker.import_compiler()
    assert "torch._dynamo" in sys.modules


@pytest.mark.integration
def test_a_round_during_which_postgresql_is_restarted_runs_again_and_labels_are_read_anew(
    make_settings: Callable[..., Settings],
    postgres: PostgresServer,
    postgres_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = Store(postgres_url)
    for project in (1, 2):
        store.remember_project(project, "a")
    store.rounds.request(1, "labels")
    ran: list[int] = []

    def run(project: int, *_: Any) -> Outcome:
        ran.append(project)
        if len(ran) == 1:
            postgres.stop(signal.SIGQUIT)
        store.labels(project)
        return Outcome(None, "done")

    def sleep(seconds: float) -> None:
        if seconds == worker.POLL_SECONDS:
            raise Enough
        postgres.start()

    made = worker.Worker(make_settings(database_url=postgres_url))
    monkeypatch.setattr(made._runner, "run", run)
    monkeypatch.setattr(worker, "time", Clock(sleep))
    with pytest.raises(Enough):
        made.run_forever()
    made._store.close()
    assert ran == [1, 1, 2]
    assert {found.state for project in (1, 2) for found in store.rounds.history(project)} == {"done"}
    store.close()


def test_a_round_that_another_process_has_taken_over_stops(
    make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = worker.Worker(make_settings())
    rounds = made._store.rounds
    number = rounds.request(1, "labels")
    ended: list[str] = []

    def run(_project: int, _reason: str, report: Callable[[str, float], None], *_: Any) -> Outcome:
        assert rounds.recover({worker_name()}) == 1
        with monkeypatch.context() as patched:
            patched.setattr("backend.round_queue.worker_name", lambda: "elsewhere:1:abc")
            assert rounds.claim() is not None
        try:
            for _ in range(100):
                report("push", 0.5)
                time.sleep(0.05)
        except RoundLost:
            ended.append("lost")
            raise
        return Outcome(None, "done")

    monkeypatch.setattr(made._runner, "run", run)
    assert made.run_one() is not None
    assert ended == ["lost"]
    found = rounds.get(number)
    assert found is not None
    assert (found.state, found.attempts, found.message) == (
        "running",
        2,
        "the process that ran this round died; it starts again",
    )
    made._store.close()
