"""Confirm mode with the keyboard alone: a right class costs a key, a wrong one a second, and "Z" confirms the rest."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from label_config import collect_labels, read_schema
from label_config.templates import render
from tests.e2e.conftest import Backend, Project
from tests.e2e.scenes import LAND, Scene, jpeg, land_scene
from tests.e2e.studio_api import Api
from tests.e2e.studio_page import StudioPage

pytestmark = pytest.mark.e2e
CONFIG = render("pixel", LAND)
KNOWN, ASKED = 6, 2
PIXELS = 100
"""Answered in each known task, so that about 60 labels of all are held out."""
WRONG = {2, 7, 11}
"""Of the first twenty queries: 85 % are right."""


def test_eighty_five_percent_right_cost_at_most_a_key_and_a_quarter_a_pixel(
    new_project: Callable[..., Project], editor: StudioPage, api: Api, backend: Backend
) -> None:
    scenes = [land_scene(seed) for seed in range(KNOWN + ASKED)]
    files = {f"land{number}.jpg": jpeg(scene.image) for number, scene in enumerate(scenes)}
    project = new_project("confirm", CONFIG, files)
    first = backend.wait_for_rest(project.id)
    for task, scene in zip(project.tasks[:KNOWN], scenes, strict=False):
        api.call("POST", f"/api/tasks/{task}/annotations/", json={"result": known(scene, task)})
    backend.wait_for_rest(project.id, after=first.id)

    keys = pixels = 0
    for number in range(ASKED):
        editor.open_stream(project.id)
        task = editor.task_id
        assert task in project.tasks[KNOWN:]
        pressed, expected = confirm(editor, pixels)
        editor.screenshot(f"confirm-{number + 1}")
        stored = editor.submit("Control+Enter")
        schema = read_schema(CONFIG).images[0]
        (labels,) = collect_labels(schema, {"id": task, "annotations": [{**stored, "completed_by": 1}]})
        assert {(pixel.row, pixel.col): pixel.label for pixel in labels.pixels} == expected
        keys, pixels = keys + pressed, pixels + len(expected)
        backend.wait_for_rest(project.id)
    assert pixels == 20
    assert keys / pixels <= 1.25


def confirm(editor: StudioPage, seen: int) -> tuple[int, dict[tuple[int, int], str]]:
    """Go through the queries; seen: queries before these. Keys pressed, and the label of each pixel."""
    queries = [region for region in editor.regions() if region.type == "keypointregion"]
    keys, last_wrong = 0, -1
    expected = {}
    for number, query in enumerate(queries):
        (shown,) = query.labels
        assert shown in LAND, "a class to confirm"
        editor.press("Space")
        keys += 1
        row, col = editor.pixel_of(query.id)
        expected[int(row), int(col)] = shown
        if seen + number in WRONG:
            index = (LAND.index(shown) + 1) % len(LAND)
            editor.press(str(index + 1))
            keys, last_wrong = keys + 1, number
            expected[int(row), int(col)] = LAND[index]
    if last_wrong < len(queries) - 1:
        editor.press("z")
        keys += 1
    return keys, expected


def known(scene: Scene, seed: int) -> list[dict[str, object]]:
    """Right answers at random pixels."""
    rng = np.random.default_rng(seed)
    height, width = scene.truth.shape
    places = zip(rng.integers(0, height, PIXELS), rng.integers(0, width, PIXELS), strict=True)
    return [
        {
            "id": f"k{number}", "type": "keypointlabels", "from_name": "query", "to_name": "image",
            "original_width": width, "original_height": height, "image_rotation": 0, "origin": "manual",
            "value": {
                "x": (col + 0.5) / width * 100, "y": (row + 0.5) / height * 100, "width": 0.8,
                "keypointlabels": [LAND[scene.truth[row, col]]],
            },
        }
        for number, (row, col) in enumerate(places)
    ]  # fmt: skip
