"""How a round pushes to its queue: what comes first, who it gives way to, and Label Studio going away meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from backend.errors import StudioUnavailable
from backend.settings import Settings
from tests.backend.conftest import answers
from tests.backend.learning.loop import Loop
from tests.fakes.http_server import Refusal
from tests.fakes.label_studio import FakeLabelStudio

pytestmark = [pytest.mark.unit, pytest.mark.usefixtures("short_turns")]


def test_a_newer_round_interrupts_the_pushing_and_finishes_it(
    loop: Loop, fake: FakeLabelStudio, pixel_project: tuple[int, list[int]]
) -> None:
    project, tasks = pixel_project
    outcome = loop.run(project, superseded=lambda: True)
    assert not outcome.complete
    assert len(fake.predictions) == 2, "the first tasks of the queue are pushed in any case"
    assert fake.projects[project]["model_version"] == outcome.version
    loop.run(project)
    assert sorted(p["task"] for p in fake.predictions.values()) == tasks, "each task once"


def test_a_version_that_is_complete_stays_until_the_next_is(
    loop: Loop, fake: FakeLabelStudio, pixel_project: tuple[int, list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    project, tasks = pixel_project
    monkeypatch.setattr("backend.learning.pushing.LEAST_TASKS", 1)
    old = loop.run(project).version
    fake.annotate(tasks[0], answers(1))
    for reason in ("labels", "rest of the queue"):
        new = loop.run(project, reason, superseded=lambda: True)
        assert not new.complete
        assert set(fake._versions(project)) == {old, new.version}
    loop.run(project)
    assert set(fake._versions(project)) == {new.version}


def test_what_label_studio_serves_next_is_pushed_before_the_queue_is_read(
    loop: Loop, fake: FakeLabelStudio, pixel_project: tuple[int, list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    project, tasks = pixel_project
    monkeypatch.setattr("backend.learning.waiting.LISTED_SECONDS", 0.0)
    loop.run(project)
    for prediction in fake.predictions.values():
        prediction["score"] = 0.9 - 0.1 * tasks.index(prediction["task"])
    fake.annotate(tasks[5], answers(1))

    def fail(*_: object, **__: object) -> None:
        raise StudioUnavailable("the queue is too long today")

    with monkeypatch.context() as patched:
        patched.setattr("backend.studio.Studio.task_pages", fail)
        with pytest.raises(StudioUnavailable):
            loop.run(project)
    live = loop.store.live_version(project)
    assert live is not None
    assert fake.projects[project]["model_version"] == live.name
    first = [p["task"] for p in fake.predictions.values() if p["model_version"] == live.name]
    assert first == [tasks[4], tasks[3]]
    loop.run(project)
    order = [p["task"] for p in fake.predictions.values() if p["model_version"] == live.name]
    assert sorted(order) == tasks[:5], "each task once"


def test_a_submit_interrupts_a_chunk_and_what_was_scored_is_delivered(
    fake: FakeLabelStudio, pixel_project: tuple[int, list[int]], make_settings: Callable[..., Settings]
) -> None:
    project, tasks = pixel_project
    loop = Loop(make_settings(first_push=1, push_chunk=32))
    calls = 0

    def at_the_seventh_call() -> bool:
        nonlocal calls
        calls += 1
        return calls >= 7

    outcome = loop.run(project, superseded=at_the_seventh_call)
    assert not outcome.complete
    assert len(fake.predictions) == 1 + 1 + 2 + 1, "three whole chunks, and the first task of the fourth"
    loop.run(project)
    assert sorted(p["task"] for p in fake.predictions.values()) == tasks
    loop.close()


def test_label_studio_away_leaves_the_predictions_in_the_outbox_and_nothing_twice(
    loop: Loop, fake: FakeLabelStudio, pixel_project: tuple[int, list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    project, tasks = pixel_project
    real = fake._import_predictions

    def store_and_break(*arguments: Any) -> Any:
        real(*arguments)
        fake.broken = 503
        raise Refusal(503, "stored, but the answer is lost")

    monkeypatch.setattr(fake, "_import_predictions", store_and_break)
    with pytest.raises(StudioUnavailable):
        loop.run(project)
    assert len(loop.store.parcels(project)) == 1
    monkeypatch.setattr(fake, "_import_predictions", real)
    fake.broken = 0
    loop.run(project)
    assert loop.store.parcels(project) == []
    assert sorted(p["task"] for p in fake.predictions.values()) == tasks


def test_a_task_deleted_in_the_middle_does_not_hold_up_the_others(
    loop: Loop, fake: FakeLabelStudio, pixel_project: tuple[int, list[int]]
) -> None:
    project, tasks = pixel_project

    def delete() -> bool:
        fake.tasks.pop(tasks[-1], None)
        return False

    loop.run(project, superseded=delete)
    assert sorted(p["task"] for p in fake.predictions.values()) == tasks[:-1]
    assert loop.store.parcels(project) == []


def test_label_studio_going_away_while_scoring_ends_the_round_instead_of_losing_queries(
    loop: Loop, fake: FakeLabelStudio, pixel_project: tuple[int, list[int]]
) -> None:
    project, tasks = pixel_project

    def go_away() -> bool:
        fake.broken = 503
        return False

    with pytest.raises(StudioUnavailable):
        loop.run(project, superseded=go_away)
    fake.broken = 0
    loop.run(project)
    assert sorted(p["task"] for p in fake.predictions.values()) == tasks
