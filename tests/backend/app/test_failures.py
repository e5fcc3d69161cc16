"""What goes wrong has a status, one sentence, and no secrets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient

from backend.app import create_app
from backend.service import Service
from backend.settings import Settings
from model_zoo.errors import WeightsMissing
from tests.backend.app.bodies import body_of, click
from tests.fakes.label_studio import FakeLabelStudio

pytestmark = pytest.mark.unit


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

    monkeypatch.setattr(service.engine.answering.decoder, "decode", broken)
    answer = client.post("/predict", json=body_of(fake, project, [task], config, click(8, 30)))
    assert answer.status_code == 500
    assert "secret detail" not in answer.text
    assert "Traceback" not in answer.text


def test_missing_weights_are_told_without_the_servers_folders(
    client: FlaskClient,
    service: Service,
    fake: FakeLabelStudio,
    click_project: tuple[int, int, str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    project, task, config = click_project

    def missing(*_: Any) -> Any:
        raise WeightsMissing("weights 'x' not found (/srv/secret/x.safetensors); run: pip install x")

    for owner, name in ((service.engine.answering.decoder, "decode"), (service, "predict")):
        monkeypatch.setattr(owner, name, missing)
        caplog.clear()
        answer = client.post("/predict", json=body_of(fake, project, [task], config, click(8, 30)))
        assert answer.status_code == 503
        assert "no weights on this server" in answer.json["error"]
        assert "secret" not in answer.text
        assert "/srv/secret/x.safetensors" in caplog.text


def test_too_large_a_body_is_refused(settings: Settings) -> None:
    app = create_app(settings.model_copy(update={"max_request_bytes": 1000, "segmenter": "grabcut"}))
    try:
        answer = app.test_client().post("/predict", json={"tasks": ["x" * 2000]})
        assert answer.status_code == 413
        assert "larger than 1000 bytes" in answer.json["error"]
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
