"""``clickpick review`` as people type it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from backend.settings import Settings
from label_config import render
from tests.backend.conftest import CLASSES, HEIGHT, answer, jpeg
from tests.fakes.label_studio import FakeLabelStudio

pytestmark = pytest.mark.integration

TITLE = "ClickPick: review"
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(settings: Settings) -> Run:
    def execute(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        values = {
            **os.environ,
            "LABEL_STUDIO_URL": settings.label_studio_url,
            "LABEL_STUDIO_API_KEY": settings.token,
            "CLICKPICK_DATA": str(settings.data),
            "COLUMNS": "160",
            **environment,
        }
        command = [sys.executable, "-m", "backend.cli", "review", *arguments]
        return subprocess.run(command, env=values, capture_output=True, text=True, timeout=240, check=False)

    return execute


@pytest.fixture
def labelled(fake: FakeLabelStudio) -> tuple[int, list[int]]:
    """(project, its six tasks); all labels are right and clear of the horizon."""
    project = fake.add_project(render("pixel", CLASSES))
    tasks = [fake.upload(project, f"photo-{n}.jpg", jpeg(n)) for n in range(6)]
    for task in tasks:
        sky = [answer(2 + 3 * n, 7 + 9 * n, "sky", n) for n in range(5)]
        grass = [answer(HEIGHT - 3 - 3 * n, 9 + 9 * n, "grass", 9 + n) for n in range(5)]
        fake.annotate(task, [*sky, *grass, answer(HEIGHT // 2, 3, "void", 99)])
    return project, tasks


def shown(fake: FakeLabelStudio, project: int) -> list[int] | None:
    """Tasks of the view; None where there is none."""
    views = [view for view in fake.views.values() if view["data"]["title"] == TITLE]
    if not views:
        return None
    (view,) = views
    listed = fake._list_tasks({"project": str(project), "view": str(view["id"])})
    return [task["id"] for task in listed["tasks"]]


@pytest.mark.timeout(900)
def test_one_view_follows_what_is_suspicious(
    run: Run, fake: FakeLabelStudio, labelled: tuple[int, list[int]], tmp_path: Path
) -> None:
    project, tasks = labelled
    clean = run("--project", str(project))
    assert clean.returncode == 0, clean.stderr
    assert "60 labels judged, 0 to review" in clean.stdout
    assert "nothing is suspicious" in clean.stdout
    assert shown(fake, project) is None

    wrong = fake.annotate(tasks[2], [answer(5, 40, "grass", 50)], user=2)
    split = fake.annotate(tasks[4], [answer(2, 7, "grass", 51)], user=2)
    report = tmp_path / "review.json"
    found = run("--project", str(project), "--json", str(report))
    assert found.returncode == 0, found.stderr
    assert shown(fake, project) == [tasks[2], tasks[4]]
    content = json.loads(report.read_text(encoding="utf-8"))
    assert [
        (s["task_id"], s["row"], s["col"], s["kind"]) for s in content["suspects"] if s["kind"] == "pixel"
    ] == [(tasks[2], 5, 40, "pixel")]
    assert [(s["task_id"], s["row"], s["col"]) for s in content["suspects"] if s["kind"] == "tie"] == [
        (tasks[4], 2, 7)
    ]
    assert "row 5, col 40" in found.stdout
    assert "(annotators disagree)" in found.stdout
    assert f"/projects/{project}/data?tab={content['view']}" in found.stdout

    del fake.annotations[split]
    again = run("--project", str(project), "--limit", "1")
    assert shown(fake, project) == [tasks[2]], again.stderr
    del fake.annotations[wrong]
    assert run("--project", str(project)).returncode == 0
    assert shown(fake, project) is None
    assert [view["data"]["title"] for view in fake.views.values()] == ["Default"]


def test_remove_deletes_the_view_alone(
    run: Run, fake: FakeLabelStudio, labelled: tuple[int, list[int]]
) -> None:
    project, _ = labelled
    for number, title in ((900, TITLE), (901, "Mine")):
        fake.views[number] = {"id": number, "project": project, "data": {"title": title}}
    removed = run("--project", str(project), "--remove")
    assert removed.returncode == 0, removed.stderr
    assert "removed" in removed.stdout
    assert set(fake.views) == {901}
    assert "there is none" in run("--project", str(project), "--remove").stdout


def test_too_few_labels_are_said_and_no_failure(
    run: Run, fake: FakeLabelStudio, pixel_project: tuple[int, list[int]]
) -> None:
    project, tasks = pixel_project
    fake.annotate(tasks[0], [answer(2, 2, "sky")])
    done = run("--project", str(project))
    assert done.returncode == 0, done.stderr
    assert "too few labels" in done.stdout
    assert "1 of sky" in done.stdout
    assert fake.views == {}


@pytest.mark.parametrize(
    ("arguments", "environment", "code", "words"),
    [
        (["--project", "99"], {}, 1, "99"),
        (["--project", "99", "--remove"], {}, 1, "99"),
        (["--project", "1"], {"LABEL_STUDIO_API_KEY": ""}, 1, "LABEL_STUDIO_API_KEY"),
        (["--project", "1"], {"LABEL_STUDIO_URL": "http://127.0.0.1:9"}, 1, "127.0.0.1:9"),
        (["--project", "1", "--json", "/nowhere/x.json"], {}, 2, "/nowhere"),
        (["--project", "1", "--confidence", "0.3"], {}, 2, "--confidence"),
        (["--project", "CLICKS"], {}, 1, "query control"),
    ],
)
def test_failures_are_one_clear_line(
    run: Run, fake: FakeLabelStudio, settings: Settings, arguments: list[str], environment: dict[str, str],
    code: int, words: str,
) -> None:  # fmt: skip
    clicks = fake.add_project(render("click", CLASSES))
    done = run(*(str(clicks) if a == "CLICKS" else a for a in arguments), **environment)
    assert done.returncode == code, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert settings.token not in done.stdout + done.stderr
    assert fake.views == {}
