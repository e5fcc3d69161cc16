"""Images that are embedded before anybody clicks on them: opened ones, and those that come next."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from backend import warming
from backend.service import Service
from backend.settings import Settings
from label_config import render
from tests.backend.conftest import CLASSES, jpeg
from tests.fakes.label_studio import FakeLabelStudio
from tests.waiting import wait_until

pytestmark = pytest.mark.unit


@pytest.fixture
def service(settings: Settings) -> Iterator[Service]:
    made = Service(settings.model_copy(update={"segmenter": "grabcut"}))
    made.engine.start_training = lambda: None  # type: ignore[method-assign]
    yield made
    made.stop()


@pytest.fixture
def embedded(service: Service, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Digests in the order in which images were embedded."""
    seen: list[str] = []
    monkeypatch.setattr(service.engine.answering.decoder, "embed", lambda _, image: seen.append(image.digest))
    return seen


def project_of(fake: FakeLabelStudio, kind: str = "click", images: int = 3) -> tuple[int, str, list[int]]:
    config = render(kind, CLASSES)  # type: ignore[arg-type]
    project = fake.add_project(config)
    return project, config, [fake.upload(project, f"{n}.jpg", jpeg(n)) for n in range(images)]


def asked(fake: FakeLabelStudio) -> int:
    """How often the queue was asked for."""
    return sum(call.path == "/api/tasks" for call in fake.calls)


def test_opening_a_task_warms_it_and_then_the_next_ones(
    service: Service, fake: FakeLabelStudio, embedded: list[str]
) -> None:
    project, config, tasks = project_of(fake)
    service.predict(project, config, [fake.task_json(tasks[1])], None)
    wait_until(lambda: len(set(embedded)) == 3, "images to be embedded")
    assert embedded[0] == service.sources.images.get(fake.tasks[tasks[1]]["data"]["image"], tasks[1]).digest


def test_a_batch_is_not_somebody_who_opens_a_task(
    service: Service, fake: FakeLabelStudio, embedded: list[str]
) -> None:
    project, config, tasks = project_of(fake, images=7)
    service.predict(project, config, [fake.task_json(task) for task in tasks[:6]], None)
    wait_until(lambda: not service._background._running(), "the end of warming")
    assert len(embedded) == warming.OPENED_TASKS
    assert asked(fake) == 0


def test_the_queue_is_asked_for_once_in_a_while(
    service: Service, fake: FakeLabelStudio, embedded: list[str]
) -> None:
    project, config, tasks = project_of(fake)
    for task in tasks:
        service.predict(project, config, [fake.task_json(task)], None)
    wait_until(lambda: not service._background._running(), "the end of warming")
    assert asked(fake) == 1


def test_a_submission_warms_what_comes_next(
    service: Service, fake: FakeLabelStudio, embedded: list[str]
) -> None:
    project, config, tasks = project_of(fake)
    fake.annotate(tasks[0], [])
    service.event("ANNOTATION_UPDATED", project, config)
    service.event("ANNOTATION_CREATED", project, config)
    wait_until(lambda: len(embedded) == 2, "images to be embedded")
    assert asked(fake) == 1
    assert not service.store.rounds.has_work(), "a project of clicks learns nothing"


def test_after_a_submission_the_round_is_waited_for(
    service: Service, fake: FakeLabelStudio, embedded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    project, config, _ = project_of(fake, "both")
    paused, done = threading.Event(), threading.Event()
    has_work = service.store.rounds.has_work
    monkeypatch.setattr(
        service.store.rounds,
        "has_work",
        lambda *which: not done.is_set() and (paused.set() or has_work(*which)),
    )
    service.event("ANNOTATION_CREATED", project, config)
    assert paused.wait(10)
    time.sleep(0.1)
    assert asked(fake) == 0
    assert embedded == []
    done.set()
    wait_until(lambda: len(embedded) == 3, "images to be embedded")


def test_the_end_is_not_held_up_by_a_round(
    service: Service, fake: FakeLabelStudio, embedded: list[str]
) -> None:
    project, config, _ = project_of(fake, "both")
    service.event("ANNOTATION_CREATED", project, config)
    wait_until(service._background._running, "warming")
    started = time.monotonic()
    service._background.stop()
    assert time.monotonic() - started < 1.5
    assert not service._background._running()
    assert asked(fake) == 0


def test_pixel_projects_have_nothing_to_embed(
    service: Service, fake: FakeLabelStudio, embedded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    project, config, _ = project_of(fake, "pixel")
    started: list[Any] = []
    monkeypatch.setattr(service._background, "start", started.append)
    service.event("ANNOTATION_CREATED", project, config)
    assert started == []
