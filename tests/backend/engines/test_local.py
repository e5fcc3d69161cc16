"""The training process: started when needed, started again when killed, gone with its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import psutil
import pytest

from backend.engines.local import LocalEngine
from backend.settings import Settings
from backend.store import Store
from tests.backend.conftest import answers
from tests.fakes.label_studio import FakeLabelStudio

pytestmark = pytest.mark.integration

PATIENCE = 240.0


def wait_for(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"waited {PATIENCE:.0f} s for {what}"
        time.sleep(0.1)


def state_of(store: Store, number: int) -> str:
    found = store.rounds.get(number)
    return "" if found is None else found.state


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    made = Store(settings.store_url)
    yield made
    made.close()


@pytest.fixture
def engine(settings: Settings, store: Store) -> Iterator[LocalEngine]:
    made = LocalEngine(settings, store)
    yield made
    made.stop()


def test_a_round_runs_in_another_process_and_survives_its_death(
    engine: LocalEngine, store: Store, fake: FakeLabelStudio, pixel_project: tuple[int, list[int]]
) -> None:
    project, tasks = pixel_project
    for task in tasks[:3]:
        fake.annotate(task, answers(task))
    number = store.rounds.request(project, "test")
    engine.start_training_process()
    wait_for(lambda: state_of(store, number) == "running", "the round to start")
    first = engine.training_pid
    assert first is not None
    assert first != os.getpid()
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: state_of(store, number) == "done", "the round to be run again")
    assert engine.training_pid not in (None, first)
    live = store.live_version(project)
    assert live is not None
    assert sorted(p["task"] for p in fake.predictions.values()) == tasks[3:], "each waiting task once"


def test_the_training_process_ends_with_its_parent(settings: Settings, tmp_path: object) -> None:
    code = (
        "import time\n"
        "from backend.engines.local import LocalEngine\n"
        "from backend.settings import Settings\n"
        "from backend.store import Store\n"
        "settings = Settings()\n"
        "engine = LocalEngine(settings, Store(settings.store_url))\n"
        "engine.start_training_process()\n"
        "print(engine.training_pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    environment = {
        **os.environ,
        "CLICKPICK_DATA": str(settings.data),
        "LABEL_STUDIO_URL": settings.label_studio_url,
        "LABEL_STUDIO_API_KEY": settings.token,
    }
    parent = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment, text=True
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert psutil.pid_exists(child)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    wait_for(lambda: not psutil.pid_exists(child), "the training process to end")


def test_stopping_leaves_no_process(engine: LocalEngine) -> None:
    engine.start_training_process()
    child = engine.training_pid
    assert child is not None
    engine.stop()
    assert not psutil.pid_exists(child)
    engine.start_training_process()
    assert engine.training_pid is None, "a stopped engine stays stopped"


@pytest.mark.parametrize("threads", [1, 2])
def test_model_calls_take_turns(settings: Settings, store: Store, threads: int) -> None:
    engine = LocalEngine(settings.model_copy(update={"model_threads": threads}), store)
    running: list[int] = []

    def call() -> int:
        running.append(1)
        most = len(running)
        time.sleep(0.05)
        running.pop()
        return most

    try:
        assert max(future.result() for future in [engine.submit(call) for _ in range(6)]) == threads
    finally:
        engine.stop()


def test_without_a_token_no_process_is_started(
    make_settings: Callable[..., Settings], caplog: pytest.LogCaptureFixture
) -> None:
    settings = make_settings(label_studio_api_key="")
    engine = LocalEngine(settings, Store(settings.store_url))
    engine.start_training_process()
    assert engine.training_pid is None
    assert "LABEL_STUDIO_API_KEY" in caplog.text
    engine.stop()
