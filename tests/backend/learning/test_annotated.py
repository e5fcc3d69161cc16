"""What people have labelled is known after every change, and read in full once."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from backend.learning import annotated
from backend.learning.annotated import AnnotatedTasks
from backend.studio import Studio
from tests.backend.conftest import answers
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
    real = studio.annotated_tasks

    def counted(number: int, *, since: datetime | None = None) -> list[dict[str, Any]]:
        tasks = real(number, since=since)
        counts.append(len(tasks))
        return tasks

    monkeypatch.setattr(studio, "annotated_tasks", counted)
    return counts


def test_all_is_read_once_and_then_what_is_new(studio: Studio, project: int, sent: list[int]) -> None:
    reader = AnnotatedTasks(studio)
    first = reader.read(project)
    assert [task["id"] for task in first] == sorted(task["id"] for task in first)
    assert reader.read(project) == first
    assert sent == [6, 1], "the one of just now again"


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
    pixel_project: tuple[int, list[int]],
) -> None:
    reader = AnnotatedTasks(studio)
    before = reader.read(project)
    event(fake, pixel_project[1])
    after = reader.read(project)
    assert after == studio.annotated_tasks(project)
    assert after != before


def test_what_is_too_much_to_keep_is_read_each_time(
    studio: Studio, project: int, sent: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(annotated, "KEPT_BYTES", 100)
    reader = AnnotatedTasks(studio)
    assert reader.read(project) == reader.read(project)
    assert sent == [6, 6]


def test_all_is_read_again_after_a_while(
    fake: FakeLabelStudio, studio: Studio, project: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = AnnotatedTasks(studio)
    reader.read(project)
    (first, *_) = fake.annotations.values()
    first["result"] = answers(9)  # and its time is as before
    assert reader.read(project) != studio.annotated_tasks(project)
    monkeypatch.setattr(annotated.time, "monotonic", lambda: 1e12)
    assert reader.read(project) == studio.annotated_tasks(project)


def test_a_project_without_annotations_has_none(studio: Studio, pixel_project: tuple[int, list[int]]) -> None:
    reader = AnnotatedTasks(studio)
    assert reader.read(pixel_project[0]) == reader.read(pixel_project[0]) == []
