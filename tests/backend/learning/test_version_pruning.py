"""Old versions go, the live one and what else is needed stay."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from backend.learning import version_pruning as pruning
from backend.learning.versions import Versions
from backend.store import Store, Version
from tests.backend.learning.fake_learners import Behaviour, FakeLearner

pytestmark = pytest.mark.unit

KILOBYTES = 10


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(Store(f"sqlite:///{tmp_path / 'store.db'}")) as opened:
        opened.remember_project(7, "config")
        yield opened


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "versions"


def publish(versions: Versions, *, live: bool = True, kind: str = "instant") -> Version:
    """A version of about KILOBYTES."""
    learner = FakeLearner("fake-instant", Behaviour())
    learner.classes = ("sky", "grass")

    def fill(folder: Path) -> None:
        (folder / "weights").write_bytes(bytes(1024 * KILOBYTES))

    return versions.publish(
        7, learner, digest="d" * 64, labels=1, metrics={"kind": kind}, live=live, also=fill
    )


def numbers(store: Store, root: Path) -> list[int]:
    """Of the versions; folders and rows say the same."""
    rows = [version.number for version in store.versions(7)]
    assert sorted(int(folder.name) for folder in (root / "7").iterdir()) == sorted(rows)
    return rows


def test_the_newest_are_kept_and_the_live_one_however_old(store: Store, root: Path) -> None:
    versions = Versions(store, root)
    publish(versions)
    for _ in range(4):
        publish(versions, live=False)
    gone = pruning.remove(store, root, 7, pruning.beyond_newest(store, 7, 2))
    assert [version.number for version in gone] == [2, 3]
    assert numbers(store, root) == [5, 4, 1]
    live = store.live_version(7)
    assert live is not None
    assert live.number == 1


def test_what_the_deep_learner_goes_on_from_and_what_is_wanted_back_stay(store: Store, root: Path) -> None:
    versions = Versions(store, root)
    for kind in ("deep", "deep", "instant", "instant", "instant"):
        publish(versions, kind=kind)
    store.want_version(7, 3)
    pruning.remove(store, root, 7, pruning.beyond_newest(store, 7, 1))
    assert numbers(store, root) == [5, 3, 2]


def test_the_quota_holds_after_each_publication(store: Store, root: Path) -> None:
    versions = Versions(store, root, quota=3 * 1024 * (KILOBYTES + 2))
    for _ in range(6):
        publish(versions)
    assert numbers(store, root) == [6, 5, 4]
    small = Versions(store, root, quota=1)
    assert publish(small).number == 7
    assert numbers(store, root) == [7]


def test_a_version_that_has_become_live_meanwhile_stays(store: Store, root: Path) -> None:
    versions = Versions(store, root)
    chosen = [publish(versions), publish(versions)]
    assert [version.number for version in pruning.remove(store, root, 7, chosen)] == [1]
    assert numbers(store, root) == [2]


def test_only_drafts_that_nobody_writes_any_more_are_removed(store: Store, root: Path) -> None:
    publish(Versions(store, root))
    old, new = root / "7" / ".5.123", root / "7" / ".6.124"
    for draft in (old, new):
        draft.mkdir()
    os.utime(old, (time.time() - 2 * pruning.DRAFT_SECONDS,) * 2)
    pruning.remove(store, root, 7, [])
    assert not old.exists()
    assert new.exists()
