"""The commands as people type them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence

import pytest

from backend.settings import Settings
from backend.store import Store
from label_config import render
from tests.backend.conftest import CLASSES, answers
from tests.fakes.label_studio import FakeLabelStudio

pytestmark = pytest.mark.integration

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(settings: Settings) -> Run:
    def execute(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        values = {
            **os.environ,
            "LABEL_STUDIO_URL": settings.label_studio_url,
            "LABEL_STUDIO_API_KEY": settings.token,
            "CLICKPICK_DATA": str(settings.data),
            "COLUMNS": "200",
            **environment,
        }
        command: Sequence[str] = [sys.executable, "-m", "backend.cli", *arguments]
        return subprocess.run(command, env=values, capture_output=True, text=True, timeout=240, check=False)

    return execute


def test_models_lists_what_there_is(run: Run) -> None:
    done = run("models")
    assert done.returncode == 0, done.stderr
    for name in ("clicknet", "gp-lite0", "grabcut", "random-walker", "probe-lite0"):
        assert name in done.stdout
    some = run("models", "gp*").stdout
    assert "grabcut" not in some
    (untrained,) = [line for line in some.splitlines() if "gpcis-resnet50 " in line.split("needs weights")[0]]
    assert "needs weights" in untrained, "ClickPick ships none"
    assert "at hand" not in untrained


def test_connect_says_what_it_changed_once_and_remove_undoes_it(run: Run, fake: FakeLabelStudio) -> None:
    project = fake.add_project(render("pixel", CLASSES))
    first = run("connect", "--project", str(project))
    assert first.returncode == 0, first.stderr
    assert [backend["url"] for backend in fake.backends.values()] == ["http://127.0.0.1:9090"]
    assert "Uncertainty sampling" in first.stdout
    assert "Every other annotator" in first.stdout
    second = run("connect", "--project", str(project))
    assert "nothing to change" in second.stdout
    assert len(fake.backends) == 1
    removed = run("connect", "--project", str(project), "--remove")
    assert removed.returncode == 0, removed.stderr
    assert fake.backends == {}
    assert fake.hooks == {}


def test_round_runs_here_when_no_server_does(
    run: Run, fake: FakeLabelStudio, settings: Settings, pixel_project: tuple[int, list[int]]
) -> None:
    project, tasks = pixel_project
    for task in tasks[:3]:
        fake.annotate(task, answers(task))
    done = run("round", "--project", str(project))
    assert done.returncode == 0, done.stderr
    assert f"published clickpick-{project}-v1" in done.stdout
    store = Store(settings.store_url)
    try:
        assert store.live_version(project) is not None
    finally:
        store.close()


def test_doctor_reports_and_fails_when_the_backend_is_down(run: Run, fake: FakeLabelStudio) -> None:
    project = fake.add_project(render("pixel", CLASSES))
    done = run("doctor", "--project", str(project), "--url", "http://127.0.0.1:9")
    assert done.returncode == 1
    assert "error" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("arguments", "environment", "words"),
    [
        (["round", "--project", "99"], {}, "99"),
        (["connect", "--project", "99"], {}, "99"),
        (["round", "--project", "1"], {"LABEL_STUDIO_API_KEY": ""}, "LABEL_STUDIO_API_KEY"),
        (["round", "--project", "1"], {"LABEL_STUDIO_URL": "http://127.0.0.1:9"}, "127.0.0.1:9"),
        (["serve"], {"CLICKPICK_PORT": "x"}, "port"),
        (["serve", "--engine", "remote"], {}, "engine"),
        (["serve", "--ray-address", "ray://head:10001"], {}, "ray_address"),
        (["serve"], {"CLICKPICK_RAY_MIN_REPLICAS": "9"}, "not below the minimum"),
        (["demo", "--label-studio", "/nowhere/label-studio", "--home", "HOME"], {}, "/nowhere/label-studio"),
    ],
)
def test_failures_are_one_clear_line(
    run: Run, settings: Settings, arguments: list[str], environment: dict[str, str], words: str
) -> None:
    arguments = [str(settings.data / "home") if a == "HOME" else a for a in arguments]
    done = run(*arguments, **environment)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ") or "\nerror: " in done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert settings.token not in done.stderr
