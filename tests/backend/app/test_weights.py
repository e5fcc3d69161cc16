"""A project that names a network whose weights come later: without a restart, and without a download."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from backend.service import Service
from label_config import render
from model_zoo.weight_store import import_file
from tests.backend.app.bodies import body_of, click
from tests.backend.conftest import CLASSES, jpeg
from tests.fakes.fake_network import registered, save_official
from tests.fakes.label_studio import FakeLabelStudio

pytestmark = pytest.mark.unit


@pytest.fixture(autouse=True)
def network() -> Iterator[None]:
    with registered():
        yield


@pytest.fixture
def request_body(fake: FakeLabelStudio) -> dict[str, Any]:
    config = render("click", CLASSES, segmenter="fake-net")
    project = fake.add_project(config)
    return body_of(fake, project, [fake.upload(project, "photo.jpg", jpeg(1))], config, click(8, 30))


def test_the_editor_hears_what_to_fetch_and_the_next_click_after_that_works(
    client: FlaskClient, service: Service, request_body: dict[str, Any], tmp_path: Path
) -> None:
    for _ in range(2):
        answer = client.post("/predict", json=request_body)
        assert answer.status_code == 503
        assert answer.json["error"] == (
            "segmenter 'fake-net' has no weights on this server; download fake_official.pth (0 MB) from "
            "https://example.org/fake; then run: clickpick weights import fake-net FILE"
        )
    save_official(tmp_path / "fake_official.pth")
    import_file("fake-net", tmp_path / "fake_official.pth", service.settings.weights_folder)
    answer = client.post("/predict", json=request_body)
    assert answer.status_code == 200, answer.text
    assert answer.json["results"][0]["model_version"] == "fake-net"


def test_no_click_asks_another_host(
    client: FlaskClient, service: Service, request_body: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    real, asked = socket.getaddrinfo, []

    def resolve(host: Any, *arguments: Any, **options: Any) -> Any:
        asked.append(host)
        return real(host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    assert client.post("/predict", json=request_body).status_code == 503
    assert set(asked) <= {"127.0.0.1", "localhost"}
