"""A wrong label among right ones is found, and the Data Manager shows the tasks of the list and no other."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from backend.commands.review import TITLE
from backend.demo.label_studio import LabelStudioServer
from label_config import Query, query_regions, read_schema
from label_config.templates import render
from tests.e2e.scenes import LAND, Scene, jpeg, land_scene
from tests.e2e.studio_api import Api
from tests.e2e.studio_page import StudioPage

pytestmark = pytest.mark.e2e

CONFIG = render("pixel", LAND)
MARGIN = 9
LABELS = 12


def test_the_view_shows_the_tasks_of_the_list_alone(
    api: Api, studio_server: LabelStudioServer, editor: StudioPage, tmp_path: Path
) -> None:
    scenes = [land_scene(seed) for seed in range(40, 48)]
    project = api.create_project("review", CONFIG)
    tasks = api.upload(project, {f"{n}.jpg": jpeg(scene.image) for n, scene in enumerate(scenes)})
    for number, (task, scene) in enumerate(zip(tasks, scenes, strict=True)):
        _annotate(api, task, scene, wrong=number == 5)
    own = api.call("POST", "/api/dm/views/", json={"project": project, "data": {"title": "Mine"}})

    for _ in range(2):  # a second run changes nothing
        done = _review(
            studio_server, tmp_path, "--project", str(project), "--json", str(tmp_path / "found.json")
        )
        assert done.returncode == 0, done.stderr
        found = json.loads((tmp_path / "found.json").read_text())["suspects"]
        mine, view = api.call("GET", "/api/dm/views/", params={"project": project})
        assert mine == own
        assert view["data"]["title"] == TITLE
        listed = api.call("GET", "/api/tasks", params={"project": project, "view": view["id"]})
        named = sorted({suspect["task_id"] for suspect in found})
        assert [task["id"] for task in listed["tasks"]] == named, done.stdout
        assert (tasks[5], 12, 180) in {(one["task_id"], one["row"], one["col"]) for one in found}, done.stdout
        assert len(found) <= 3, f"of 97 labels one is wrong: {done.stdout}"

    # an unknown filter would replace the whole Data Manager by an error page
    editor.page.goto(f"{studio_server.url}/projects/{project}/data?tab={view['id']}")
    editor.page.get_by_text(f"Tasks: {len(named)} / {len(tasks)}").wait_for()
    assert editor.page.get_by_text(TITLE).count()
    editor.screenshot("review")

    done = _review(studio_server, tmp_path, "--project", str(project), "--remove")
    assert done.returncode == 0, done.stderr
    assert [v["id"] for v in api.call("GET", "/api/dm/views/", params={"project": project})] == [own["id"]]


def _annotate(api: Api, task: int, scene: Scene, *, wrong: bool) -> None:
    """Right answers clear of the borders, and with ``wrong`` one in the middle of the sky that says grass."""
    side = np.ones((2 * MARGIN + 1, 2 * MARGIN + 1))
    inside = cv2.erode(scene.truth, side) == cv2.dilate(scene.truth, side)
    rng = np.random.default_rng(scene.truth.sum(dtype=np.int64))  # the same whatever ran before
    queries = []
    for index, label in enumerate(LAND):
        places = np.argwhere(inside & (scene.truth == index))
        picked = rng.choice(places, LABELS // len(LAND), replace=False).tolist()
        queries += [Query(row, col, label) for row, col in picked]
    if wrong:
        queries.append(Query(12, 180, "grass"))
    (image,) = read_schema(CONFIG).images
    result = query_regions(queries, image, *scene.truth.shape)
    api.call("POST", f"/api/tasks/{task}/annotations/", json={"result": result})


def _review(
    studio_server: LabelStudioServer, data: Path, *arguments: str
) -> subprocess.CompletedProcess[str]:
    values = {
        **os.environ,
        "LABEL_STUDIO_URL": studio_server.url,
        "LABEL_STUDIO_API_KEY": studio_server.token(),
        "CLICKPICK_DATA": str(data),
    }
    command = [sys.executable, "-m", "backend.cli", "review", *arguments]
    return subprocess.run(command, env=values, capture_output=True, text=True, timeout=240, check=False)
