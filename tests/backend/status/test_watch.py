"""What a look at the page sets going, and that it sets it going once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from backend.background import Background
from backend.doctor.finding import Finding
from backend.services import open_images, open_studio
from backend.settings import Settings
from backend.status.watch import Seen, Watch
from label_config import query_regions, read_schema, render
from label_config.pixels import Query
from tests.backend.conftest import CLASSES, HEIGHT, WIDTH
from tests.fakes.label_studio import FakeLabelStudio

pytestmark = pytest.mark.unit


@pytest.fixture
def diagnosed(monkeypatch: pytest.MonkeyPatch) -> list[int | None]:
    """Projects that the doctor was sent to."""
    asked: list[int | None] = []

    def diagnose(_settings: Settings, project: int | None, _url: str) -> list[Finding]:
        asked.append(project)
        return [Finding("a", "warning", "look here")]

    monkeypatch.setattr("backend.doctor.diagnose", diagnose)
    return asked


@pytest.fixture
def watch(settings: Settings, diagnosed: list[int | None]) -> Iterator[Watch]:
    background, studio = Background(), open_studio(settings)
    images = open_images(settings, studio)
    yield Watch(settings, background, studio=lambda: studio, images=lambda: images)
    background.stop()
    images.close()
    studio.close()


def wait_for(watch: Watch, project: int, is_there: Callable[[Seen], object]) -> Seen:
    limit = time.monotonic() + 30
    while not is_there(seen := watch.look(project)):
        assert time.monotonic() < limit, seen
        time.sleep(0.02)
    return seen


def predict(fake: FakeLabelStudio, project: int, task: int, version: str, number: int = 4) -> None:
    (schema,) = read_schema(render("pixel", CLASSES)).images
    result = query_regions([Query(n, n) for n in range(number)], schema, HEIGHT, WIDTH)
    made: dict[str, Any] = {"task": task, "result": result, "score": 0.25, "model_version": version}
    fake._import_predictions(fake.projects[project], [made])


def test_title_tasks_pictures_and_findings(
    watch: Watch, fake: FakeLabelStudio, pixel_project: tuple[int, list[int]], diagnosed: list[int | None]
) -> None:
    project, tasks = pixel_project
    predict(fake, project, tasks[0], "somebody-else")
    predict(fake, project, tasks[1], f"clickpick-{project}-v1-abc123", 7)
    started = time.perf_counter()
    assert watch.look(project) == Seen(), "nothing is waited for"
    assert time.perf_counter() - started < 0.2
    seen = wait_for(watch, project, lambda seen: seen.pictures and seen.checked)
    assert (seen.tasks, seen.annotated, seen.problem) == (6, 0, "")
    (picture,) = seen.pictures
    assert (picture.task, picture.queries, picture.score) == (tasks[1], 7, 0.25)
    content = watch.thumbnail(project, picture.name)
    assert content is not None
    assert content.startswith(b"\xff\xd8")
    assert watch.thumbnail(project + 1, picture.name) is None
    assert watch.thumbnail(project, "../secret") is None
    assert seen.findings == (Finding("a", "warning", "look here"),)
    for _ in range(5):
        watch.look(project)
    assert diagnosed == [project], "once, however often somebody looks"


def test_a_project_that_label_studio_does_not_have_says_so(watch: Watch) -> None:
    seen = wait_for(watch, 99, lambda seen: seen.problem)
    assert "99" in seen.problem
    assert watch.known(99).problem == seen.problem
    assert watch.known(98) == Seen()


def test_many_looks_at_once_read_once(settings: Settings, diagnosed: list[int | None]) -> None:
    background, go, calls = Background(), threading.Event(), []

    def studio() -> Any:
        calls.append(1)
        go.wait(10)
        raise AssertionError("enough")

    watch = Watch(settings, background, studio=studio, images=studio)
    for _ in range(20):
        watch.look(7)
    time.sleep(0.2)
    go.set()
    background.stop()
    assert len(calls) == 1


def test_tasks_that_are_shown_already_are_not_read_again(
    watch: Watch, fake: FakeLabelStudio, pixel_project: tuple[int, list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backend.status.watch.STUDIO_SECONDS", 0.0)
    project, tasks = pixel_project
    first, second = (f"clickpick-{project}-v{number}-abc123" for number in (1, 2))
    for task in tasks:
        predict(fake, project, task, first)
    fake.projects[project]["model_version"] = first

    def reads() -> int:
        return sum(call.path.startswith("/api/tasks/") for call in fake.calls)

    wait_for(watch, project, lambda seen: len(seen.pictures) == 6)
    before, lists = reads(), len(fake.calls)
    wait_for(watch, project, lambda _: len(fake.calls) > lists + 12)
    assert reads() == before
    for task in tasks:
        predict(fake, project, task, second, 5)
    fake.projects[project]["model_version"] = second
    seen = wait_for(watch, project, lambda seen: {one.version for one in seen.pictures} == {second})
    assert {one.queries for one in seen.pictures} == {5}
