"""A disk without room puts rounds off; once there is room they go on by themselves, and nothing is lost."""

from __future__ import annotations

import errno
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from safetensors import SafetensorError

from backend.engines import worker as module
from backend.engines.worker import DISK_FULL, Worker
from backend.errors import is_disk_full
from backend.settings import Settings
from tests.backend.conftest import answers
from tests.fakes.label_studio import FakeLabelStudio

pytestmark = pytest.mark.integration


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount")
    command = [mount or "mount", "-t", "tmpfs", "-o", "size=24m", "none", str(folder)]
    if mount is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a file system")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(file: Path) -> None:
    with file.open("wb", buffering=0) as stream:

        def write_on() -> None:
            while True:
                stream.write(bytes(1 << 12))

        with pytest.raises(OSError, match="No space left"):
            write_on()


def test_a_round_waits_for_room(
    small_disk: Path,
    fake: FakeLabelStudio,
    pixel_project: tuple[int, list[int]],
    make_settings: Callable[..., Settings],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    project, tasks = pixel_project
    monkeypatch.setattr(module, "LONGEST_PAUSE", 0.0)
    # the tables elsewhere: what a full disk does to them is the store's test
    settings = make_settings(data=small_disk, database_url=f"sqlite:///{tmp_path / 'tables.db'}")
    working = Worker(settings)
    for task in tasks[:3]:
        fake.annotate(task, answers(task))
    fill(small_disk / "ballast")
    working._store.rounds.request(project, "labels")
    put_off = working.run_one()
    assert put_off is not None
    assert (put_off.state, put_off.message) == ("queued", DISK_FULL)
    assert working._store.live_version(project) is None
    assert len(working._store.labels(project)) == len(working._store.labels(project, tasks[0])) * 3 > 0
    (small_disk / "ballast").unlink()
    done = working.run_one()
    assert done is not None
    assert done.state == "done", done.message
    live = working._store.live_version(project)
    assert live is not None
    assert {p["model_version"] for p in fake.predictions.values()} == {live.name}
    assert [path.name for path in (small_disk / "versions").rglob(".*")] == [], "no draft is left"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError(errno.ENOSPC, "x"), True),
        (OSError(errno.EDQUOT, "x"), True),
        (OSError(errno.EACCES, "No space left on device"), False),
        (SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"), True),
        (ValueError("no"), False),
    ],
)
def test_how_a_full_disk_is_known(error: Exception, expected: bool) -> None:
    assert is_disk_full(error) is expected
