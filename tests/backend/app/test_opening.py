"""Tasks that are opened: queries at once, or nothing, and quickly."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from backend.app import create_app
from backend.engines.model_queue import Urgency
from backend.engines.model_threads import ModelThreads
from backend.learning.queue import Proposer, Queue
from backend.learning.versions import Versions
from backend.service import Service
from backend.settings import Settings
from backend.shared import SharedStorage
from backend.studio import TaskInfo
from tests.backend.app.bodies import body_of
from tests.backend.conftest import CLASSES
from tests.backend.learning import fake_learners
from tests.fakes.label_studio import FakeLabelStudio

pytestmark = pytest.mark.unit


def test_opening_a_pixel_task_shows_queries_at_once(
    client: FlaskClient, fake: FakeLabelStudio, pixel_project: tuple[int, list[int]]
) -> None:
    project, tasks = pixel_project
    config = fake.projects[project]["label_config"]
    answer = client.post("/predict", json=body_of(fake, project, tasks[:2], config))
    first, second = answer.json["results"]
    assert len(first["result"]) == len(second["result"]) == 10
    again = client.post("/predict", json=body_of(fake, project, tasks[:1], config)).json["results"][0]
    assert again["result"] == first["result"], "asked twice, the queries are the same"


def test_one_unreadable_image_leaves_the_other_tasks_of_a_batch_alone(
    client: FlaskClient, fake: FakeLabelStudio, pixel_project: tuple[int, list[int]]
) -> None:
    project, tasks = pixel_project
    fake.uploads[fake.tasks[tasks[0]]["data"]["image"]] = b"no image at all"
    config = fake.projects[project]["label_config"]
    first, second = client.post("/predict", json=body_of(fake, project, tasks[:2], config)).json["results"]
    assert first["result"] == []
    assert len(second["result"]) == 10


def test_a_task_repeated_in_a_batch_is_worked_on_once(
    client: FlaskClient,
    fake: FakeLabelStudio,
    pixel_project: tuple[int, list[int]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    project, tasks = pixel_project
    config = fake.projects[project]["label_config"]
    asked: list[int] = []
    proposal = Proposer.proposal

    def counted(self: Proposer, queue: Queue, task: TaskInfo) -> dict[str, Any] | None:
        asked.append(task.id)
        return proposal(self, queue, task)

    monkeypatch.setattr(Proposer, "proposal", counted)
    body = body_of(fake, project, [tasks[0], tasks[1], tasks[0], tasks[0]], config)
    changed = {**body["tasks"][0], "data": body["tasks"][1]["data"]}
    results = client.post("/predict", json={**body, "tasks": [*body["tasks"], changed]}).json["results"]
    assert asked == [tasks[0], tasks[1], tasks[0]], "one of them has another image"
    assert results[0] == results[2] == results[3]
    assert results[1]["result"] != results[0]["result"]


def test_opening_a_click_task_answers_nothing_and_quickly(
    client: FlaskClient, fake: FakeLabelStudio, click_project: tuple[int, int, str]
) -> None:
    project, task, config = click_project
    started = time.monotonic()
    answer = client.post("/predict", json=body_of(fake, project, [task], config))
    assert answer.json["results"][0]["result"] == []
    assert time.monotonic() - started < 1


def test_what_was_answered_in_place_of_queries_is_no_versions_answer(
    client: FlaskClient, fake: FakeLabelStudio, pixel_project: tuple[int, list[int]]
) -> None:
    project, tasks = pixel_project
    config = fake.projects[project]["label_config"]
    good = client.post("/predict", json=body_of(fake, project, tasks[:1], config)).json["results"][0]
    fake.uploads.clear()
    empty = client.post("/predict", json=body_of(fake, project, tasks[1:2], config)).json["results"][0]
    assert empty["result"] == []
    assert empty["model_version"] != good["model_version"]


def test_a_version_published_while_a_task_waits_for_the_model_is_the_one_it_opens_with(
    client: FlaskClient,
    service: Service,
    fake: FakeLabelStudio,
    pixel_project: tuple[int, list[int]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    behaviour, _ = fake_learners.register(monkeypatch)
    project, tasks = pixel_project
    learner = fake_learners.FakeLearner(fake_learners.INSTANT, behaviour)
    learner.classes = CLASSES
    versions = Versions(service.store, service.settings.versions_folder)
    names: list[str] = []
    real = service.engine.propose

    def publish_first(*call: Any) -> Any:
        if not names:
            made = versions.publish(project, learner, digest="d" * 64, labels=1, metrics={})
            names.append(made.name)
        return real(*call)

    monkeypatch.setattr(service.engine, "propose", publish_first)
    config = fake.projects[project]["label_config"]
    client.post("/setup", json={"project": f"{project}.1", "schema": config})
    (answer,) = client.post("/predict", json=body_of(fake, project, tasks[:1], config)).json["results"]
    assert answer["model_version"] == names[0]


def test_a_version_is_fetched_before_a_model_thread_takes_the_task(
    settings: Settings,
    fake: FakeLabelStudio,
    pixel_project: tuple[int, list[int]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """So that clicks do not wait for a shared storage that hangs."""
    behaviour, _ = fake_learners.register(monkeypatch)
    project, tasks = pixel_project
    shared = settings.model_copy(update={"shared": str(tmp_path / "shared"), "segmenter": "grabcut"})
    learner = fake_learners.FakeLearner(fake_learners.INSTANT, behaviour)
    learner.classes = CLASSES
    happened: list[str] = []
    download, run = SharedStorage.download, ModelThreads.run

    def downloads(self: SharedStorage, name: str, folder: Path) -> None:
        happened.append("fetched")
        download(self, name, folder)

    def runs(self: ModelThreads, call: Any, urgency: Urgency = Urgency.CLICK, *more: Any) -> Any:
        if urgency == Urgency.OPENING:
            happened.append("on a model thread")
        return run(self, call, urgency, *more)

    app = create_app(shared)
    service: Service = app.extensions["clickpick"]
    service.engine.start_training = lambda: None  # type: ignore[method-assign] - tested in test_engines
    elsewhere = Versions(service.store, tmp_path / "elsewhere", storage=SharedStorage(shared.shared))
    config = fake.projects[project]["label_config"]
    with ExitStack() as stack:
        stack.callback(service.stop)
        client = app.test_client()
        client.post("/setup", json={"project": f"{project}.1", "schema": config})
        made = elsewhere.publish(project, learner, digest="d" * 64, labels=1, metrics={})
        monkeypatch.setattr(SharedStorage, "download", downloads)
        monkeypatch.setattr(ModelThreads, "run", runs)
        (answer,) = client.post("/predict", json=body_of(fake, project, tasks[:1], config)).json["results"]
    assert answer["model_version"] == made.name
    assert happened == ["fetched", "on a model thread"]
