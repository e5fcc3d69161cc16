"""The training process: started when needed, started again when killed, gone with its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import psutil
import pytest

from backend.engines.training import TrainingProcesses
from backend.settings import Settings
from backend.store import Store
from tests.backend.conftest import answers
from tests.fakes.label_studio import FakeLabelStudio
from tests.waiting import wait_until

pytestmark = pytest.mark.integration


def state_of(store: Store, number: int) -> str:
    found = store.rounds.get(number)
    return "" if found is None else found.state


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    made = Store(settings.store_url)
    yield made
    made.close()


@pytest.fixture
def training(settings: Settings, store: Store) -> Iterator[TrainingProcesses]:
    made = TrainingProcesses(settings, store)
    yield made
    made.stop()


def test_a_round_runs_in_another_process_and_survives_its_death(
    training: TrainingProcesses, store: Store, fake: FakeLabelStudio, pixel_project: tuple[int, list[int]]
) -> None:
    project, tasks = pixel_project
    for task in tasks[:3]:
        fake.annotate(task, answers(task))
    number = store.rounds.request(project, "test")
    training.start()
    wait_until(lambda: state_of(store, number) == "running", "the round to start")
    first = training.pid
    assert first is not None
    assert first != os.getpid()
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: state_of(store, number) == "done", "the round to be run again")
    assert training.pid not in (None, first)
    live = store.live_version(project)
    assert live is not None
    assert sorted(p["task"] for p in fake.predictions.values()) == tasks[3:], "each waiting task once"


def test_the_training_process_ends_with_its_parent(settings: Settings, tmp_path: object) -> None:
    code = (
        "import time\n"
        "from backend.engines.training import TrainingProcesses\n"
        "from backend.settings import Settings\n"
        "from backend.store import Store\n"
        "settings = Settings()\n"
        "training = TrainingProcesses(settings, Store(settings.store_url))\n"
        "training.start()\n"
        "print(training.pid, flush=True)\n"
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
    wait_until(lambda: not psutil.pid_exists(child), "the training process to end")


def test_stopping_leaves_no_process(training: TrainingProcesses) -> None:
    training.start()
    child = training.pid
    assert child is not None
    training.stop()
    assert not psutil.pid_exists(child)
    training.start()
    assert training.pid is None, "what was stopped stays stopped"


def test_without_a_token_no_process_is_started(
    make_settings: Callable[..., Settings], caplog: pytest.LogCaptureFixture
) -> None:
    settings = make_settings(label_studio_api_key="")
    training = TrainingProcesses(settings, Store(settings.store_url))
    training.start()
    assert training.pid is None
    assert "LABEL_STUDIO_API_KEY" in caplog.text
    training.stop()
