"""``clickpick backup`` while the server works, and what comes out of it on another machine."""

from __future__ import annotations

import subprocess
import tarfile
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from backend.commands import backup
from backend.errors import ConfigProblem
from backend.settings import Settings
from backend.store import Store
from backend.stored_labels import StoredLabel
from tests.backend.conftest import answers
from tests.backend.learning.loop import Loop
from tests.fakes.label_studio import FakeLabelStudio

pytestmark = pytest.mark.unit


@pytest.fixture
def environment(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """What the command reads its settings from."""
    monkeypatch.setenv("CLICKPICK_DATA", str(settings.data))
    monkeypatch.setenv("LABEL_STUDIO_URL", settings.label_studio_url)
    return settings


def restore(file: Path, folder: Path) -> None:
    """As docs/operations.md says."""
    folder.mkdir()
    subprocess.run(["tar", "-xf", file, "-C", folder], check=True)


def test_a_restored_backup_goes_on_where_it_was(
    environment: Settings,
    make_settings: Callable[..., Settings],
    fake: FakeLabelStudio,
    pixel_project: tuple[int, list[int]],
    tmp_path: Path,
) -> None:
    project, tasks = pixel_project
    fake.annotate(tasks[0], answers(1))
    with closing(Loop(environment)) as loop:
        loop.run(project)
        backup.backup(tmp_path / "saved.tar")
        live, labels = loop.store.live_version(project), loop.store.labels(project)
    restore(tmp_path / "saved.tar", tmp_path / "restored")
    pushed = set(fake.predictions)
    with closing(Loop(make_settings(data=tmp_path / "restored"))) as after:
        outcome = after.run(project)
        assert after.store.live_version(project) == live
        assert after.store.labels(project) == labels
    assert "labels unchanged" in outcome.message, "the version was loaded, and nothing was fitted"
    assert set(fake.predictions) == pushed


def test_the_database_is_of_one_moment_while_others_write(environment: Settings, tmp_path: Path) -> None:
    stop = threading.Event()
    with closing(Store(environment.store_url)) as store:
        store.remember_project(1, "a")
        store.replace_labels(1, [StoredLabel(1, 0, row, 0, "0") for row in range(200)])

        def write() -> None:
            turn = 0
            while not stop.is_set():
                turn += 1
                store.replace_labels(1, [StoredLabel(1, 0, row, 0, str(turn)) for row in range(200)])

        writer = threading.Thread(target=write)
        writer.start()
        try:
            for number in range(5):
                backup.backup(tmp_path / f"{number}.tar")
        finally:
            stop.set()
            writer.join()
    for number in range(5):
        restore(tmp_path / f"{number}.tar", tmp_path / str(number))
        with closing(Store(f"sqlite:///{tmp_path / str(number) / 'clickpick.db'}")) as copy:
            found = copy.labels(1)
            assert len(found) == 200
            assert len({label.label for label in found}) == 1


def test_unfinished_versions_and_caches_are_left_out(environment: Settings, tmp_path: Path) -> None:
    for name in ("versions/1/.2.99/weights", "versions/1/1/weights", "features/a", "candidates/1/5/weights"):
        path = environment.data / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    Store(environment.store_url).close()
    backup.backup(tmp_path / "saved.tar")
    with tarfile.open(tmp_path / "saved.tar") as archive:
        assert archive.getnames() == ["clickpick.db", "versions/1/1/weights"]
    assert (tmp_path / "saved.tar").stat().st_mode & 0o077 == 0


def test_nothing_is_overwritten_and_nothing_half_stays(environment: Settings, tmp_path: Path) -> None:
    (tmp_path / "saved.tar").write_text("mine")
    with pytest.raises(ConfigProblem, match="exists already"):
        backup.backup(tmp_path / "saved.tar")
    assert (tmp_path / "saved.tar").read_text() == "mine"


def test_a_backup_without_the_live_version_is_none(
    environment: Settings, fake: FakeLabelStudio, pixel_project: tuple[int, list[int]], tmp_path: Path
) -> None:
    project, tasks = pixel_project
    fake.annotate(tasks[0], answers(1))
    with closing(Loop(environment)) as loop:
        loop.run(project)
    folder = environment.versions_folder / str(project)
    (folder / "1").rename(folder / ".1.pruned")
    with pytest.raises(backup.BackupIncomplete, match=f"{project}/1"):
        backup.backup(tmp_path / "saved.tar")
    assert not list(tmp_path.glob("saved.tar*"))


def test_of_postgresql_only_the_versions_are_saved_and_that_is_said(
    environment: Settings,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("CLICKPICK_DATABASE_URL", "postgresql://host/db")
    monkeypatch.setattr(backup, "OUT", backup.Console(width=200))
    backup.backup(tmp_path / "saved.tar")
    assert "pg_dump" in capsys.readouterr().out
