"""Set-up, webhooks and restarts: what starts a round, and what does not."""

from __future__ import annotations

import time

import numpy as np
import pytest
from flask.testing import FlaskClient

from backend.app import create_app
from backend.service import Service
from backend.settings import Settings
from backend.store import Store
from label_config import read_schema
from tests.backend.app.bodies import webhook
from tests.fakes.label_studio import FakeLabelStudio

pytestmark = pytest.mark.unit


def test_setup_and_health_answer_quickly_and_load_nothing(
    client: FlaskClient, service: Service, pixel_project: tuple[int, list[int]], fake: FakeLabelStudio
) -> None:
    project, _ = pixel_project
    body = {"project": f"{project}.1", "schema": fake.projects[project]["label_config"], "hostname": "",
            "access_token": "x", "extra_params": {"a": 1}}  # fmt: skip
    client.post("/setup", json=body)
    seconds = []
    for _ in range(20):
        started = time.perf_counter()
        assert client.post("/setup", json=body).json["model_version"] is None
        assert client.get("/health").json["status"] == "UP"
        seconds.append(time.perf_counter() - started)
    assert np.median(seconds) < 0.1
    assert service.engine.answering.versions._loaded == {}


def test_a_first_setup_of_a_pixel_project_brings_its_first_queries(
    client: FlaskClient, service: Service, pixel_project: tuple[int, list[int]], fake: FakeLabelStudio
) -> None:
    project, _ = pixel_project
    body = {"project": f"{project}.1", "schema": fake.projects[project]["label_config"]}
    client.post("/setup", json=body)
    assert [r.state for r in service.store.rounds.history(project)] == ["queued"]
    client.post("/setup", json=body)
    assert len(service.store.rounds.history(project)) == 1


@pytest.mark.parametrize(
    "action",
    [
        "ANNOTATION_CREATED",
        "ANNOTATION_UPDATED",
        "ANNOTATIONS_CREATED",
        "ANNOTATIONS_DELETED",
        "TASKS_CREATED",
    ],
)
def test_label_events_ask_for_a_round(
    client: FlaskClient,
    service: Service,
    pixel_project: tuple[int, list[int]],
    fake: FakeLabelStudio,
    action: str,
) -> None:
    project, _ = pixel_project
    config = fake.projects[project]["label_config"]
    service.store.remember_project(project, read_schema(config).digest)
    assert client.post("/webhook", json=webhook(project, config, action)).status_code in (200, 201)
    (round_,) = service.store.rounds.history(project)
    assert round_.reason == action.lower()


def test_start_training_is_due_at_once_and_other_events_are_ignored(
    client: FlaskClient, service: Service, pixel_project: tuple[int, list[int]], fake: FakeLabelStudio
) -> None:
    project, _ = pixel_project
    config = fake.projects[project]["label_config"]
    service.store.remember_project(project, read_schema(config).digest)
    for action in ("PROJECT_UPDATED", "LABEL_LINK_CREATED", "SOMETHING_NEW"):
        assert client.post("/webhook", json=webhook(project, config, action)).status_code in (200, 201)
    assert service.store.rounds.history(project) == []
    client.post("/webhook", json=webhook(project, config, "START_TRAINING"))
    (round_,) = service.store.rounds.history(project)
    assert round_.reason == "asked for"
    assert round_.due <= time.time()


def test_events_of_a_click_project_start_nothing(
    client: FlaskClient, service: Service, click_project: tuple[int, int, str]
) -> None:
    project, _, config = click_project
    for action in ("ANNOTATION_CREATED", "START_TRAINING"):
        assert client.post("/webhook", json=webhook(project, config, action)).status_code in (200, 201)
    assert service.store.rounds.history(project) == []


def test_versions_can_be_listed(client: FlaskClient) -> None:
    assert client.get("/versions?project=1.5").json == {"versions": []}
    assert client.get("/versions?project=x").status_code == 400


def test_a_restart_looks_for_labels_that_came_meanwhile(
    settings: Settings, fake: FakeLabelStudio, pixel_project: tuple[int, list[int]]
) -> None:
    project, _ = pixel_project
    store = Store(settings.store_url)
    store.remember_project(project, "config")
    app = create_app(settings.model_copy(update={"segmenter": "grabcut"}))
    service: Service = app.extensions["clickpick"]
    service.engine.start_training = lambda: None  # type: ignore[method-assign]
    try:
        deadline = time.monotonic() + 60
        while not store.rounds.history(project) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert store.rounds.history(project)[0].reason == "restart"
    finally:
        service.stop()
        store.close()


@pytest.mark.parametrize("setting", ["learner", "deep_learner"])
def test_an_unknown_learner_of_the_settings_is_one_line_in_the_log_at_the_start(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, setting: str
) -> None:
    monkeypatch.setattr("backend.app.configure_logging", lambda *_: None)  # it replaces caplog's handler
    app = create_app(settings.model_copy(update={"segmenter": "grabcut", setting: "probe-no"}))
    service: Service = app.extensions["clickpick"]
    try:
        deadline = time.monotonic() + 60
        while "rounds cannot learn" not in caplog.text and time.monotonic() < deadline:
            time.sleep(0.05)
    finally:
        service.stop()
    (line,) = (r.getMessage() for r in caplog.records if "rounds cannot learn" in r.getMessage())
    assert f"CLICKPICK_{setting.upper()}=probe-no: this learner is not known; known are " in line
