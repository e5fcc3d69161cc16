"""The ring that shows where the next click would help: seen, clicked, and gone when the mask is accepted."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageColor
from playwright.sync_api import Request, expect

from backend.demo.photos import packaged_photos
from label_config.colours import HINT_COLOUR
from label_config.templates import render
from tests.e2e.conftest import Project
from tests.e2e.scenes import jpeg, object_scene
from tests.e2e.studio_page import StudioPage

pytestmark = pytest.mark.e2e

NewProject = Callable[..., Project]
_RINGS = """() => [...Htx.annotationStore.selected.suggestions.values()]
  .filter(region => region.results.some(result => result.from_name.name === "hint"))
  .map(region => {
    const image = region.parent.currentImageEntity;
    return [region.y / 100 * image.naturalHeight, region.x / 100 * image.naturalWidth];
  })"""


def test_the_ring_moves_with_the_clicks_and_is_not_stored(
    new_project: NewProject, editor: StudioPage, tmp_path: Path
) -> None:
    photo = next(photo for photo in packaged_photos(tmp_path) if photo.name == "flower.jpg")
    config = render("click", ["flower", "leaf"], hints=True)
    project = new_project("hints", config, {photo.name: photo.path.read_bytes()})
    contexts = _noted_contexts(editor)
    editor.open_task(project.id, project.tasks[0])
    editor.auto_annotation()
    editor.press("1", "m")
    editor.smart_click(205, 300)
    first = _ring(editor)
    expect(editor.page.locator(".lsf-bottombar")).to_contain_text("2 suggestions")
    assert _pixels_of_the_ring(editor, first) > 20

    editor.page.mouse.move(*editor.point_of(*first))
    editor.page.wait_for_timeout(500)
    editor.screenshot("hint")
    editor.smart_click(*first, key="1", alt=True)
    assert _ring(editor) != first
    assert [click["is_positive"] for click in contexts[-1]] == [True, False], "the ring itself is no click"
    assert _pixels_of_the_ring(editor, first) < 5, "it has left its former place"

    editor.reject()
    assert not editor.regions()
    assert len(contexts) == 2
    editor.smart_click(265, 330, key="1")
    assert _pixels_of_the_ring(editor, _ring(editor)) > 20
    editor.press("1")  # Label Studio writes what is accepted down under a label that is selected, too
    editor.accept()
    editor.page.wait_for_timeout(500)
    assert not any(contexts[3:]), "Label Studio may ask about nothing when it deletes the ring"
    assert [(region.type, region.labels) for region in editor.regions()] == [("brushregion", ("flower",))]
    stored = editor.submit("Control+Enter")
    assert {region["from_name"] for region in stored["result"]} <= {"mask", "click"}
    assert all("rle" in region["value"] for region in stored["result"]), (
        "the mask, perhaps twice, and no ring"
    )
    assert not editor.editor_error()


def test_auto_accept_leaves_no_ring_beside_questions(new_project: NewProject, editor: StudioPage) -> None:
    scene = object_scene(240, 320)
    config = render("both", ["thing"], hints=True)
    project = new_project("hints and questions", config, {"scene.jpg": jpeg(scene.image)})
    editor.open_task(project.id, project.tasks[0])
    questions = editor.regions()
    assert questions
    editor.auto_annotation()
    editor.auto_accept()
    editor.press("u", "a", "m")  # M takes the tool for clicks, though three controls have keypoints
    answer = editor.smart_click(*scene.centre(1))
    assert [region["from_name"] for region in answer.json()["data"]["result"]] == ["mask", "hint"]
    editor.page.wait_for_timeout(500)
    editor.screenshot("hint-auto-accept")
    assert editor.suggestions() == 0
    added = [region for region in editor.regions() if region.id not in {each.id for each in questions}]
    assert [(region.type, region.labels) for region in added] == [("brushregion", ("thing",))]
    stored = editor.submit()
    assert {region["from_name"] for region in stored["result"]} == {"query", "mask"}
    assert not editor.editor_error()


def _noted_contexts(editor: StudioPage) -> list[list[dict[str, Any]]]:
    """Fills with the regions that each interactive request from now on carries."""
    contexts: list[list[dict[str, Any]]] = []

    def note(request: Request) -> None:
        if "/interactive-annotating" in request.url:
            contexts.append(json.loads(request.post_data or "{}")["context"]["result"])

    editor.page.on("request", note)
    return contexts


def _ring(editor: StudioPage) -> tuple[float, float]:
    """(row, col) of the one ring, which waits beside one mask."""
    assert editor.suggestions() == 2
    (ring,) = editor.page.evaluate(_RINGS)
    return ring[0], ring[1]


def _pixels_of_the_ring(editor: StudioPage, place: tuple[float, float]) -> int:
    """How many pixels of the screen about (row, col) of the image have the ring's colour."""
    x, y = editor.point_of(*place)
    screen = np.asarray(Image.open(io.BytesIO(editor.page.screenshot())).convert("RGB")).astype(int)
    near = screen[round(y) - 12 : round(y) + 13, round(x) - 12 : round(x) + 13]
    return int((np.abs(near - ImageColor.getrgb(HINT_COLOUR)[:3]).max(axis=2) < 24).sum())
