"""A round from labels to a version and its queries, against the fake Label Studio with the real learner."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import Any

import pytest

from backend.round_queue import ASKED_FOR
from backend.settings import Settings
from backend.stored_labels import StoredLabels
from label_config import render
from tests.backend.conftest import CLASSES, HEIGHT, WIDTH, answer, answers, jpeg
from tests.backend.learning.loop import Loop
from tests.fakes.label_studio import FakeLabelStudio

pytestmark = [pytest.mark.unit, pytest.mark.usefixtures("short_turns")]


def queries_of(prediction: dict[str, Any]) -> list[dict[str, Any]]:
    return [region for region in prediction["result"] if region["type"] == "keypointlabels"]


def masks_of(prediction: dict[str, Any]) -> list[dict[str, Any]]:
    return [region for region in prediction["result"] if region["type"] != "keypointlabels"]


def test_before_any_label_every_task_gets_random_queries(
    loop: Loop, fake: FakeLabelStudio, pixel_project: tuple[int, list[int]]
) -> None:
    project, tasks = pixel_project
    outcome = loop.run(project)
    assert str(outcome.version).startswith(f"clickpick-{project}-v0-")
    assert sorted(p["task"] for p in fake.predictions.values()) == tasks
    for prediction in fake.predictions.values():
        assert prediction["model_version"] == outcome.version
        assert len(queries_of(prediction)) == 10
        assert all(region["value"]["keypointlabels"] == ["?"] for region in queries_of(prediction))
        assert masks_of(prediction) == []
    assert fake.projects[project]["model_version"] == outcome.version
    assert fake.projects[project]["sampling"] == "Uncertainty sampling"
    assert loop.store.live_version(project) is None


def test_labels_become_a_version_that_pre_annotates_what_is_left(
    loop: Loop, fake: FakeLabelStudio, pixel_project: tuple[int, list[int]]
) -> None:
    project, tasks = pixel_project
    loop.run(project)
    for task in tasks[:3]:
        fake.annotate(task, answers(task))
    outcome = loop.run(project)
    live = loop.store.live_version(project)
    assert live is not None
    assert outcome.version == live.name == fake.projects[project]["model_version"]
    assert live.classes == CLASSES
    assert live.labels == 30
    assert set(fake._versions(project)) == {live.name}, "superseded predictions are gone"
    assert sorted(p["task"] for p in fake.predictions.values()) == tasks[3:]
    for prediction in fake.predictions.values():
        first_kinds = [region["type"] for region in prediction["result"][:10]]
        assert first_kinds == ["keypointlabels"] * 10, "queries come first"
        assert {label for r in masks_of(prediction) for label in r["value"][r["type"]]} == set(CLASSES)
        assert 0 <= prediction["score"] <= 1
    assert len(loop.store.labels(project)) == 30


def test_stored_labels_are_compared_in_full_once_and_after_somebody_else_wrote_them(
    loop: Loop, fake: FakeLabelStudio, pixel_project: tuple[int, list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    project, tasks = pixel_project
    in_full: list[int] = []
    real = StoredLabels._all

    def noted(self: StoredLabels, number: int, labels: Any) -> Any:
        in_full.append(number)
        return real(self, number, labels)

    monkeypatch.setattr(StoredLabels, "_all", noted)
    for count, task in enumerate(tasks[:3], 1):
        fake.annotate(task, answers(task))
        loop.run(project)
        assert len(loop.store.labels(project)) == 10 * count
    assert in_full == [project]
    loop.store.replace_labels(project, [])
    loop.run(project)
    assert len(loop.store.labels(project)) == 30
    assert in_full == [project] * 3, "the first, that of somebody else, and the one after it"


def test_the_same_labels_make_no_second_version_unless_a_person_asks(
    loop: Loop, fake: FakeLabelStudio, pixel_project: tuple[int, list[int]]
) -> None:
    project, tasks = pixel_project
    fake.annotate(tasks[0], answers(1))
    first = loop.run(project)
    again = loop.run(project)
    assert again.version == first.version
    assert "unchanged" in again.message
    asked = loop.run(project, ASKED_FOR)
    assert asked.version != first.version
    assert [v.number for v in loop.store.versions(project)] == [2, 1]


def test_a_deleted_annotation_takes_its_labels_with_it(
    loop: Loop, fake: FakeLabelStudio, pixel_project: tuple[int, list[int]]
) -> None:
    project, tasks = pixel_project
    fake.annotate(tasks[0], answers(1))
    gone = fake.annotate(tasks[1], answers(2))
    loop.run(project)
    del fake.annotations[gone]
    fake.tasks[tasks[1]]["is_labeled"] = False
    loop.run(project)
    live = loop.store.live_version(project)
    assert live is not None
    assert live.labels == 10
    assert {label.task for label in loop.store.labels(project)} == {tasks[0]}


def test_what_is_no_label_teaches_nothing(
    loop: Loop, fake: FakeLabelStudio, pixel_project: tuple[int, list[int]]
) -> None:
    project, tasks = pixel_project
    unanswered = [answer(1, 1, "?", origin="prediction"), answer(2, 2, "sky", origin="prediction")]
    fake.annotate(tasks[0], unanswered)
    fake.annotate(tasks[1], answers(1), cancelled=True)
    outcome = loop.run(project)
    assert loop.store.live_version(project) is None
    assert loop.store.labels(project) == []
    assert "two classes" in outcome.message


def test_cannot_tell_is_kept_and_never_asked_again(
    loop: Loop, fake: FakeLabelStudio, make_settings: Callable[..., Settings]
) -> None:
    project = fake.add_project(render("pixel", CLASSES))
    task = fake.upload(project, "tiny.jpg", jpeg(3, 4, 5))
    void = {**answer(0, 0, "void"), "original_width": 5, "original_height": 4}
    void["value"] = {**void["value"], "x": 10.0, "y": 12.5}
    fake.annotate(task, [void])
    fake.tasks[task]["is_labeled"] = False  # a second annotator is wanted
    loop.run(project)
    (prediction,) = fake.predictions.values()
    asked = {(int(q["value"]["y"] / 100 * 4), int(q["value"]["x"] / 100 * 5)) for q in queries_of(prediction)}
    assert (0, 0) not in asked
    assert len(asked) == 10
    assert [label.label for label in loop.store.labels(project)] == ["void"]


def test_a_class_answered_once_is_learnt_and_not_held_out(
    fake: FakeLabelStudio, pixel_project: tuple[int, list[int]], make_settings: Callable[..., Settings]
) -> None:
    project, tasks = pixel_project
    loop = Loop(make_settings(holdout_percent=50))
    sky = [answer(2, c, "sky", c) for c in range(1, 41)]
    fake.annotate(tasks[0], [*sky, answer(HEIGHT - 2, WIDTH // 2, "grass", 99)])
    loop.run(project)
    live = loop.store.live_version(project)
    assert live is not None
    assert 5 < live.metrics["held_out_labels"] < 35, "about half of sky is held out, and nothing of grass"
    counts = live.metrics["held_out_counts"]
    assert sum(held for _, _, held in counts.values()) == live.metrics["held_out_labels"]
    assert {name: round(both / union, 4) for name, (both, union, _) in counts.items()} == live.metrics[
        "held_out_iou"
    ]
    prediction = next(iter(fake.predictions.values()))
    assert {label for r in masks_of(prediction) for label in r["value"][r["type"]]} == set(CLASSES)
    loop.close()


def test_changed_classes_start_from_scratch_and_keep_the_old_version(
    loop: Loop, fake: FakeLabelStudio, pixel_project: tuple[int, list[int]]
) -> None:
    project, tasks = pixel_project
    fake.annotate(tasks[0], answers(1))
    old = loop.run(project).version
    fake.projects[project]["label_config"] = render("pixel", ("sky", "grass", "water"))
    loop.run(project)
    live = loop.store.live_version(project)
    assert live is not None
    assert live.classes == ("sky", "grass", "water")
    assert old in [v.name for v in loop.store.versions(project)]


def test_a_missing_image_costs_its_own_task_only(
    loop: Loop, fake: FakeLabelStudio, pixel_project: tuple[int, list[int]]
) -> None:
    project, tasks = pixel_project
    for task in tasks[:3]:
        fake.annotate(task, answers(task))
    del fake.uploads[fake.tasks[tasks[0]]["data"]["image"]]
    del fake.uploads[fake.tasks[tasks[4]]["data"]["image"]]
    loop.run(project)
    assert loop.store.live_version(project) is not None
    assert sorted(p["task"] for p in fake.predictions.values()) == [tasks[3], tasks[5]]


def test_a_project_deleted_in_the_middle_ends_the_round_quietly(
    loop: Loop, fake: FakeLabelStudio, pixel_project: tuple[int, list[int]]
) -> None:
    project, _ = pixel_project

    def delete() -> bool:
        fake.projects.pop(project, None)
        return False

    outcome = loop.run(project, superseded=delete)
    assert "does not exist" in outcome.message
    assert loop.store.projects() == []


def test_a_click_project_has_nothing_to_learn(loop: Loop, fake: FakeLabelStudio) -> None:
    project = fake.add_project(render("click", CLASSES))
    outcome = loop.run(project)
    assert outcome.version is None
    assert "query control" in outcome.message
    assert fake.predictions == {}


def test_held_out_labels_set_the_temperature_of_a_version(
    fake: FakeLabelStudio,
    pixel_project: tuple[int, list[int]],
    make_settings: Callable[..., Settings],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("model_zoo.learners.temperature.FEWEST_LABELS", 5)
    project, tasks = pixel_project
    loop = Loop(make_settings(holdout_percent=30))
    fake.annotate(tasks[0], answers(tasks[0], 40))
    loop.run(project)
    live = loop.store.live_version(project)
    assert live is not None
    assert live.metrics["held_out_miou"] == 1.0
    assert live.metrics["temperature"] < 1.0, "all are right, so it may be surer"
    loop.close()


def test_a_worse_learner_is_not_published(
    fake: FakeLabelStudio, pixel_project: tuple[int, list[int]], make_settings: Callable[..., Settings]
) -> None:
    project, tasks = pixel_project
    loop = Loop(make_settings(gate_labels=4, holdout_percent=30))
    good = [fake.annotate(task, answers(task, 40)) for task in tasks[:2]]
    first = loop.run(project)
    live = loop.store.live_version(project)
    assert live is not None
    assert live.metrics["held_out_miou"] > 0.9
    swapped = {"sky": "grass", "grass": "sky"}
    for number, share in zip(good, (40, 12), strict=True):
        for region in fake.annotations[number]["result"][:share]:
            kept = region["value"]["keypointlabels"]
            row, col = int(region["value"]["y"] / 100 * HEIGHT), int(region["value"]["x"] / 100 * WIDTH)
            if not _is_held_out(loop, project, fake.annotations[number]["task"], row, col):
                region["value"]["keypointlabels"] = [swapped[kept[0]]]
    second = loop.run(project)
    assert second.version == first.version
    assert "not published" in second.message
    loop.close()


def test_a_changed_config_with_the_same_classes_is_pushed_anew(
    loop: Loop, fake: FakeLabelStudio, pixel_project: tuple[int, list[int]]
) -> None:
    project, tasks = pixel_project
    fake.annotate(tasks[0], answers(1))
    first = loop.run(project)
    fake.projects[project]["label_config"] = render("pixel", CLASSES, output="polygon")
    second = loop.run(project)
    assert second.version != first.version
    kinds = {r["type"] for p in fake.predictions.values() for r in masks_of(p)}
    assert kinds == {"polygonlabels"}


@pytest.mark.parametrize("damage", ["gone", "changed"])
def test_a_version_whose_folder_is_damaged_is_made_anew(
    settings: Settings, fake: FakeLabelStudio, pixel_project: tuple[int, list[int]], damage: str
) -> None:
    project, tasks = pixel_project
    fake.annotate(tasks[0], answers(1))
    before = Loop(settings)
    first = before.run(project)
    before.close()
    if damage == "gone":
        shutil.rmtree(settings.versions_folder)
    else:
        weights = next(settings.versions_folder.glob(f"{project}/1/*.safetensors"))
        weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    after = Loop(settings)
    second = after.run(project)
    assert second.version != first.version
    assert "published" in second.message
    after.close()


def test_pixels_on_which_annotators_disagree_are_named(
    loop: Loop, fake: FakeLabelStudio, pixel_project: tuple[int, list[int]]
) -> None:
    project, tasks = pixel_project
    fake.annotate(tasks[0], [answer(3, 3, "sky"), answer(40, 3, "grass")], user=1)
    fake.annotate(tasks[0], [answer(3, 3, "grass"), answer(40, 3, "grass")], user=2)
    outcome = loop.run(project)
    assert f"disagree on 1 pixels, of tasks {tasks[0]}" in outcome.message
    assert [(x.row, x.col, x.label) for x in loop.store.labels(project)] == [(40, 3, "grass")]


def test_new_labels_are_waited_for_as_the_setting_says(
    fake: FakeLabelStudio, pixel_project: tuple[int, list[int]], make_settings: Callable[..., Settings]
) -> None:
    project, tasks = pixel_project
    loop = Loop(make_settings(round_every=15))
    fake.annotate(tasks[0], answers(1))
    first = loop.run(project)
    fake.annotate(tasks[1], answers(2))
    assert loop.run(project).version == first.version
    fake.annotate(tasks[2], answers(3))
    assert loop.run(project).version != first.version
    loop.close()


def _is_held_out(loop: Loop, project: int, task: int, row: int, col: int) -> bool:
    import hashlib

    text = f"{task}/None/{row}/{col}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") % 100 < 30
