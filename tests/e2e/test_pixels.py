"""The pixel loop with the keyboard alone: answer, submit, a new version, the next task comes drawn."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from label_config import read_schema
from label_config.regions import read_masks
from label_config.templates import render
from tests.e2e.conftest import Backend, Project
from tests.e2e.scenes import LAND, Scene, jpeg, land_scene
from tests.e2e.studio_api import Api, regions
from tests.e2e.studio_page import StudioPage

pytestmark = pytest.mark.e2e

CYCLE = "Space"
SUBMIT = "Control+Enter"
CONFIG = render("pixel", LAND)
NewProject = Callable[..., Project]


def test_three_tasks_by_keys_draw_the_fourth(
    new_project: NewProject, editor: StudioPage, api: Api, backend: Backend
) -> None:
    scenes = [land_scene(seed) for seed in range(5)]
    project = new_project("pixels", CONFIG, _files(scenes))
    truth = dict(zip(project.tasks, scenes, strict=True))
    first = backend.wait_for_rest(project.id)
    editor.open_stream(project.id)
    for number in range(1, 4):
        task = editor.task_id
        answered = _answer(editor, truth[task])
        editor.screenshot(f"pixels-{number}")
        stored = editor.submit(SUBMIT)
        labels = [region["value"]["keypointlabels"] for region in regions(stored, "keypointlabels")]
        assert labels == answered, "what was typed is what is stored"
        assert {region["origin"] for region in regions(stored, "keypointlabels")} == {"prediction-changed"}
        editor.wait_for_other_task(task)

    published = backend.wait_for_rest(project.id, after=first.id)
    assert published.version not in (None, first.version)
    assert api.project(project.id)["model_version"] == published.version
    editor.open_stream(project.id)
    fourth = editor.task_id
    assert not api.annotations(fourth)
    _check_preannotated(editor, truth[fourth], api, fourth)


def test_a_digit_leaves_a_mask_as_it_is(
    new_project: NewProject, editor: StudioPage, backend: Backend
) -> None:
    scenes = [land_scene(seed) for seed in (10, 11)]
    project = new_project("digits on masks", CONFIG, _files(scenes))
    truth = dict(zip(project.tasks, scenes, strict=True))
    first = backend.wait_for_rest(project.id)
    editor.open_stream(project.id)
    _answer(editor, truth[editor.task_id])
    editor.submit(SUBMIT)
    backend.wait_for_rest(project.id, after=first.id)
    editor.open_stream(project.id)

    before = editor.regions()
    masks = [region for region in before if region.type == "brushregion"]
    assert masks
    for _ in before:
        editor.press(CYCLE)
        (selected,) = [region for region in editor.regions() if region.selected]
        if selected.type == "brushregion":
            for key in "1230":
                editor.press(key)
    after = [region for region in editor.regions() if region.type == "brushregion"]
    assert [(region.id, region.labels) for region in after] == [
        (region.id, region.labels) for region in masks
    ]
    stored = editor.submit(SUBMIT)
    assert {region["origin"] for region in regions(stored, "brushlabels")} == {"prediction"}


def test_start_training_starts_a_round(
    new_project: NewProject, editor: StudioPage, api: Api, backend: Backend
) -> None:
    scene = land_scene(20)
    project = new_project("training", CONFIG, _files([scene, land_scene(21)]))
    first = backend.wait_for_rest(project.id)
    editor.open_stream(project.id)
    _answer(editor, scene if editor.task_id == project.tasks[0] else land_scene(21))
    editor.submit(SUBMIT)
    learned = backend.wait_for_rest(project.id, after=first.id)
    editor.start_training(project.id)
    editor.screenshot("start-training")
    asked = backend.wait_for_rest(project.id, after=learned.id)
    assert asked.reason == "asked for"
    assert asked.version not in (None, learned.version)
    assert api.project(project.id)["model_version"] == asked.version


def _files(scenes: list[Scene]) -> dict[str, bytes]:
    return {f"land{number}.jpg": jpeg(scene.image) for number, scene in enumerate(scenes)}


def _answer(editor: StudioPage, scene: Scene) -> list[list[str]]:
    """Answers every query of the open task by keys; the labels, in order of the queries."""
    queries = [region for region in editor.regions() if region.labels == ("?",)]
    assert 5 <= len(queries) <= 20
    answers = []
    for query in queries:
        editor.press(CYCLE)
        (selected,) = [region for region in editor.regions() if region.selected]
        assert selected.id == query.id, "the queries come first, in order"
        row, col = editor.pixel_of(query.id)
        index = int(scene.truth[row, col])
        editor.press(str(index + 1))
        answers.append([LAND[index]])
    return answers


def _check_preannotated(editor: StudioPage, scene: Scene, api: Api, task: int) -> None:
    """New queries first, then masks that are mostly right."""
    shown = editor.regions()
    editor.screenshot("pixels-4")
    kinds = [region.type for region in shown]
    count = kinds.count("keypointregion")
    assert count >= 5
    assert kinds == ["keypointregion"] * count + ["brushregion"] * (len(kinds) - count)
    assert all(region.labels == ("?",) for region in shown[:count])
    (prediction,) = api.predictions(task)
    (image,) = read_schema(CONFIG).images
    right = np.zeros(scene.truth.shape, bool)
    for region in read_masks(image, prediction["result"]):
        assert region.label is not None
        right |= region.mask & (scene.truth == LAND.index(region.label))
    assert right.mean() > 0.7, f"{right.mean():.0%} of the drawing is right"
