"""Clicks become masks in the real editor, at the right pixels."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from backend.demo.photos import packaged_photos
from label_config import collect_labels, read_schema
from label_config.regions import read_masks
from label_config.templates import Output, render
from tests.e2e.conftest import Project
from tests.e2e.scenes import iou, jpeg, object_scene
from tests.e2e.studio_api import regions
from tests.e2e.studio_page import StudioPage

pytestmark = pytest.mark.e2e

NewProject = Callable[..., Project]


def test_clicks_are_refined_accepted_and_stored(
    new_project: NewProject, editor: StudioPage, tmp_path: Path
) -> None:
    photo = next(photo for photo in packaged_photos(tmp_path) if photo.name == "flower.jpg")
    config = render("click", ["flower", "leaf"])
    project = new_project("clicks", config, {photo.name: photo.path.read_bytes()})
    editor.open_stream(project.id)
    editor.auto_annotation()
    editor.press("1", "m")

    masks = []
    clicks = [(205, 300, None, False), (265, 330, "1", False), (395, 335, "1", True)]
    for number, (row, col, key, alt) in enumerate(clicks, start=1):
        answer = editor.smart_click(row, col, key=key, alt=alt)
        masks.append(_only_mask(config, answer.json()["data"]["result"]))
        assert editor.suggestions() == 1, "each answer replaces the one before"
        assert masks[-1][row, col] == (not alt)
        editor.screenshot(f"clicks-{number}")
    assert 0.03 < masks[-1].mean() < 0.5
    assert masks[-1][205, 300], "a later click leaves the first one its sign"
    assert masks[-1][265, 330]

    editor.accept()
    assert [(region.type, region.labels) for region in editor.regions()] == [("brushregion", ("flower",))]
    editor.screenshot("clicks-accepted")
    stored = editor.submit()
    assert not regions(stored, "keypointlabels"), "click points are no part of the annotation"
    assert np.array_equal(_only_mask(config, stored["result"]), masks[-1])
    assert not editor.editor_error()


@pytest.mark.parametrize(
    ("size", "orientation"),
    [((260, 520), None), ((420, 280), 6), ((280, 420), 5)],
    ids=["wide", "rotated", "mirrored"],
)
def test_masks_line_up_with_the_photo(
    new_project: NewProject,
    editor: StudioPage,
    size: tuple[int, int],
    orientation: int | None,
) -> None:
    height, width = size
    name = f"{height}x{width}-orientation-{orientation}"
    scene = object_scene(height, width)
    # Geometry is in question here, not a network's opinion of how much of the thing belongs to it.
    config = render("click", ["thing"], segmenter="gp-lite0")
    project = new_project(f"pixels of {name}", config, {f"{name}.jpg": jpeg(scene.image, orientation)})
    editor.page.set_viewport_size({"width": 1500, "height": 1900})
    editor.open_task(project.id, project.tasks[0])
    editor.auto_annotation()
    editor.press("1", "m")
    before = _shown(editor, height, width)
    editor.smart_click(*scene.centre(1))
    editor.accept()
    editor.press("u")
    shown = np.abs(_shown(editor, height, width) - before).max(axis=2) > 24
    editor.screenshot(f"lines-up-{name}")
    stored = editor.submit()

    (region,) = stored["result"]
    assert (region["original_height"], region["original_width"]) == (height, width)
    mask = _only_mask(config, stored["result"])
    assert iou(mask, scene.truth == 1) > 0.9
    offset = _centroid(mask) - _centroid(scene.truth == 1)
    assert np.abs(offset).max() < 1.5, f"the mask is {offset} pixels off"
    assert iou(shown, mask) > 0.95, "the screen shows another mask than the one that is stored"


@pytest.mark.parametrize("output", ["brush", "bitmask", "polygon"])
def test_every_output_form_is_drawn_and_stored(
    new_project: NewProject, editor: StudioPage, output: Output
) -> None:
    scene = object_scene(240, 320)
    config = render("click", ["thing"], output)
    project = new_project(f"output {output}", config, {"scene.jpg": jpeg(scene.image)})
    editor.open_task(project.id, project.tasks[0])
    editor.auto_annotation()
    editor.press("1", "m")
    editor.smart_click(*scene.centre(1))
    editor.accept()
    stored = editor.submit()
    assert [region["type"] for region in stored["result"]] == [f"{output}labels"]
    assert iou(_only_mask(config, stored["result"]), scene.truth == 1) > 0.9
    assert not editor.editor_error()


def test_a_drawn_box_becomes_a_mask(new_project: NewProject, editor: StudioPage) -> None:
    """R takes the smart rectangle; M would take the smart keypoint and draw nothing."""
    scene = object_scene(240, 320)
    config = render("click", ["thing"])
    project = new_project("box", config, {"scene.jpg": jpeg(scene.image)})
    editor.open_task(project.id, project.tasks[0])
    editor.auto_annotation()
    editor.press(_key(config, "RectangleLabels"), "r")
    rows, cols = np.nonzero(scene.truth == 1)
    with editor.prediction():
        _drag(editor, (rows.min() - 4, cols.min() - 4), (rows.max() + 5, cols.max() + 5))
    editor.page.wait_for_function("() => Htx.annotationStore.selected.suggestions.size === 1")
    editor.screenshot("box")
    editor.accept()
    stored = editor.submit()
    assert [region["type"] for region in stored["result"]] == ["brushlabels"], "the box itself is not stored"
    assert iou(_only_mask(config, stored["result"]), scene.truth == 1) > 0.9
    assert not editor.editor_error()


def test_refining_with_the_label_kept_selected(new_project: NewProject, editor: StudioPage) -> None:
    """Label Studio then stores the accepted mask once more, under the click control's name and the same id."""
    scene = object_scene(240, 320)
    config = render("click", ["thing"])
    project = new_project("label kept", config, {"scene.jpg": jpeg(scene.image)})
    editor.page.add_init_script(
        """localStorage.setItem("labelStudio:settings", '{"continuousLabeling": true}')"""
    )
    editor.open_task(project.id, project.tasks[0])
    editor.auto_annotation()
    editor.press("1", "m")
    editor.smart_click(*scene.centre(1))
    answer = editor.smart_click(*scene.centre(0), alt=True)
    shown = _only_mask(config, answer.json()["data"]["result"])
    assert not shown[scene.centre(0)]
    editor.accept()
    stored = editor.submit()
    (image,) = read_schema(config).images
    (labels,) = collect_labels(image, {"id": project.tasks[0], "annotations": [stored]})
    assert np.array_equal(_only_mask(config, stored["result"]), shown)
    assert labels.dense is not None
    assert np.array_equal(labels.dense == 0, shown)
    assert iou(shown, scene.truth == 1) > 0.9
    assert not editor.editor_error()


def _key(config: str, control: str) -> str:
    """The hotkey of the first label of a control."""
    label = ElementTree.fromstring(config).find(f".//{control}/Label")
    assert label is not None
    return label.attrib["hotkey"]


def _drag(editor: StudioPage, start: tuple[int, int], end: tuple[int, int]) -> None:
    mouse = editor.page.mouse
    mouse.move(*editor.point_of(*start))
    mouse.down()
    mouse.move(*editor.point_of(*end), steps=8)
    mouse.up()


def _only_mask(config: str, result: list[dict[str, object]]) -> NDArray[np.bool_]:
    (image,) = read_schema(config).images
    (region,) = read_masks(image, result)
    return region.mask


def _shown(editor: StudioPage, height: int, width: int) -> NDArray[np.float32]:
    """The photo as it is on the screen, scaled back to its own (height, width)."""
    editor.page.mouse.move(5, 5)
    left, top = editor.point_of(0, 0)
    right, bottom = editor.point_of(height, width)
    screen = np.asarray(Image.open(io.BytesIO(editor.page.screenshot())).convert("RGB"))
    assert bottom < screen.shape[0] - 60, "the whole photo has to be on the screen"
    cut = screen[round(top) : round(bottom), round(left) : round(right)]
    return cv2.resize(cut, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32)


def _centroid(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    return np.argwhere(mask).mean(axis=0)
