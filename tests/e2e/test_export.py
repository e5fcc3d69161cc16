"""Accepted polygons are edited by hand, and what Label Studio then holds is what the export says."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pycocotools.coco import COCO

from label_config import Query, mask_regions, query_regions, read_masks, read_schema
from label_config.templates import render
from tests.e2e.conftest import Backend, Project
from tests.e2e.scenes import LAND, iou, jpeg, land_scene, ring_scene
from tests.e2e.studio_api import Api
from tests.e2e.studio_page import StudioPage

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy"),  # in pycocotools
]

NewProject = Callable[..., Project]
HEIGHT, WIDTH = 300, 400
_POINTS = """() => {
  const region = Htx.annotationStore.selected.regionStore.regions.find(region => region.type === "polygonregion");
  return region.points.map(point => [point.x, point.y]);
}"""


@dataclass(frozen=True)
class Export:
    """Runs the command against the real Label Studio, into a folder of its own."""

    environment: Mapping[str, str]
    folder: Path

    def __call__(self, project: int, *arguments: str) -> str:
        command = [sys.executable, "-m", "backend.cli", "export", "--project", str(project)]
        done = subprocess.run(
            [*command, "--out", str(self.folder), *arguments],
            env=self.environment, capture_output=True, text=True, timeout=240, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture
def export(backend: Backend, tmp_path: Path) -> Export:
    return Export(backend.server.environment, tmp_path / "out")


def test_a_polygon_edited_after_acceptance_is_exported_as_it_was_left(
    new_project: NewProject, editor: StudioPage, export: Export
) -> None:
    scene = ring_scene(HEIGHT, WIDTH)
    config = render("click", ["thing"], "polygon", segmenter="gp-lite0")
    project = new_project("edited polygon", config, {"ring.jpg": jpeg(scene.image)})
    editor.open_task(project.id, project.tasks[0])
    editor.auto_annotation()
    editor.press("1", "m")
    editor.smart_click(*scene.centre(1))
    hole = (round(0.5 * HEIGHT), round(0.45 * WIDTH))
    editor.smart_click(*hole, key="1", alt=True)
    editor.accept()
    assert [region.type for region in editor.regions()] == ["polygonregion"]
    accepted = editor.page.evaluate(_POINTS)
    assert len(accepted) < 100
    editor.auto_annotation(on=False)
    editor.press("u")
    editor.screenshot("polygon-accepted")

    moved = min(range(len(accepted)), key=lambda index: accepted[index][0])
    x, y = (at / 100 * size for at, size in zip(accepted[moved], (WIDTH, HEIGHT), strict=True))
    editor.click(*scene.centre(1))  # selects it, and its corners show
    editor.screenshot("polygon-selected")
    _drag(editor, (y, x), (y, x - 20))
    editor.screenshot("polygon-edited")
    stored = editor.submit()

    (region,) = stored["result"]
    points = region["value"]["points"]
    assert len(points) == len(accepted)
    assert points[moved][0] == pytest.approx(accepted[moved][0] - 100 * 20 / WIDTH, abs=0.5)
    same = [index for index in range(len(points)) if index != moved]
    assert np.allclose(np.array(points)[same], np.array(accepted)[same], atol=1e-6)
    (mask,) = (found.mask for found in read_masks(read_schema(config).images[0], stored["result"]))
    assert not mask[hole], "the hole is left out"
    assert mask[round(y), round(x) - 8], "the pulled corner is in"
    assert iou(mask, scene.truth == 1) > 0.85

    assert "1 images (1 with labels of people, 0 of the model)" in export(project.id, "--format", "coco")
    coco = COCO(export.folder / "human.json")
    (found,) = coco.loadAnns(coco.getAnnIds())
    assert np.array_equal(coco.annToMask(found), mask)
    assert found["area"] == mask.sum()
    assert found["annotations"] == [stored["id"]]
    assert found["annotators"] == [stored["completed_by"]]


def test_masks_of_rotated_photographs_and_skipped_tasks(
    new_project: NewProject, api: Api, export: Export
) -> None:
    scene = ring_scene(HEIGHT, WIDTH)
    config = render("click", ["thing", "other"])
    names = ["upright.jpg", "lying.jpg", "skipped.jpg"]
    pictures = [jpeg(scene.image), jpeg(scene.image, 6), jpeg(scene.image)]
    project = new_project("export", config, dict(zip(names, pictures, strict=True)))
    (image,) = read_schema(config).images
    result = mask_regions(scene.truth == 1, image, "thing", region_id="ring")
    for task, cancelled in zip(project.tasks, (False, False, True), strict=True):
        body = {"result": [] if cancelled else result, "was_cancelled": cancelled, "lead_time": 2.5}
        api.call("POST", f"/api/tasks/{task}/annotations/", json=body)
    for _ in range(2):
        said = export(project.id, "--source", "people", "--images")
    assert "2 were there already" in said
    manifest = json.loads((export.folder / "manifest.json").read_text())
    assert manifest["images"] == [f"task-{task}" for task in project.tasks[:2]]
    for task in project.tasks[:2]:
        assert np.array_equal(_values(export.folder / f"human/task-{task}.png") == 0, scene.truth == 1)
        picture = _values(export.folder / f"images/task-{task}.png").astype(float)
        assert np.abs(picture - scene.image).mean() < 12, "the image lies as its mask does"
        record = json.loads((export.folder / f"records/task-{task}.json").read_text())
        assert record["human"]["sources"][0]["seconds"] == 2.5


def test_pseudo_labels_of_the_live_version(
    new_project: NewProject, api: Api, backend: Backend, export: Export
) -> None:
    scenes = [land_scene(seed) for seed in range(60, 66)]
    config = render("pixel", LAND)
    project = new_project("pseudo-labels", config, {f"{n}.jpg": jpeg(s.image) for n, s in enumerate(scenes)})
    (image,) = read_schema(config).images
    for task, scene in list(zip(project.tasks, scenes, strict=True))[:4]:
        queries = [Query(*scene.centre(index), label) for index, label in enumerate(LAND)]
        queries += [
            Query(row, col, LAND[scene.truth[row, col]])
            for row in (20, 70, 170, 220)
            for col in range(30, 350, 60)
        ]
        result = query_regions(queries, image, *scene.truth.shape)
        api.call("POST", f"/api/tasks/{task}/annotations/", json={"result": result})
    ended = backend.wait_for_rest(project.id)
    said = export(project.id, "--format", "npz", "--min-confidence", "0.6")
    assert "6 images (4 with labels of people, 6 of the model)" in said, ended
    for task, scene in list(zip(project.tasks, scenes, strict=True))[4:]:
        with np.load(export.folder / f"arrays/task-{task}.npz") as found:
            sure = found["model"] != 255
            assert sure.mean() > 0.7
            assert (found["model"][sure] == scene.truth[sure]).mean() > 0.8
            assert (sure == (found["confidence"] >= 0.6)).mean() > 0.99


def _values(path: Path) -> NDArray[Any]:
    return np.asarray(Image.open(path))


def _drag(editor: StudioPage, start: tuple[float, float], end: tuple[float, float]) -> None:
    mouse = editor.page.mouse
    mouse.move(*editor.point_of(*start))
    mouse.down()
    mouse.move(*editor.point_of(*end), steps=8)
    mouse.up()
