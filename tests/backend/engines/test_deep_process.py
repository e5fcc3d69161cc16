"""The deep learner's process: beside that of rounds, begun again when it is killed, gone when it has no work."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator

import psutil
import pytest

from backend.engines.training import TrainingProcesses
from backend.learning.gate import is_deep
from backend.round_queue import ASKED_FOR, DEEP
from backend.store import Store
from tests.backend.conftest import answers
from tests.fakes.label_studio import FakeLabelStudio
from tests.waiting import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture
def training(make_settings: Callable[..., object]) -> Iterator[TrainingProcesses]:
    settings = make_settings(deep_learner="probe-lite2", deep_every=30)
    settings.data.mkdir(parents=True)  # type: ignore[attr-defined]
    store = Store(settings.store_url)  # type: ignore[attr-defined]
    made = TrainingProcesses(settings, store)  # type: ignore[arg-type]
    yield made
    made.stop()
    store.close()


def deep_state(store: Store, project: int) -> tuple[str, int]:
    """State and attempts of the latest round of the deep learner."""
    found = [(r.state, r.attempts) for r in store.rounds.history(project) if r.kind == DEEP]
    return found[0] if found else ("", 0)


def test_rounds_go_on_while_it_stands_still_and_its_death_loses_nothing(
    training: TrainingProcesses, fake: FakeLabelStudio, pixel_project: tuple[int, list[int]]
) -> None:
    project, tasks = pixel_project
    store = training._deep._store
    for task in tasks[:3]:
        fake.annotate(task, answers(task))
    store.rounds.request(project, "test")
    training.start()
    wait_until(lambda: deep_state(store, project)[0] == "running", "the deep learner to start")
    first = training.deep_pid
    assert first is not None
    assert first not in (os.getpid(), training.pid)
    os.kill(first, signal.SIGSTOP)
    fake.annotate(tasks[3], answers(tasks[3]))
    number = store.rounds.request(project, "test")
    wait_until(lambda: (found := store.rounds.get(number)) and found.state == "done", "a round beside it")
    live = store.live_version(project)
    assert live is not None
    assert (live.labels, live.learner) == (40, "probe-lite0")
    assert deep_state(store, project)[0] == "running"
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: deep_state(store, project) == ("done", 2), "the deep learner to be run again")
    wait_until(lambda: any(is_deep(v) for v in store.versions(project)), "the round that judges it")
    wait_until(lambda: training.deep_pid is None, "its process to go when there is no work")
    store.rounds.request(project, ASKED_FOR)
    wait_until(lambda: training.deep_pid is not None, "its process to come when there is work")


def test_stopping_leaves_no_process(
    training: TrainingProcesses, fake: FakeLabelStudio, pixel_project: tuple[int, list[int]]
) -> None:
    project, _ = pixel_project
    training._deep._store.rounds.request(project, "test", kind=DEEP, delay=0.0)
    training.start()
    wait_until(lambda: training.deep_pid is not None, "the process to start")
    child = training.deep_pid
    training.stop()
    assert child is not None
    deadline = time.monotonic() + 10
    while psutil.pid_exists(child):
        assert time.monotonic() < deadline
        time.sleep(0.1)
