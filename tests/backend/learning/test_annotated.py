"""What people have labelled is known after every change, and read in full once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import numpy as np
import pytest

from backend.learning import annotated
from backend.learning.annotated import Annotated, AnnotatedTasks
from backend.studio import Studio
from label_config import ImageSchema, mask_regions, read_schema, render
from tests.backend.conftest import CLASSES, HEIGHT, WIDTH, answers
from tests.fakes.label_studio import FakeLabelStudio

pytestmark = pytest.mark.unit

OLD = "2026-01-01T00:00:00.000001Z"


@pytest.fixture
def studio(fake: FakeLabelStudio) -> Studio:
    return Studio(fake.url, fake.pat)


@pytest.fixture
def project(fake: FakeLabelStudio, pixel_project: tuple[int, list[int]]) -> int:
    """Five of the tasks were annotated long ago, the last one just now."""
    number, tasks = pixel_project
    for task in tasks:
        fake.annotate(task, answers(1))
    for row in [*fake.tasks.values(), *fake.annotations.values()]:
        if row["id"] != tasks[-1] and row.get("task") != tasks[-1]:
            row["updated_at"] = OLD
    return number


@pytest.fixture
def sent(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Number of tasks in each answer of Label Studio."""
    counts: list[int] = []
    real = studio.iter_annotated

    def counted(number: int, *, since: datetime | None = None) -> Iterator[dict[str, Any]]:
        tasks = list(real(number, since=since))
        counts.append(len(tasks))
        return iter(tasks)

    monkeypatch.setattr(studio, "iter_annotated", counted)
    return counts


@pytest.fixture
def target(fake: FakeLabelStudio, project: int) -> ImageSchema:
    found = read_schema(fake.projects[project]["label_config"]).pixel_image
    assert found is not None
    return found


def said(found: Annotated) -> dict[str, Any]:
    """All of it, comparable."""
    labels = [image.labels for image in found.images]
    return {
        "complete": dict(found.complete),
        "seconds": dict(found.seconds),
        "pixels": [(x.task_id, x.item_index, x.height, x.width, x.pixels, x.conflicts) for x in labels],
        "dense": [None if x.dense is None else x.dense.tolist() for x in labels],
        "urls": [image.url for image in found.images],
    }


def test_all_is_read_once_and_then_what_is_new(
    studio: Studio, project: int, target: ImageSchema, sent: list[int]
) -> None:
    reader = AnnotatedTasks(studio, 256)
    first = reader.read(project, target)
    assert list(first.complete) == sorted(first.complete)
    assert len(first.complete) == len(first.images) == len(first.seconds) == 6
    assert said(reader.read(project, target)) == said(first)
    assert sent == [6, 1], "the one of just now again"
    assert reader.read(project, target).images[0] is first.images[0], "labels are held once"


def test_another_config_has_other_labels(
    studio: Studio, project: int, target: ImageSchema, sent: list[int]
) -> None:
    reader = AnnotatedTasks(studio, 256)
    reader.read(project, target)
    fewer = read_schema(render("pixel", CLASSES[:1])).pixel_image
    assert fewer is not None
    found = reader.read(project, fewer)
    assert sent == [6, 6]
    assert {pixel.label for image in found.images for pixel in image.labels.pixels} <= set(CLASSES[:1])


def test_drawn_masks_come_back_as_they_were(
    fake: FakeLabelStudio,
    studio: Studio,
    project: int,
    target: ImageSchema,
    pixel_project: tuple[int, list[int]],
) -> None:
    mask = np.zeros((HEIGHT, WIDTH), dtype=bool)
    mask[3:20, 5:40] = True
    drawn = [
        {**region, "origin": "manual"} for region in mask_regions(mask, target, CLASSES[0], region_id="m")
    ]
    fake.annotate(pixel_project[1][0], drawn, user=2)
    reader = AnnotatedTasks(studio, 256)
    first = reader.read(project, target)
    dense = first.images[0].labels.dense
    assert dense is not None
    assert (dense == 0).sum() == mask.sum()
    assert said(reader.read(project, target)) == said(first)


def annotate_again(fake: FakeLabelStudio, tasks: list[int]) -> None:
    fake.annotate(tasks[0], answers(2))


def change(fake: FakeLabelStudio, tasks: list[int]) -> None:
    (own,) = (a for a in fake.annotations.values() if a["task"] == tasks[1])
    own["result"], own["updated_at"] = answers(3), "2099-01-01T00:00:00.000001Z"


def delete_annotations(fake: FakeLabelStudio, tasks: list[int]) -> None:
    for number in [a["id"] for a in fake.annotations.values() if a["task"] == tasks[2]]:
        del fake.annotations[number]


def delete_task(fake: FakeLabelStudio, tasks: list[int]) -> None:
    delete_annotations(fake, tasks)
    del fake.tasks[tasks[2]]


def cancel(fake: FakeLabelStudio, tasks: list[int]) -> None:
    (own,) = (a for a in fake.annotations.values() if a["task"] == tasks[1])
    own["was_cancelled"] = True


def swap(fake: FakeLabelStudio, tasks: list[int]) -> None:
    """As many annotated tasks as before, other ones."""
    delete_annotations(fake, tasks)
    fake.annotate(fake.add_task(fake.tasks[tasks[0]]["project"], {"image": "/new.png"}), answers(1))


@pytest.mark.parametrize("event", [annotate_again, change, delete_annotations, delete_task, cancel, swap])
def test_every_change_is_seen(
    event: Callable[[FakeLabelStudio, list[int]], None],
    fake: FakeLabelStudio,
    studio: Studio,
    project: int,
    target: ImageSchema,
    pixel_project: tuple[int, list[int]],
) -> None:
    reader = AnnotatedTasks(studio, 256)
    before = said(reader.read(project, target))
    event(fake, pixel_project[1])
    after = said(reader.read(project, target))
    assert after == said(AnnotatedTasks(studio, 256).read(project, target))
    assert after != before


def test_a_reading_names_the_tasks_that_differ_from_the_one_before(
    fake: FakeLabelStudio,
    studio: Studio,
    project: int,
    target: ImageSchema,
    pixel_project: tuple[int, list[int]],
) -> None:
    tasks = pixel_project[1]
    reader = AnnotatedTasks(studio, 256)
    first = reader.read(project, target).reading
    assert first.before is None
    annotate_again(fake, tasks)
    second = reader.read(project, target).reading
    assert second.before == first.mark
    assert second.changed == {tasks[0], tasks[-1]}
    delete_annotations(fake, tasks)
    assert reader.read(project, target).reading.before is None, "only a whole reading tells which have gone"


def test_what_is_too_much_to_keep_is_read_each_time(
    studio: Studio, project: int, target: ImageSchema, sent: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    reader = AnnotatedTasks(studio, 0)
    assert said(reader.read(project, target)) == said(reader.read(project, target))
    assert sent == [6, 6]
    assert "takes 1 MB" in caplog.text
    assert "CLICKPICK_ANNOTATED_MB" in caplog.text


def test_all_is_read_again_after_a_while(
    fake: FakeLabelStudio,
    studio: Studio,
    project: int,
    target: ImageSchema,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reader = AnnotatedTasks(studio, 256)
    reader.read(project, target)
    (first, *_) = fake.annotations.values()
    first["result"] = answers(9)  # and its time is as before
    now = said(AnnotatedTasks(studio, 256).read(project, target))
    assert said(reader.read(project, target)) != now
    monkeypatch.setattr(annotated.time, "monotonic", lambda: 1e12)
    assert said(reader.read(project, target)) == now


@pytest.mark.parametrize(("took", "believed"), [(1.0, 600.0), (100.0, 1000.0)])
def test_a_reading_that_took_long_is_believed_longer(
    studio: Studio,
    project: int,
    target: ImageSchema,
    sent: list[int],
    monkeypatch: pytest.MonkeyPatch,
    took: float,
    believed: float,
) -> None:
    clock = [0.0]
    real = studio.iter_annotated

    def slow(number: int, *, since: datetime | None = None) -> Iterator[dict[str, Any]]:
        clock[0] += took if since is None else 0.0
        return real(number, since=since)

    monkeypatch.setattr(studio, "iter_annotated", slow)
    monkeypatch.setattr(annotated.time, "monotonic", lambda: clock[0])
    reader = AnnotatedTasks(studio, 256)
    reader.read(project, target)
    for later in (believed - 1, 2):
        clock[0] += later
        reader.read(project, target)
    assert sent == [6, 1, 6]


def test_a_project_without_annotations_has_none(
    fake: FakeLabelStudio, studio: Studio, project: int, target: ImageSchema
) -> None:
    fake.annotations.clear()
    reader = AnnotatedTasks(studio, 256)
    for _ in range(2):
        found = reader.read(project, target)
        assert (dict(found.complete), dict(found.seconds), found.images) == ({}, {}, [])
