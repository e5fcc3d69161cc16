"""What runs in the background ends with its owner, and nothing that it raises leaves it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError
from typing import Any

import pytest

from backend.background import Background, Step
from backend.errors import ImageProblem, ModelUnavailable
from backend.service import Service
from backend.settings import Settings
from label_config import render
from tests.backend.conftest import CLASSES, jpeg
from tests.fakes.label_studio import FakeLabelStudio

pytestmark = pytest.mark.unit


@pytest.fixture
def unhandled(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What threads have raised."""
    raised: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", lambda arguments: raised.append(arguments.exc_value))
    return raised


@pytest.fixture
def background() -> Iterator[Background]:
    made = Background()
    yield made
    made.stop()


@pytest.fixture
def service(settings: Settings) -> Iterator[Service]:
    made = Service(settings.model_copy(update={"segmenter": "grabcut", "model_threads": 1}))
    yield made
    made.stop()


def raises(error: BaseException) -> Any:
    def run() -> None:
        raise error

    return run


def test_stopping_while_images_wait_for_their_turn_ends_the_warming(
    service: Service, fake: FakeLabelStudio, unhandled: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = render("click", CLASSES)
    project = fake.add_project(config)
    task = fake.upload(project, "photo.jpg", jpeg(1))
    busy, waiting, release = threading.Event(), threading.Event(), threading.Event()
    service.engine.models.submit(lambda: (busy.set(), release.wait(60)))
    assert busy.wait(10)
    submit = service.engine.models.submit

    def noticed(*call: Any) -> Any:
        future = submit(*call)
        waiting.set()
        return future

    monkeypatch.setattr(service.engine.models, "submit", noticed)
    try:
        service.predict(project, config, [fake.task_json(task)], None)
        assert waiting.wait(10)
        (thread,) = service._background._running()
        started = time.monotonic()
        service.stop()
        assert time.monotonic() - started < 1, "a call that waits for its turn is called off"
        assert not thread.is_alive()
    finally:
        release.set()
    assert unhandled == []


def test_stopping_during_a_download_does_not_wait_for_it(
    service: Service, fake: FakeLabelStudio, unhandled: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = render("click", CLASSES)
    project = fake.add_project(config)
    tasks = [fake.upload(project, f"photo-{n}.jpg", jpeg(n)) for n in range(2)]
    fetching, release = threading.Event(), threading.Event()
    fetched = []

    def get(_: str, number: int | None) -> Any:
        fetched.append(number)
        fetching.set()
        release.wait(60)
        raise ValueError("I/O operation on closed file")

    monkeypatch.setattr(service.sources.images, "get", get)
    service.predict(project, config, [fake.task_json(task) for task in tasks], None)
    assert fetching.wait(10)
    (thread,) = service._background._running()
    service._background.stop(0.1)
    assert thread.is_alive()
    release.set()
    thread.join(10)
    assert not thread.is_alive()
    assert fetched == tasks[:1], "no image is fetched for a service that has ended"
    assert unhandled == []


def test_a_restart_that_ends_at_once_asks_for_no_rounds(
    service: Service, unhandled: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    service.store.remember_project(7, "config")
    warming, release = threading.Event(), threading.Event()
    asked = []
    monkeypatch.setattr(
        service.engine.answering.decoder, "warm_up", lambda _: (warming.set(), release.wait(60))
    )
    monkeypatch.setattr(service, "labels_changed", lambda *arguments: asked.append(arguments))
    service.start()
    assert warming.wait(10)
    (thread,) = service._background._running()
    service._background.cancel()
    release.set()
    thread.join(10)
    assert asked == []
    assert unhandled == []


def test_a_model_call_that_was_called_off_is_a_server_that_ends(service: Service) -> None:
    busy, release = threading.Event(), threading.Event()
    service.engine.models.submit(lambda: (busy.set(), release.wait(60)))
    assert busy.wait(10)
    failures = []

    def call() -> None:
        try:
            service.engine.models.run(lambda: None)
        except ModelUnavailable as error:
            failures.append(str(error))

    thread = threading.Thread(target=call)
    try:
        thread.start()
        while not len(service.engine.models._models):
            time.sleep(0.01)
        service.engine.stop()
        thread.join(10)
    finally:
        release.set()
    with pytest.raises(ModelUnavailable, match="shutting down"):
        service.engine.models.run(lambda: None)
    assert len(failures) == 1
    assert "shutting down" in failures[0]


@pytest.mark.parametrize(
    ("error", "level", "said"),
    [
        (ImageProblem("no image"), logging.INFO, "task 7 failed: no image"),
        (RuntimeError("a bug"), logging.ERROR, "task 7 failed"),
        (CancelledError(), logging.ERROR, "task 7 failed"),
    ],
)
def test_a_failure_is_logged_and_the_next_step_taken(
    background: Background,
    unhandled: list[Any],
    caplog: pytest.LogCaptureFixture,
    error: Exception,
    level: int,
    said: str,
) -> None:
    taken = threading.Event()
    with caplog.at_level(logging.INFO, "backend.background"):
        background.start([Step(raises(error), "task 7 failed"), Step(taken.set, "never")])
        assert taken.wait(10)
        background.stop()
    (record,) = caplog.records
    assert (record.levelno, record.getMessage()) == (level, said)
    assert unhandled == []


def test_nothing_begins_after_the_end(background: Background) -> None:
    background.stop()
    taken = []
    background.start([Step(lambda: taken.append(1), "never")])
    assert background._running() == []
    assert taken == []


def test_a_machine_without_threads_loses_the_work_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    background = Background()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", full)
        background.start([Step(lambda: None, "task 7 was not warmed up")])
    background.stop()
    assert "task 7 was not warmed up: can't start new thread" in caplog.text
