"""Predictions reach Label Studio once; what it refuses for good does not block what follows."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from itertools import pairwise
from threading import Timer
from typing import Any

import pytest

from backend.errors import StudioRefused, StudioUnavailable
from backend.learning.delivery import OPEN_SECONDS, Delivery
from backend.services import open_studio
from backend.settings import Settings
from backend.store import Store, Version
from tests.backend.conftest import answer
from tests.fakes.http_server import Refusal
from tests.fakes.label_studio import FakeLabelStudio

pytestmark = pytest.mark.unit

VERSION = "clickpick-1-v1-abcdef"
UNDER_WAY = 1.0


@pytest.fixture
def delivery(
    store: Store,
    settings: Settings,
    pixel_project: tuple[int, list[int]],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Delivery]:
    monkeypatch.setattr("backend.learning.delivery.UNDER_WAY_SECONDS", UNDER_WAY)
    with closing(open_studio(settings)) as studio:
        yield Delivery(store, studio, pixel_project[0])


def prediction(task: int, label: str = "?") -> dict[str, object]:
    return {"task": task, "model_version": VERSION, "score": 0.5, "result": [answer(1, 1, label)]}


def stored(fake: FakeLabelStudio) -> list[int]:
    return sorted(p["task"] for p in fake.predictions.values())


def test_a_parcel_that_may_have_arrived_is_completed_and_not_doubled(
    delivery: Delivery, store: Store, fake: FakeLabelStudio, pixel_project: tuple[int, list[int]]
) -> None:
    project, tasks = pixel_project
    delivery.send(VERSION, [prediction(task) for task in tasks[:2]])
    fake.projects[project]["model_version"] = VERSION
    store.post(project, VERSION, [prediction(task) for task in tasks[:4]])
    store.parcel_tried(store.parcels(project)[0].id)
    delivery.flush(VERSION)
    assert stored(fake) == tasks[:4]
    assert store.parcels(project) == []


def test_a_request_that_outlives_its_sender_is_waited_for(
    delivery: Delivery, store: Store, fake: FakeLabelStudio, pixel_project: tuple[int, list[int]]
) -> None:
    project, tasks = pixel_project
    sent = [prediction(task) for task in tasks[:2]]
    store.post(project, VERSION, sent)
    store.parcel_tried(store.parcels(project)[0].id)
    still_under_way = Timer(UNDER_WAY / 2, fake._import_predictions, (fake.projects[project], sent))
    still_under_way.start()
    delivery.flush(VERSION)
    still_under_way.join()
    assert stored(fake) == tasks[:2]
    assert store.parcels(project) == []


def test_parcels_of_a_superseded_version_are_dropped(
    delivery: Delivery, store: Store, fake: FakeLabelStudio, pixel_project: tuple[int, list[int]]
) -> None:
    project, tasks = pixel_project
    store.post(project, "clickpick-1-v0", [prediction(tasks[0])])
    delivery.send(VERSION, [prediction(tasks[1])])
    assert stored(fake) == [tasks[1]]
    assert store.parcels(project) == []


def test_label_studio_away_keeps_the_parcel(
    delivery: Delivery, store: Store, fake: FakeLabelStudio, pixel_project: tuple[int, list[int]]
) -> None:
    _, tasks = pixel_project
    fake.broken = 503
    with pytest.raises(StudioUnavailable):
        delivery.send(VERSION, [prediction(tasks[0])])
    fake.broken = 0
    delivery.flush(VERSION)
    assert stored(fake) == [tasks[0]]


def test_predictions_of_deleted_tasks_do_not_hold_up_the_others(
    delivery: Delivery, store: Store, fake: FakeLabelStudio, pixel_project: tuple[int, list[int]]
) -> None:
    project, tasks = pixel_project
    delivery.send(VERSION, [prediction(tasks[0]), prediction(999_999)])
    assert stored(fake) == [tasks[0]]
    assert store.parcels(project) == []


def test_predictions_that_label_studio_drops_are_logged_and_do_not_come_back(
    delivery: Delivery,
    store: Store,
    fake: FakeLabelStudio,
    pixel_project: tuple[int, list[int]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    project, tasks = pixel_project
    delivery.send(VERSION, [prediction(tasks[0]), prediction(tasks[1], label="no such class")])
    assert stored(fake) == [tasks[0]]
    assert store.parcels(project) == []
    assert "1 of 2" in caplog.text


def test_a_refused_token_keeps_the_parcel(
    delivery: Delivery, store: Store, fake: FakeLabelStudio, pixel_project: tuple[int, list[int]]
) -> None:
    project, tasks = pixel_project
    fake.broken = 403
    with pytest.raises(StudioRefused):
        delivery.send(VERSION, [prediction(tasks[0])])
    assert len(store.parcels(project)) == 1


def predicted(fake: FakeLabelStudio, project: int, task: int, *names: str) -> None:
    """One prediction of each version."""
    for name in names:
        number = fake.new_id()
        row = {**prediction(task), "id": number, "project": project, "model_version": name}
        fake.predictions[number] = row


def published(store: Store, project: int, number: int, age: float, **metrics: str) -> str:
    """The name of a version that was made so many seconds ago."""
    name = f"clickpick-{project}-v{number}-abcdef"
    store.remember_project(project, "config")
    store.publish(
        Version(
            project=project,
            number=number,
            name=name,
            folder=name,
            learner="probe-lite0",
            classes=("sky", "grass"),
            digest="",
            labels=1,
            metrics=metrics,
            created=time.time() - age,
        )
    )
    return name


def test_only_our_own_superseded_versions_are_removed(
    delivery: Delivery, store: Store, fake: FakeLabelStudio, pixel_project: tuple[int, list[int]]
) -> None:
    project, tasks = pixel_project
    names = [f"clickpick-{project}-v1-aaaaaa", "another tool", "clickpick-99-v1-x"]
    live = published(store, project, 2, OPEN_SECONDS + 1)
    predicted(fake, project, tasks[0], *names, live)
    delivery.remove_superseded(live)
    assert set(fake._versions(project)) == {live, *names[1:]}


def test_tasks_that_are_open_keep_the_predictions_they_were_opened_with(
    delivery: Delivery, store: Store, fake: FakeLabelStudio, pixel_project: tuple[int, list[int]]
) -> None:
    """What counts is how long ago a version was replaced, not how old it is; one kept aside replaces nothing."""
    project, tasks = pixel_project
    day = 86_400.0
    first, second = published(store, project, 8, 2 * day), published(store, project, 9, day)
    aside = published(store, project, 10, 0.9 * day, aside="worse")
    live = published(store, project, 11, OPEN_SECONDS - 60)
    predicted(fake, project, tasks[0], first, second, aside, live)
    delivery.remove_superseded(live)
    assert set(fake._versions(project)) == {second, aside, live}
    fourth = published(store, project, 12, OPEN_SECONDS + 60)
    predicted(fake, project, tasks[0], fourth)
    delivery.remove_superseded(second)
    assert set(fake._versions(project)) == {second, fourth}, "whichever is live stays"


def test_many_superseded_predictions_go_in_steps_that_give_way(
    delivery: Delivery,
    store: Store,
    fake: FakeLabelStudio,
    pixel_project: tuple[int, list[int]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("backend.learning.delivery.WHOLE_PREDICTIONS", 2)
    monkeypatch.setattr("backend.learning.delivery.STEP_TASKS", 2)
    project, tasks = pixel_project
    old = published(store, project, 1, OPEN_SECONDS + 2)
    live = published(store, project, 2, OPEN_SECONDS + 1)
    for task in tasks:
        predicted(fake, project, task, old, live)
    assert not delivery.remove_superseded(live, lambda: True)
    assert fake._versions(project) == {old: 4, live: 6}
    assert not delivery.remove_superseded(live, lambda: True)
    assert delivery.remove_superseded(live, lambda: True)
    assert fake._versions(project) == {live: 6}


def test_label_studio_rests_as_long_as_it_worked(
    delivery: Delivery,
    fake: FakeLabelStudio,
    pixel_project: tuple[int, list[int]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, tasks = pixel_project
    times: list[tuple[float, float]] = []
    real = fake._import_predictions

    def slow(*arguments: Any) -> Any:
        began = time.monotonic()
        time.sleep(0.1)
        answer = real(*arguments)
        times.append((began, time.monotonic()))
        return answer

    monkeypatch.setattr(fake, "_import_predictions", slow)
    for task in tasks[:3]:
        delivery.send(VERSION, [prediction(task)])
    rests = [later - earlier for (_, earlier), (later, _) in pairwise(times)]
    assert len(rests) == 2
    assert min(rests) >= 0.1


def test_a_proxy_that_takes_only_small_requests_gets_small_ones(
    delivery: Delivery,
    store: Store,
    fake: FakeLabelStudio,
    pixel_project: tuple[int, list[int]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    project, tasks = pixel_project
    real = fake._import_predictions

    def limited(found: dict[str, Any], sent: list[dict[str, Any]]) -> Any:
        if len(sent) > 2:
            raise Refusal(413, "Request Entity Too Large")
        return real(found, sent)

    monkeypatch.setattr(fake, "_import_predictions", limited)
    delivery.send(VERSION, [prediction(task) for task in tasks])
    assert stored(fake) == tasks
    assert store.parcels(project) == []
