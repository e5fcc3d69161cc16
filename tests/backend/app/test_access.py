"""Who may call, over HTTP."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient

from backend.access import WEBHOOK_HEADER
from backend.app import create_app
from backend.settings import Settings
from label_config import render
from tests.backend.app.bodies import body_of, click, webhook
from tests.backend.conftest import CLASSES
from tests.fakes.label_studio import FakeLabelStudio

pytestmark = pytest.mark.unit

SECRET = "a-webhook-secret-1"
ROUTES = [
    ("GET", "/"),
    ("GET", "/versions"),
    ("POST", "/versions"),
    ("GET", "/metrics"),
    ("GET", "/ready/x"),
    ("GET", "/status/"),
    ("GET", "/status/1"),
    ("GET", "/status/1/thumbnails/0123456789abcdef.jpg"),
    ("POST", "/status/1/rollback"),
    ("GET", "/is_training"),
    ("POST", "/predict"),
    ("POST", "/predict/"),
    ("POST", "/setup"),
    ("POST", "/webhook"),
    ("POST", "/train"),
    ("GET", "/health/x"),
    ("GET", "/no/such/page"),
    ("OPTIONS", "/predict"),
]


def basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


GOOD = basic("label-studio", "pass:word")


@pytest.fixture
def client(make_settings: Callable[..., Settings]) -> Iterator[FlaskClient]:
    app = create_app(
        make_settings(
            segmenter="grabcut",
            basic_auth_user="label-studio",
            basic_auth_pass="pass:word",
            webhook_secret=SECRET,
        )
    )
    app.extensions["clickpick"].engine.start_training = lambda: None
    yield app.test_client()
    app.extensions["clickpick"].stop()


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize(
    "headers",
    [
        {},
        basic("label-studio", "pass:wor"),
        basic("label-studio", "pass:word2"),
        basic("Label-Studio", "pass:word"),
        basic("", ""),
        {"Authorization": "Basic"},
        {"Authorization": "Basic \u00e4=="},
        {"Authorization": "Bearer " + GOOD["Authorization"][6:]},
        {WEBHOOK_HEADER: SECRET[:-1]},
        {WEBHOOK_HEADER: SECRET + "1"},
        {WEBHOOK_HEADER: "\u00e4"},
        {WEBHOOK_HEADER: ""},
    ],
)
def test_strangers_get_401_everywhere(
    client: FlaskClient, method: str, path: str, headers: dict[str, str]
) -> None:
    answer = client.open(path, method=method, headers=headers, json={} if method == "POST" else None)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Basic ")
    assert "asks for credentials" in answer.json["error"]
    for secret in ("pass:word", SECRET):
        assert secret not in answer.text


def test_health_is_open_for_containers(client: FlaskClient) -> None:
    for path in ("/health", "/health/"):
        assert client.get(path).status_code in (200, 404)
    assert client.get("/health").json["status"] == "UP"


def test_label_studio_comes_in_with_what_it_can_give(
    client: FlaskClient, fake: FakeLabelStudio, click_project: tuple[int, int, str]
) -> None:
    project, task, config = click_project
    body = body_of(fake, project, [task], config, click(8, 30))
    assert client.post("/predict", json=body, headers=GOOD).json["results"][0]["result"]
    setup = {"project": f"{project}.1", "schema": config}
    assert client.post("/setup", json=setup, headers=GOOD).status_code == 200
    assert client.get("/versions?project=1", headers=GOOD).status_code == 200
    lower = {"Authorization": GOOD["Authorization"].replace("Basic", "basic")}
    assert client.get("/", headers=lower).status_code == 200


@pytest.mark.parametrize(
    ("action", "headers"),
    [("ANNOTATION_CREATED", {WEBHOOK_HEADER: SECRET}), ("START_TRAINING", GOOD)],
    ids=["an event carries the secret", "the button carries basic auth"],
)
def test_both_kinds_of_event_come_in(
    client: FlaskClient, fake: FakeLabelStudio, action: str, headers: dict[str, str]
) -> None:
    config = render("pixel", CLASSES)
    body = webhook(fake.add_project(config), config, action)
    assert client.post("/webhook", json=body, headers=headers).status_code in (200, 201)


def test_the_webhooks_secret_opens_nothing_else(client: FlaskClient) -> None:
    assert client.post("/predict", json={}, headers={WEBHOOK_HEADER: SECRET}).status_code == 401
    assert client.get("/versions", headers={WEBHOOK_HEADER: SECRET}).status_code == 401


def test_nothing_of_a_strangers_body_is_read(client: FlaskClient) -> None:
    class Body(io.BytesIO):
        def read(self, *_: Any) -> bytes:
            raise AssertionError("read")

        readline = read  # type: ignore[assignment]

    answer = client.post("/predict", input_stream=Body(), content_length=10, content_type="application/json")
    assert answer.status_code == 401
