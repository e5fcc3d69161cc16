"""Several projects at a time, and a backend that is started again under open editors."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from label_config.templates import render
from tests.e2e.conftest import Backend, Project
from tests.e2e.scenes import jpeg, land_scene, object_scene
from tests.e2e.studio_api import Api, regions
from tests.e2e.studio_page import StudioPage

pytestmark = pytest.mark.e2e

NewProject = Callable[..., Project]
CLICK_KEY = "a"
"""The first class of the click control in the combined template; digits are the query control's."""


def test_two_projects_do_not_mix(
    new_project: NewProject, open_page: Callable[[], StudioPage], api: Api, backend: Backend
) -> None:
    classes = {"fields": ("meadow", "hill"), "rooms": ("chair", "floor", "lamp")}
    scene = object_scene(280, 420)
    files = {f"{number}.jpg": jpeg(scene.image) for number in range(3)}
    projects = {name: new_project(name, render("both", labels), files) for name, labels in classes.items()}
    first = {name: backend.wait_for_rest(project.id) for name, project in projects.items()}
    pages = {name: open_page() for name in projects}
    for name, page in pages.items():
        page.open_stream(projects[name].id)
        page.auto_annotation()
    for name, page in pages.items():  # both have unanswered queries and a pending mask at the same time
        for query, key in zip([r for r in page.regions() if r.labels == ("?",)], "12121212", strict=False):
            page.press("Space", key)
            assert next(r for r in page.regions() if r.id == query.id).labels == (
                classes[name][int(key) - 1],
            )
        page.press("u", CLICK_KEY, "m")
        page.smart_click(*scene.centre(1))
        page.screenshot(f"projects-{name}")
    for name, page in pages.items():
        page.accept()
        stored = page.submit()
        masks = regions(stored, "brushlabels")
        assert [mask["value"]["brushlabels"] for mask in masks] == [[classes[name][0]]]

    for name, project in projects.items():
        published = backend.wait_for_rest(project.id, after=first[name].id)
        assert published.version != first[name].version
        tasks = [task for task in project.tasks if not api.annotations(task)]
        assert len(tasks) == 2
        for task in tasks:
            (prediction,) = api.predictions(task)
            assert prediction["model_version"] == published.version
            assert _labels(prediction["result"]) <= {*classes[name], "?"}


def test_first_click_after_a_restart_needs_no_setup(
    new_project: NewProject, editor: StudioPage, backend: Backend
) -> None:
    scene = object_scene(280, 420, seed=1)
    project = new_project("restart", render("click", ["thing"]), {"thing.jpg": jpeg(scene.image)})
    editor.open_stream(project.id)
    editor.auto_annotation()
    backend.server.stop()
    backend.server.start()
    editor.press("1", "m")
    answer = editor.smart_click(*scene.centre(1))
    assert answer.json()["data"]["result"], answer.text()
    assert editor.suggestions() == 1
    assert "/setup" not in backend.requests()
    assert "/predict" in backend.requests()


def test_two_tabs_click_at_the_same_time(
    new_project: NewProject, open_page: Callable[[], StudioPage]
) -> None:
    """Answers go to the task that asked, also while another one is being worked on."""
    scenes = [object_scene(280, 420, seed=2), land_scene(3)]
    files = {f"{number}.jpg": jpeg(scene.image) for number, scene in enumerate(scenes)}
    project = new_project("tabs", render("click", ["thing"]), files)
    pages = [open_page() for _ in scenes]
    for page, task in zip(pages, project.tasks, strict=True):
        page.open_task(project.id, task)
        page.auto_annotation()
        page.press("1", "m")
    with pages[0].prediction() as one, pages[1].prediction() as two:
        pages[0].click(*scenes[0].centre(1))
        pages[1].click(*scenes[1].centre(2))
    for scene, answer in zip(scenes, (one[0], two[0]), strict=True):
        (region,) = answer.json()["data"]["result"]
        assert (region["original_height"], region["original_width"]) == scene.truth.shape


def _labels(result: list[dict[str, object]]) -> set[str]:
    return {
        label
        for region in result
        for name, labels in region["value"].items()  # type: ignore[attr-defined]
        if name.endswith("labels")
        for label in labels
    }
