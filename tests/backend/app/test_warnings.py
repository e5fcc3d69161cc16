"""Warnings that go with a mask over HTTP."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient

from backend.app import create_app
from backend.settings import Settings
from label_config import render
from tests.backend.app.bodies import body_of, click
from tests.backend.conftest import CLASSES
from tests.fakes.label_studio import FakeLabelStudio

pytestmark = pytest.mark.unit
Limited = Callable[..., FlaskClient]


@pytest.fixture
def limited(settings: Settings) -> Iterator[Limited]:
    """A client of a ClickPick with other limits."""
    apps = []

    def make(**limits: Any) -> FlaskClient:
        app = create_app(settings.model_copy(update={"segmenter": "grabcut", **limits}))
        app.extensions["clickpick"].engine.start_training = lambda: None
        apps.append(app)
        return app.test_client()

    yield make
    for app in apps:
        app.extensions["clickpick"].stop()


def regions_of(client: FlaskClient, body: dict[str, Any]) -> list[dict[str, Any]]:
    (prediction,) = client.post("/predict", json=body).json["results"]
    return prediction["result"]  # type: ignore[no-any-return]


def test_an_ordinary_mask_carries_nothing(
    client: FlaskClient, fake: FakeLabelStudio, click_project: tuple[int, int, str]
) -> None:
    project, task, config = click_project
    (region,) = regions_of(client, body_of(fake, project, [task], config, click(8, 30)))
    assert "meta" not in region


def test_an_unusual_mask_says_so_in_its_region_and_in_the_log(
    limited: Limited,
    fake: FakeLabelStudio,
    click_project: tuple[int, int, str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    project, task, config = click_project
    client = limited(quality_min_area=4000, quality_min_compactness=1.0)
    for number in (1, 2):
        body = body_of(fake, project, [task], config, *(click(8, 30 + place) for place in range(number)))
        (region,) = regions_of(client, body)
    (note,) = region["meta"]["text"]
    assert note.startswith("Check this mask: it has only ")
    assert "(usual: 4000 or more), perhaps the click missed the object; its outline is" in note
    assert note.endswith("look at its edge.")
    logged = re.findall(r"unusual mask no. (\d) of (\w+) by grabcut: it", capsys.readouterr().err)
    assert logged == [("1", "area"), ("1", "compactness"), ("2", "area"), ("2", "compactness")]


def test_of_several_polygons_the_first_carries_the_note(
    limited: Limited, fake: FakeLabelStudio, click_project: tuple[int, int, str]
) -> None:
    _, task, _ = click_project
    config = render("click", CLASSES, output="polygon")
    body = body_of(fake, fake.add_project(config), [task], config, click(8, 30))
    first, *others = regions_of(limited(quality_max_share=0.01), body)
    assert "of the image (usual: at most 1.0%)" in first["meta"]["text"][0]
    assert not any("meta" in other for other in others)
