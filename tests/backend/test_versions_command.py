"""``clickpick versions`` as people type it, and the doctor that rebuilds."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from backend.commands import versions
from backend.errors import ConfigProblem
from backend.learning.shared_versions import SharedVersions
from backend.settings import Settings
from backend.shared import SharedStorage
from backend.store import Store
from tests.backend.conftest import answers
from tests.backend.learning.loop import Loop
from tests.fakes.label_studio import FakeLabelStudio

pytestmark = pytest.mark.integration

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(settings: Settings) -> Run:
    def execute(*arguments: str) -> subprocess.CompletedProcess[str]:
        values = {
            **os.environ,
            "LABEL_STUDIO_URL": settings.label_studio_url,
            "LABEL_STUDIO_API_KEY": settings.token,
            "CLICKPICK_DATA": str(settings.data),
            "CLICKPICK_INITIAL": "random",
            "COLUMNS": "240",
        }
        command = [sys.executable, "-m", "backend.cli", *arguments]
        return subprocess.run(command, env=values, capture_output=True, text=True, timeout=240, check=False)

    return execute


@pytest.fixture
def project(settings: Settings, fake: FakeLabelStudio, pixel_project: tuple[int, list[int]]) -> int:
    """With versions 1 and 2."""
    number, tasks = pixel_project
    with closing(Loop(settings)) as loop:
        for task in tasks[:2]:
            fake.annotate(task, answers(task))
            loop.run(number)
    return number


def test_from_the_list_back_to_the_first_version_and_on(
    run: Run, project: int, settings: Settings, fake: FakeLabelStudio
) -> None:
    of = ("--project", str(project))
    listed = run("versions", "list", *of)
    assert listed.returncode == 0, listed.stderr
    newest, oldest = [line for line in listed.stdout.splitlines() if "clickpick-" in line]
    assert "live" in newest
    assert "live" not in oldest

    back = run("versions", "rollback", "1", *of)
    assert back.returncode == 0, back.stderr
    assert f"rolled back to clickpick-{project}-v1-" in back.stdout
    rows = json.loads(run("versions", "list", *of, "--json").stdout)
    assert [(row["number"], row["live"]) for row in rows] == [(3, True), (2, False), (1, False)]
    assert all(row["bytes"] > 1000 and row["problem"] == "" for row in rows)
    assert fake.projects[project]["model_version"] == rows[0]["name"]

    shown = run("versions", "show", *of).stdout
    assert f"metrics.rollback_of      clickpick-{project}-v1-" in shown
    assert "metrics.held_out_miou    -" in shown

    pruned = run("versions", "prune", "--keep", "1", *of)
    assert "2 versions deleted" in pruned.stdout, pruned.stderr
    assert [path.name for path in (settings.versions_folder / str(project)).iterdir()] == ["3"]


def test_what_cannot_be_rolled_back_to_is_said_at_once(
    project: int, settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CLICKPICK_DATA", str(settings.data))
    monkeypatch.setattr(versions, "OUT", Console(width=240))
    with pytest.raises(ConfigProblem, match="no version 9; there are: 2, 1"):
        versions.rollback(9, project=project)
    with pytest.raises(ConfigProblem, match="live already"):
        versions.rollback(2, project=project)
    (settings.versions_folder / str(project) / "1" / "version.json").write_text("{")
    with pytest.raises(ConfigProblem, match=r"version\.json is missing or cannot be read; choose another"):
        versions.rollback(1, project=project)
    versions.list_(project)
    assert "damaged: its card" in capsys.readouterr().out
    versions.prune(project)
    assert "0 versions deleted" in capsys.readouterr().out
    monkeypatch.setenv("CLICKPICK_VERSIONS_MB", "1")
    weights = settings.versions_folder / str(project) / "1" / "more"
    weights.write_bytes(bytes(2 << 20))
    versions.prune(project)
    assert "1 versions deleted, 2." in capsys.readouterr().out
    assert not weights.exists()


def test_the_doctor_rebuilds_a_lost_database(run: Run, project: int, settings: Settings) -> None:
    with closing(Store(settings.store_url)) as store:
        live, labels = store.live_version(project), store.labels(project)
    for file in settings.data.glob("clickpick.db*"):
        file.unlink()
    done = run("doctor", "--rebuild")
    assert done.returncode == 0, done.stderr
    assert "2 versions added" in done.stdout
    with closing(Store(settings.store_url)) as store:
        assert store.live_version(project) == live
        assert store.labels(project) == labels


def test_versions_that_lie_on_the_shared_storage_alone(
    project: int, settings: Settings, tmp_path: Path
) -> None:
    shutil.copytree(settings.versions_folder, tmp_path / "shared" / "versions")
    shutil.rmtree(settings.versions_folder / str(project) / "1")
    storage = SharedStorage(str(tmp_path / "shared"))
    here = versions._Opened(
        settings, Store(settings.store_url), project, SharedVersions(storage, settings.versions_folder)
    )
    with closing(here.store):
        rows = here.as_json(here.store.versions(project))
        assert [(row["problem"], row["bytes"] > 1000) for row in rows] == [("", True), ("", True)]
        without = replace(here, shared=None)
        assert [row["problem"] for row in without.as_json(here.store.versions(project))] == [
            "",
            "its folder is missing",
        ]
