"""The same plugin under label-studio-ml 2.x, from a checkout that CLICKPICK_LSML2 names, and under 1.0.9."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import Any

import pytest
import requests

from backend.demo.clickpick import ClickPickServer
from backend.settings import Settings
from label_config import read_masks, read_schema, render
from tests.backend.conftest import CLASSES, HEIGHT, WIDTH, answers, jpeg
from tests.fakes.label_studio import FakeLabelStudio

pytestmark = pytest.mark.integration

CHECKOUT = os.environ.get("CLICKPICK_LSML2", "")
GENERATIONS = [
    pytest.param("", id="installed"),
    pytest.param(
        CHECKOUT,
        id="2.x",
        marks=pytest.mark.skipif(
            not CHECKOUT,
            reason="CLICKPICK_LSML2 is not set; expected the path of a label-studio-ml 2.x checkout",
        ),
    ),
]


def serve(settings: Settings, checkout: str) -> ClickPickServer:
    """ClickPick under gunicorn, with the checkout's label_studio_ml in front of the installed one."""
    return ClickPickServer(
        settings.data,
        studio_url=settings.label_studio_url,
        token=settings.token,
        settings={"PYTHONPATH": checkout, "CLICKPICK_DEBOUNCE_SECONDS": "0.2"},
    )


def post(address: str, path: str, body: dict[str, Any]) -> Any:
    answer = requests.post(f"{address}{path}", json=body, timeout=120)
    assert answer.status_code in (200, 201), answer.text
    return answer.json()


def version_of(checkout: str) -> str:
    code = "import label_studio_ml; print(label_studio_ml.__version__)"
    environment = {**os.environ, "PYTHONPATH": checkout}
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    ).stdout.strip()


@pytest.mark.parametrize("checkout", GENERATIONS)
def test_the_whole_protocol(
    checkout: str, settings: Settings, fake: FakeLabelStudio, pixel_project: tuple[int, list[int]]
) -> None:
    assert version_of(checkout).startswith("2." if checkout else "1.0.9")
    project, tasks = pixel_project
    pixel_config = fake.projects[project]["label_config"]
    click_config = render("click", CLASSES)
    clicks = fake.add_project(click_config)
    photo = fake.upload(clicks, "photo.jpg", jpeg(1))
    with serve(settings, checkout) as server:
        address = server.url
        assert requests.get(f"{address}/health", timeout=10).json()["status"] == "UP"
        _click_before_any_setup(address, fake, clicks, photo, click_config)
        setup = {"project": f"{project}.1795263519", "schema": pixel_config, "hostname": "", "access_token": "x",
                 "extra_params": {"an": "object"}}  # fmt: skip
        assert post(address, "/setup", setup)["model_version"] is None
        _wait_for(lambda: fake.projects[project]["model_version"].startswith(f"clickpick-{project}-v0"))
        for task in tasks[:3]:
            fake.annotate(task, answers(task))
        event = {"action": "ANNOTATION_CREATED", "project": {"id": project, "label_config": pixel_config}}
        post(address, "/webhook", event)
        _wait_for(lambda: fake.projects[project]["model_version"].startswith(f"clickpick-{project}-v1"))
        first = post(address, "/setup", setup)["model_version"]
        assert first.startswith(f"clickpick-{project}-v1")
        post(address, "/webhook", {**event, "action": "START_TRAINING"})
        _wait_for(lambda: fake.projects[project]["model_version"].startswith(f"clickpick-{project}-v2"))
        versions = requests.get(f"{address}/versions", params={"project": project}, timeout=10).json()[
            "versions"
        ]
        assert len(versions) == 2
        opened = {"tasks": [fake.task_json(tasks[5])], "project": str(project), "label_config": pixel_config}
        (prediction,) = post(address, "/predict", {**opened, "params": {"context": None}})["results"]
        assert prediction["model_version"] == versions[0]
        assert len(prediction["result"]) >= 11
        bad = requests.post(f"{address}/predict", json={"tasks": 7}, timeout=10)
        assert bad.status_code == 400
        assert "Traceback" not in bad.text


def _click_before_any_setup(
    address: str, fake: FakeLabelStudio, project: int, task: int, config: str
) -> None:
    value = {"x": 50.0, "y": 20.0, "width": 0.2, "keypointlabels": ["sky"]}
    click = {"id": "c", "type": "keypointlabels", "from_name": "click", "to_name": "image", "is_positive": True,
             "original_width": WIDTH, "original_height": HEIGHT, "image_rotation": 0, "value": value}  # fmt: skip
    body = {"tasks": [fake.task_json(task)], "project": f"{project}.1", "label_config": config,
            "params": {"login": None, "password": None, "context": {"result": [click]}}}  # fmt: skip
    (prediction,) = post(address, "/predict", body)["results"]
    (mask,) = read_masks(read_schema(config).images[0], prediction["result"])
    assert mask.mask[int(0.2 * HEIGHT), WIDTH // 2]


def _wait_for(condition: Any, patience: float = 120) -> None:
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, f"waited {patience} s"
        time.sleep(0.1)
