"""Versions that one machine publishes and another loads, through a storage that both reach."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from backend.doctor.rebuild import projects_to_rebuild, rebuild
from backend.errors import ModelUnavailable, Overtaken, SharedUnavailable
from backend.learning import version_pruning as pruning
from backend.learning.shared_versions import SharedVersions
from backend.learning.versions import Versions
from backend.services import open_studio
from backend.settings import Settings
from backend.shared import SharedStorage
from backend.store import Store, Version
from tests.backend.learning.fake_learners import INSTANT, Behaviour, FakeLearner

pytestmark = pytest.mark.unit


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(Store(f"sqlite:///{tmp_path / 'store.db'}")) as opened:
        opened.remember_project(7, "config")
        yield opened


@pytest.fixture
def storage(tmp_path: Path) -> SharedStorage:
    return SharedStorage(str(tmp_path / "shared"))


@pytest.fixture
def machine(
    store: Store, storage: SharedStorage, tmp_path: Path, learners: object
) -> Callable[..., Versions]:
    """The versions as the process of a machine of that name has them."""
    return lambda name, **more: Versions(store, tmp_path / name, storage=storage, **more)


def publish(
    versions: Versions, right: float = 0.5, meanwhile: Callable[[], object] = lambda: None
) -> Version:
    learner = FakeLearner(INSTANT, Behaviour())
    learner.classes, learner.right = ("sky", "grass"), right

    def fill(folder: Path) -> None:
        (folder / "weights").write_bytes(bytes(10_000))
        meanwhile()

    return versions.publish(7, learner, digest="d" * 64, labels=1, metrics={}, also=fill)


def right(versions: Versions, version: Version) -> float:
    learner = versions.load(version)
    assert isinstance(learner, FakeLearner)
    return learner.right


def test_a_machine_fetches_what_another_has_published_and_keeps_it(
    machine: Callable[..., Versions], storage: SharedStorage, tmp_path: Path
) -> None:
    version = publish(machine("a"), right=0.25)
    assert right(machine("b"), version) == 0.25
    assert {path.name for path in (tmp_path / "b" / "7").iterdir()} == {"1"}, "no drafts"
    storage.remove("versions")
    assert right(machine("b"), version) == 0.25, "from its own folder"
    with pytest.raises(ModelUnavailable, match="its folder is missing"):
        machine("c").load(version)


def test_numbers_go_on_from_what_others_have_uploaded(
    machine: Callable[..., Versions], tmp_path: Path
) -> None:
    publish(machine("a"))
    with closing(Store(f"sqlite:///{tmp_path / 'lost.db'}")) as empty:
        empty.remember_project(7, "config")
        after = Versions(empty, tmp_path / "b", storage=SharedStorage(str(tmp_path / "shared")))
        assert publish(after).number == 2


def test_a_database_row_comes_after_the_upload(
    machine: Callable[..., Versions],
    store: Store,
    storage: SharedStorage,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    first = publish(machine("a"))

    def away(*_: object) -> None:
        raise OSError("no route to the storage")

    with monkeypatch.context() as patched:
        patched.setattr(storage._fs, "put_file", away)
        with pytest.raises(SharedUnavailable, match="no route"):
            publish(machine("a"))
    assert store.live_version(7) == first
    assert [path.name for path in (tmp_path / "a" / "7").iterdir()] == ["1"], "and it is nowhere else either"
    assert publish(machine("a")).number == 3, "2 is claimed"


def test_a_damaged_download_is_an_error_and_not_kept(
    machine: Callable[..., Versions], storage: SharedStorage, tmp_path: Path
) -> None:
    version = publish(machine("a"), right=0.75)
    whole = storage.read("versions/7/1/weights")
    assert whole is not None
    storage.write("versions/7/1/weights", whole[:-1])
    with pytest.raises(ModelUnavailable, match="its file weights is not as it was published"):
        machine("b").load(version)
    assert list((tmp_path / "b" / "7").iterdir()) == []
    storage.write("versions/7/1/weights", whole)
    assert right(machine("b"), version) == 0.75


def test_a_folder_of_the_same_number_that_was_never_recorded_is_not_taken_for_the_version(
    machine: Callable[..., Versions], store: Store, tmp_path: Path
) -> None:
    """A process died between writing its folder and uploading it; another published the version of that number."""
    version = publish(machine("a"), right=0.25)
    store.forget_versions(7, [1])
    stale = publish(Versions(store, tmp_path / "b"), right=0.9)
    assert stale.folder == "7/2"
    (tmp_path / "b" / "7" / "2").rename(tmp_path / "b" / "7" / "1")
    assert right(machine("b"), version) == 0.25


def test_while_the_storage_is_away_nothing_is_taken_for_damaged(
    machine: Callable[..., Versions], storage: SharedStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = publish(machine("a"))

    def away(*_: object, **__: object) -> None:
        raise OSError("no route to the storage")

    monkeypatch.setattr(storage._fs, "find", away)
    with pytest.raises(SharedUnavailable):
        machine("b").load(version)
    assert right(machine("a"), version) == 0.5


def test_pruning_deletes_there_too_and_copies_go_with_the_next_pruning(
    machine: Callable[..., Versions], store: Store, storage: SharedStorage, tmp_path: Path
) -> None:
    a, b = machine("a"), machine("b")
    first = publish(a)
    assert right(b, first) == 0.5
    for _ in range(3):
        publish(a)
    small = machine("a", quota=25_000)
    publish(small)
    left = [version.number for version in store.versions(7)]
    assert left == [5, 4]
    assert sorted(storage.folders("versions/7")) == ["4", "5"]
    assert sorted(path.name for path in (tmp_path / "b" / "7").iterdir()) == ["1"]
    publish(machine("b", quota=25_000))
    assert sorted(path.name for path in (tmp_path / "b" / "7").iterdir()) == ["6"]


def test_pruning_cleans_up_unfinished_uploads_and_nothing_that_is_whole(
    machine: Callable[..., Versions], store: Store, storage: SharedStorage, tmp_path: Path
) -> None:
    publish(machine("a"))
    storage.write("versions/7/8/weights", b"half")
    storage.write("versions/7/9/weights", b"being uploaded")
    old = time.time() - 7200
    os.utime(tmp_path / "shared" / "versions" / "7" / "8" / "weights", (old, old))
    store.forget_versions(7, [1])  # as where the database was lost
    with store._database.write() as db:
        db.exec_driver_sql("DELETE FROM versions")
    pruning.remove(store, tmp_path / "a", 7, [], SharedVersions(storage, tmp_path / "a"))
    assert sorted(storage.folders("versions/7")) == ["1", "9"]
    assert (tmp_path / "a" / "7" / "1").is_dir()


def test_a_lost_database_is_rebuilt_from_the_storage(
    settings: Settings, pixel_project: tuple[int, list[int]], tmp_path: Path, learners: object
) -> None:
    project, _ = pixel_project
    storage = SharedStorage(str(tmp_path / "shared"))
    learner = FakeLearner(INSTANT, Behaviour())
    learner.classes = ("sky", "grass")
    with closing(Store(f"sqlite:///{tmp_path / 'lost.db'}")) as lost:
        lost.remember_project(project, "config")
        versions = Versions(lost, tmp_path / "elsewhere", storage=storage)
        made = [versions.publish(project, learner, digest="d" * 64, labels=n, metrics={}) for n in (1, 2)]
    shared = settings.model_copy(update={"shared": storage.url})
    with closing(Store(shared.store_url)) as store, closing(open_studio(shared)) as studio:
        assert projects_to_rebuild(shared, store) == [project]
        findings = list(rebuild(shared, store, studio, project))
        assert {finding.severity for finding in findings} == {"ok"}
        assert store.versions(project) == made[::-1]
        assert store.live_version(project) == made[1]


def check_overtaken(store: Store, live: Version, learner: float, others: Callable[[], Versions]) -> None:
    """The version of the process that took over is live, and all that is there of it is its own."""
    assert store.live_version(7) == live
    assert right(others(), live) == learner
    assert [version.name for version in store.versions(7)] == [live.name]


def test_who_was_taken_for_dead_before_it_wrote_publishes_nothing(
    machine: Callable[..., Versions], store: Store, storage: SharedStorage, tmp_path: Path
) -> None:
    made: list[Version] = []
    with pytest.raises(Overtaken, match="another process was quicker"):
        publish(machine("a"), 0.1, meanwhile=lambda: made.append(publish(machine("b"), 0.9)))
    check_overtaken(store, made[0], 0.9, lambda: machine("c"))
    assert list((tmp_path / "a" / "7").iterdir()) == []
    assert sorted(storage.folders("versions/7")) == ["2"]


@pytest.mark.parametrize("file", ["state.json", "version.json"])
def test_who_was_taken_for_dead_while_it_uploaded_publishes_nothing(
    machine: Callable[..., Versions],
    store: Store,
    storage: SharedStorage,
    monkeypatch: pytest.MonkeyPatch,
    file: str,
) -> None:
    real, made = storage._fs.put_file, list[Version]()

    def freeze(path: str, target: str) -> None:
        if target.endswith(file):
            monkeypatch.setattr(storage._fs, "put_file", real)
            made.append(publish(machine("b"), 0.9))
        real(path, target)

    monkeypatch.setattr(storage._fs, "put_file", freeze)
    with pytest.raises(Overtaken):
        publish(machine("a"), 0.1)
    check_overtaken(store, made[0], 0.9, lambda: machine("c"))


def test_who_was_taken_for_dead_on_one_data_folder_overwrites_nothing(
    store: Store, tmp_path: Path, learners: object
) -> None:
    def one() -> Versions:
        return Versions(store, tmp_path / "data")

    made: list[Version] = []
    with pytest.raises(Overtaken, match="another process has written version 1"):
        publish(one(), 0.1, meanwhile=lambda: made.append(publish(one(), 0.9)))
    check_overtaken(store, made[0], 0.9, one)
    assert [path.name for path in (tmp_path / "data" / "7").iterdir()] == ["1"], "no draft"


def test_of_two_that_claim_a_number_at_once_one_sees_it(
    storage: SharedStorage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Both have looked which numbers are taken before either writes; the second writes before the first looks again."""
    first, second = (SharedVersions(storage, tmp_path / name) for name in "ab")
    real = storage.names

    def late(name: str) -> list[str]:
        monkeypatch.setattr(storage, "names", real)
        with pytest.raises(Overtaken, match="publishes version 1 of project 7"):
            second.claim(7, 1)
        return real(name)

    with monkeypatch.context() as patched:
        patched.setattr(storage, "folders", lambda _: {})
        patched.setattr(storage, "names", late)
        assert first.claim(7, 1) == 1
    assert second.claim(7, 1) == 2


def test_a_folder_there_that_holds_another_version_is_not_loaded(
    machine: Callable[..., Versions], tmp_path: Path
) -> None:
    live, other = publish(machine("a"), 0.1), publish(machine("a"), 0.9)
    place = tmp_path / "shared" / "versions"
    (place / live.folder).rename(place / "gone")
    (place / other.folder).rename(place / live.folder)
    with pytest.raises(ModelUnavailable, match="holds another version"):
        machine("b").load(live)
    assert list((tmp_path / "b" / "7").iterdir()) == []


def test_containers_with_one_data_folder_and_one_process_number_fetch_at_once(
    machine: Callable[..., Versions], storage: SharedStorage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    version = publish(machine("a"), right=0.25)
    real, fetched = storage._fs.get_file, []

    def get_file(path: str, target: str) -> None:
        fetched.append(path)
        if len(fetched) == 2:  # one has fetched half of it
            assert right(machine("b"), version) == 0.25
        real(path, target)

    monkeypatch.setattr(storage._fs, "get_file", get_file)
    assert right(machine("b"), version) == 0.25
    assert [path.name for path in (tmp_path / "b" / "7").iterdir()] == ["1"]


def test_a_storage_that_is_away_holds_up_one_opening_and_not_the_next(
    machine: Callable[..., Versions], storage: SharedStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = publish(machine("a"), right=0.25)
    asked: list[str] = []

    def away(path: str, **_: object) -> None:
        asked.append(path)
        raise OSError("no route to the storage")

    b = machine("b")
    with monkeypatch.context() as patched:
        patched.setattr(storage._fs, "find", away)
        for _ in range(2):
            with pytest.raises(SharedUnavailable):
                b.fetch(version)
    assert len(asked) == 1
    with pytest.raises(SharedUnavailable, match="is asked for clickpick-7-v1-dddddd again soon"):
        b.load(version)
    monkeypatch.setattr(b._shared, "_away_until", 0.0)
    assert right(b, version) == 0.25
