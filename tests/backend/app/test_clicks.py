"""Clicks over HTTP: masks, equal requests, projects side by side."""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask.testing import FlaskClient

from backend import segmenting
from backend.service import Service
from label_config import read_masks, read_schema, render
from model_zoo.prompt import Click, Prompt
from tests.backend.app.bodies import body_of, click
from tests.backend.conftest import HEIGHT, WIDTH, jpeg
from tests.fakes.label_studio import FakeLabelStudio

pytestmark = pytest.mark.unit


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
    segmenter = service.engine.answering.decoder.segmenter("grabcut")
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
    real = service.sources.images.get
    release = threading.Event()

    def get(url: str, number: int | None) -> Any:
        if number == tasks[0]:
            release.wait(20)
        return real(url, number)

    monkeypatch.setattr(service.sources.images, "get", get)
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
