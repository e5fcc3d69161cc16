"""The database is away: clicks go on, everything else says so, and all is well when it is back."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator

import pytest
from flask.testing import FlaskClient

from backend.app import create_app
from backend.service import Service
from backend.settings import Settings
from label_config import render
from tests.backend.app.bodies import body_of, click, webhook
from tests.backend.conftest import CLASSES
from tests.fakes.label_studio import FakeLabelStudio
from tests.fakes.postgres import PostgresServer
from tests.waiting import wait_until

pytestmark = pytest.mark.integration


@pytest.fixture
def client(make_settings: Callable[..., Settings], postgres_url: str) -> Iterator[FlaskClient]:
    app = create_app(make_settings(database_url=postgres_url, segmenter="grabcut"))
    service: Service = app.extensions["clickpick"]
    service.engine.start_training = lambda: None  # type: ignore[method-assign]
    yield app.test_client()
    service.stop()


def test_clicks_go_on_while_postgresql_is_away(
    client: FlaskClient,
    postgres: PostgresServer,
    fake: FakeLabelStudio,
    click_project: tuple[int, int, str],
) -> None:
    project, task, config = click_project
    pixels = render("pixel", CLASSES)
    event = webhook(project, pixels, "ANNOTATION_CREATED")
    wait_until(lambda: client.get("/ready").json == {"status": "READY"}, "the segmenter to be built")
    postgres.stop(signal.SIGQUIT)
    ready = client.get("/ready")
    clicked = client.post("/predict", json=body_of(fake, project, [task], config, click(8, 30)))
    told = client.post("/webhook", json=event)
    opened = client.post("/setup", json={"project": f"{project}.1", "schema": pixels})
    postgres.start()
    assert ready.status_code == 200
    assert "the database does not answer" in ready.json["warnings"][0]
    assert clicked.status_code == 200
    assert clicked.json["results"][0]["result"]
    for answer in (told, opened):
        assert answer.status_code == 503
        assert "the database does not answer" in answer.json["error"]
        assert str(postgres.port) not in answer.text
    assert client.post("/webhook", json=event).status_code in (200, 201)
    assert client.post("/setup", json={"project": f"{project}.1", "schema": pixels}).status_code == 200
