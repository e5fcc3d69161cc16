"""The web application over HTTP shapes of Label Studio, around the real segmenter and the fake Label Studio."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient

from backend import segmenting
from backend.app import create_app
from backend.service import Service
from backend.settings import Settings
from backend.store import Store
from label_config import read_masks, read_schema, render
from model_zoo.prompt import Click, Prompt
from tests.backend.conftest import CLASSES, HEIGHT, WIDTH, jpeg
from tests.fakes.label_studio import FakeLabelStudio

pytestmark = pytest.mark.unit


@pytest.fixture
def service(settings: Settings) -> Iterator[Service]:
    app = create_app(settings.model_copy(update={"segmenter": "grabcut"}))
    made: Service = app.extensions["clickpick"]
    made.app = app  # type: ignore[attr-defined]
    made.engine.start_training_process = lambda: None  # type: ignore[method-assign] - tested in test_engines
    yield made
    made.stop()


@pytest.fixture
def client(service: Service) -> FlaskClient:
    test_client: FlaskClient = service.app.test_client()  # type: ignore[attr-defined]
    return test_client


@pytest.fixture
def click_project(fake: FakeLabelStudio) -> tuple[int, int, str]:
    config = render("click", CLASSES)
    project = fake.add_project(config)
    return project, fake.upload(project, "photo.jpg", jpeg(1)), config


def click(row: float, col: float, label: str = "sky", positive: bool = True) -> dict[str, Any]:
    value = {"x": col / WIDTH * 100, "y": row / HEIGHT * 100, "width": 0.2, "keypointlabels": [label]}
    return {
        "id": f"c{row}-{col}", "type": "keypointlabels", "from_name": "click", "to_name": "image",
        "original_width": WIDTH, "original_height": HEIGHT, "image_rotation": 0, "origin": "manual",
        "is_positive": positive, "value": value,
    }  # fmt: skip


def body_of(
    fake: FakeLabelStudio, project: int, tasks: list[int], config: str, *clicks: Any
) -> dict[str, Any]:
    context = {"result": list(clicks)} if clicks else None
    return {
        "tasks": [fake.task_json(task) for task in tasks],
        "project": f"{project}.1795263519",
        "label_config": config,
        "params": {"login": None, "password": None, "context": context},
    }


def test_a_click_gives_a_mask_of_its_label_without_any_setup(
    client: FlaskClient, fake: FakeLabelStudio, click_project: tuple[int, int, str]
) -> None:
    project, task, config = click_project
    answer = client.post("/predict", json=body_of(fake, project, [task], config, click(8, 30)))
    assert answer.status_code == 200
    (prediction,) = answer.json["results"]
    (mask,) = read_masks(read_schema(config).images[0], prediction["result"])
    assert mask.label == "sky"
    assert mask.mask.shape == (HEIGHT, WIDTH)
    assert mask.mask[8, 30]
    assert 0 <= prediction["score"] <= 1


def test_a_negative_click_is_never_inside_and_the_region_keeps_its_id(
    client: FlaskClient, fake: FakeLabelStudio, click_project: tuple[int, int, str]
) -> None:
    project, task, config = click_project
    first = client.post("/predict", json=body_of(fake, project, [task], config, click(8, 30)))
    clicks = (click(8, 30), click(10, 5, positive=False))
    second = client.post("/predict", json=body_of(fake, project, [task], config, *clicks))
    before, after = (a.json["results"][0]["result"][0] for a in (first, second))
    assert before["id"] == after["id"]
    (mask,) = read_masks(read_schema(config).images[0], [after])
    assert mask.mask[8, 30]
    assert not mask.mask[10, 5]


def test_equal_requests_at_the_same_time_share_one_computation(
    client: FlaskClient,
    service: Service,
    fake: FakeLabelStudio,
    click_project: tuple[int, int, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    project, task, config = click_project
    segmenter = service._decoder.segmenter("grabcut")
    decode, calls = segmenter.decode, []

    def slow(*arguments: Any) -> Any:
        calls.append(arguments[1].key())
        time.sleep(0.3)
        return decode(*arguments)

    monkeypatch.setattr(segmenter, "decode", slow)
    body = body_of(fake, project, [task], config, click(8, 30))
    with ThreadPoolExecutor(4) as pool:
        clients = [service.app.test_client() for _ in range(4)]  # type: ignore[attr-defined]
        answers = list(pool.map(lambda c: c.post("/predict", json=body).json, clients))
    warm_up = Prompt(clicks=(Click(32, 32),)).key()
    assert len([key for key in calls if key != warm_up]) == 1
    assert all(answer == answers[0] for answer in answers)


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


def test_opening_a_click_task_answers_nothing_and_quickly(
    client: FlaskClient, fake: FakeLabelStudio, click_project: tuple[int, int, str]
) -> None:
    project, task, config = click_project
    started = time.monotonic()
    answer = client.post("/predict", json=body_of(fake, project, [task], config))
    assert answer.json["results"][0]["result"] == []
    assert time.monotonic() - started < 1


@pytest.mark.parametrize(
    ("change", "status", "words"),
    [
        ({"tasks": None}, 400, "tasks is missing"),
        ({"tasks": ["x"]}, 400, "expected a list of Label Studio tasks"),
        ({"tasks": [{"id": "x", "data": {}}]}, 400, "numeric id"),
        ({"label_config": None}, 400, "label_config is missing"),
        ({"label_config": "<View"}, 400, ""),
        ({"project": None}, 400, "project is missing"),
        ({"project": "x"}, 400, "expected a number"),
        ({"project": "9" * 30}, 400, "expected a number"),
        ({"params": [1]}, 400, "params is of type list"),
        ({"params": {"context": {"result": "x"}}}, 400, ""),
        ({"params": {"context": {"result": [{"type": "keypointlabels"}]}}}, None, ""),
        ({"params": {"context": 7}}, 400, ""),
    ],
)
def test_bad_predict_bodies_get_a_clear_4xx(
    client: FlaskClient,
    fake: FakeLabelStudio,
    click_project: tuple[int, int, str],
    change: dict[str, Any],
    status: int | None,
    words: str,
) -> None:
    project, task, config = click_project
    body = {**body_of(fake, project, [task], config, click(8, 30)), **change}
    answer = client.post("/predict", json=body)
    assert answer.status_code in ((200, 400) if status is None else (status,)), answer.text
    assert words in answer.text
    assert "Traceback" not in answer.text


@pytest.mark.parametrize("path", ["/predict", "/setup", "/webhook"])
@pytest.mark.parametrize("content", [b"", b"null", b"[]", b"{", b"\xff\xfe", b'"x"', b"[" * 100_000])
def test_bodies_that_are_no_objects_get_400(client: FlaskClient, path: str, content: bytes) -> None:
    answer = client.post(path, data=content, content_type="application/json")
    assert answer.status_code == 400
    assert "error" in answer.json
    assert "Traceback" not in answer.text


def test_a_click_on_a_missing_image_says_so_without_the_token(
    client: FlaskClient, fake: FakeLabelStudio, click_project: tuple[int, int, str]
) -> None:
    project, task, config = click_project
    fake.uploads.clear()
    answer = client.post("/predict", json=body_of(fake, project, [task], config, click(8, 30)))
    assert answer.status_code == 422
    assert "photo.jpg" in answer.json["error"]
    assert fake.pat not in answer.text


def test_label_studio_away_is_503(
    client: FlaskClient, fake: FakeLabelStudio, click_project: tuple[int, int, str]
) -> None:
    project, task, config = click_project
    body = body_of(fake, project, [task], config, click(8, 30))
    fake.broken = 503
    assert client.post("/predict", json=body).status_code == 503
    fake.broken = 0
    assert client.post("/predict", json=body).status_code == 200, "a failure is not remembered"


def test_a_bug_is_500_without_details(
    client: FlaskClient,
    service: Service,
    fake: FakeLabelStudio,
    click_project: tuple[int, int, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    project, task, config = click_project

    def broken(*_: Any) -> Any:
        raise AssertionError("secret detail")

    monkeypatch.setattr(service._decoder, "decode", broken)
    answer = client.post("/predict", json=body_of(fake, project, [task], config, click(8, 30)))
    assert answer.status_code == 500
    assert "secret detail" not in answer.text
    assert "Traceback" not in answer.text


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
    assert service._versions._loaded == {}


def test_a_first_setup_of_a_pixel_project_brings_its_first_queries(
    client: FlaskClient, service: Service, pixel_project: tuple[int, list[int]], fake: FakeLabelStudio
) -> None:
    project, _ = pixel_project
    body = {"project": f"{project}.1", "schema": fake.projects[project]["label_config"]}
    client.post("/setup", json=body)
    assert [r.state for r in service.store.rounds.history(project)] == ["queued"]
    client.post("/setup", json=body)
    assert len(service.store.rounds.history(project)) == 1


def webhook(project: int, config: str, action: str) -> dict[str, Any]:
    return {"action": action, "project": {"id": project, "label_config": config, "title": "t"}}


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


def test_too_large_a_body_is_refused(settings: Settings) -> None:
    app = create_app(settings.model_copy(update={"max_request_bytes": 1000, "segmenter": "grabcut"}))
    try:
        answer = app.test_client().post("/predict", json={"tasks": ["x" * 2000]})
        assert answer.status_code in (400, 413)
        assert "Traceback" not in answer.text
    finally:
        app.extensions["clickpick"].stop()


def test_without_a_token_the_server_runs_and_says_what_is_missing(
    make_settings: Callable[..., Settings], click_project: tuple[int, int, str], fake: FakeLabelStudio
) -> None:
    project, task, config = click_project
    app = create_app(make_settings(label_studio_api_key="", segmenter="grabcut"))
    try:
        client = app.test_client()
        assert client.get("/health").status_code == 200
        answer = client.post("/predict", json=body_of(fake, project, [task], config, click(8, 30)))
        assert answer.status_code == 400
        assert "LABEL_STUDIO_API_KEY" in answer.json["error"]
    finally:
        app.extensions["clickpick"].stop()


def test_two_projects_with_different_classes_do_not_mix(
    client: FlaskClient, fake: FakeLabelStudio, click_project: tuple[int, int, str]
) -> None:
    project, task, config = click_project
    other_config = render("click", ("cat", "dog"), output="polygon")
    other = fake.add_project(other_config)
    other_task = fake.upload(other, "other.jpg", jpeg(2))
    bodies = [
        body_of(fake, project, [task], config, click(8, 30, "sky")),
        body_of(fake, other, [other_task], other_config, click(40, 30, "dog")),
    ] * 3
    kinds = []
    for body in bodies:
        region = client.post("/predict", content_type="application/json", data=json.dumps(body)).json
        value = region["results"][0]["result"][0]
        kinds.append((value["type"], value["value"][value["type"]][0]))
    assert kinds == [("brushlabels", "sky"), ("polygonlabels", "dog")] * 3


def test_a_slow_image_of_one_project_does_not_hold_up_clicks_of_another(
    client: FlaskClient,
    service: Service,
    fake: FakeLabelStudio,
    click_project: tuple[int, int, str],
    pixel_project: tuple[int, list[int]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    project, task, config = click_project
    slow, tasks = pixel_project
    slow_config = fake.projects[slow]["label_config"]
    real = service.images.get
    release = threading.Event()

    def get(url: str, number: int | None) -> Any:
        if number == tasks[0]:
            release.wait(20)
        return real(url, number)

    monkeypatch.setattr(service.images, "get", get)
    body = body_of(fake, slow, tasks[:1], slow_config)
    opening = service.app.test_client()  # type: ignore[attr-defined]
    with ThreadPoolExecutor(1) as pool:
        opened = pool.submit(lambda: opening.post("/predict", json=body).json)
        time.sleep(0.2)
        answer = client.post("/predict", json=body_of(fake, project, [task], config, click(8, 30)))
        assert answer.json["results"][0]["result"]
        assert not opened.done()
        release.set()
        assert len(opened.result()["results"][0]["result"]) == 10


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


def test_a_region_that_the_requests_own_config_cannot_show_is_left_out(
    client: FlaskClient,
    fake: FakeLabelStudio,
    click_project: tuple[int, int, str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    project, task, config = click_project
    made = segmenting.mask_regions

    def with_foreign(*arguments: Any, **options: Any) -> list[dict[str, Any]]:
        good = made(*arguments, **options)
        return [*good, {**good[0], "id": "other", "from_name": "gone"}]

    monkeypatch.setattr(segmenting, "mask_regions", with_foreign)
    answer = client.post("/predict", json=body_of(fake, project, [task], config, click(8, 30)))
    assert [region["from_name"] for region in answer.json["results"][0]["result"]] == ["mask"]


def test_a_restart_looks_for_labels_that_came_meanwhile(
    settings: Settings, fake: FakeLabelStudio, pixel_project: tuple[int, list[int]]
) -> None:
    project, _ = pixel_project
    store = Store(settings.store_url)
    store.remember_project(project, "config")
    app = create_app(settings.model_copy(update={"segmenter": "grabcut"}))
    service: Service = app.extensions["clickpick"]
    service.engine.start_training_process = lambda: None  # type: ignore[method-assign]
    try:
        deadline = time.monotonic() + 60
        while not store.rounds.history(project) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert store.rounds.history(project)[0].reason == "restart"
    finally:
        service.stop()
        store.close()
