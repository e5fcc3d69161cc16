"""Predictions reach Label Studio once; what it refuses for good does not block what follows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from backend.errors import StudioRefused, StudioUnavailable
from backend.learning.delivery import STILL_OPEN, Delivery
from backend.services import open_studio
from backend.settings import Settings
from backend.store import Store
from tests.backend.conftest import answer
from tests.fakes.http_server import Refusal
from tests.fakes.label_studio import FakeLabelStudio

pytestmark = pytest.mark.unit

VERSION = "clickpick-1-v1-abcdef"


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    with closing(Store(settings.store_url)) as opened:
        yield opened


@pytest.fixture
def delivery(store: Store, settings: Settings, pixel_project: tuple[int, list[int]]) -> Iterator[Delivery]:
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


def test_only_our_own_superseded_versions_are_removed(
    delivery: Delivery,
    fake: FakeLabelStudio,
    pixel_project: tuple[int, list[int]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    project, tasks = pixel_project
    names = [
        f"clickpick-{project}-v1-aaaaaa",
        f"clickpick-{project}-v2-bbbbbb",
        "another tool",
        "clickpick-99-v1-x",
    ]
    for name in names:
        number = fake.new_id()
        fake.predictions[number] = {
            **prediction(tasks[0]),
            "id": number,
            "project": project,
            "model_version": name,
        }
    monkeypatch.setattr("backend.learning.delivery.STILL_OPEN", 0)
    delivery.remove_superseded(names[1])
    assert set(fake._versions(project)) == {names[1], "another tool", "clickpick-99-v1-x"}


def test_tasks_that_are_open_keep_the_predictions_they_were_opened_with(
    delivery: Delivery, fake: FakeLabelStudio, pixel_project: tuple[int, list[int]]
) -> None:
    """By the number of the version, not by the order of their names."""
    project, tasks = pixel_project
    names = [f"clickpick-{project}-v{number}-abcdef" for number in range(4, 13)]
    for name in names:
        number = fake.new_id()
        fake.predictions[number] = {
            **prediction(tasks[0]),
            "id": number,
            "project": project,
            "model_version": name,
        }
    delivery.remove_superseded(names[-1])
    assert set(fake._versions(project)) == set(names[-1 - STILL_OPEN :])


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
