"""The web application around the real segmenter and the fake Label Studio."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from flask.testing import FlaskClient

from backend.app import create_app
from backend.service import Service
from backend.settings import Settings
from label_config import render
from tests.backend.conftest import CLASSES, jpeg
from tests.fakes.label_studio import FakeLabelStudio


@pytest.fixture
def service(settings: Settings) -> Iterator[Service]:
    app = create_app(settings.model_copy(update={"segmenter": "grabcut"}))
    made: Service = app.extensions["clickpick"]
    made.app = app  # type: ignore[attr-defined]
    made.engine.start_training = lambda: None  # type: ignore[method-assign] - tested in test_engines
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
