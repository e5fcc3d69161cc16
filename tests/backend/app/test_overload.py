"""What a click is answered when the device's memory, or the time until its turn, does not suffice."""

from __future__ import annotations

import threading

import pytest
import torch
from flask.testing import FlaskClient

from backend.app import create_app
from backend.service import Service
from backend.settings import Settings
from model_zoo.segmenters.classical import GrabCut
from tests.backend.app.bodies import body_of, click
from tests.fakes.label_studio import FakeLabelStudio

pytestmark = pytest.mark.unit


def test_a_device_without_memory_is_a_503_that_says_what_to_do(
    service: Service,
    client: FlaskClient,
    fake: FakeLabelStudio,
    click_project: tuple[int, int, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    project, task, config = click_project
    calls: list[int] = []

    def decode(*_: object) -> None:
        calls.append(1)
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB. /secret/path")

    first = body_of(fake, project, [task], config, click(9, 31))
    assert client.post("/predict", json=first).status_code == 200
    service._background.stop(30)  # the warm-up is over
    body = body_of(fake, project, [task], config, click(8, 30))
    with monkeypatch.context() as patched:
        patched.setattr(GrabCut, "decode", decode)
        answer = client.post("/predict", json=body)
    assert answer.status_code == 503
    assert "'grabcut' needs more memory than its device has left" in answer.json["error"]
    assert "secret" not in answer.text
    assert len(calls) == 2
    assert client.post("/predict", json=body).status_code == 200, "the next click is tried again"


def test_a_click_that_label_studio_has_given_up_on_is_dropped(
    settings: Settings, fake: FakeLabelStudio, click_project: tuple[int, int, str]
) -> None:
    project, task, config = click_project
    changes = {"segmenter": "grabcut", "model_threads": 1, "answer_seconds": 0.2}
    app = create_app(settings.model_copy(update=changes))
    service: Service = app.extensions["clickpick"]
    release, answers = threading.Event(), []
    try:
        service.sources.images.get(fake.tasks[task]["data"]["image"], task)
        service.engine.models.run(lambda: None)
        service.engine.models.submit(lambda: release.wait(30))
        body = body_of(fake, project, [task], config, click(8, 30))
        asking = threading.Thread(
            target=lambda: answers.append(app.test_client().post("/predict", json=body))
        )
        asking.start()
        asking.join(0.6)
        assert answers == [], "nobody can answer before the thread is free"
        release.set()
        asking.join(30)
    finally:
        release.set()
        service.stop()
    assert answers[0].status_code == 503
    assert "Label Studio has given up on it" in answers[0].json["error"]
