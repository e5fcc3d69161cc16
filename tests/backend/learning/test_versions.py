"""Versions are whole or absent, and a process killed while writing one leaves the previous one live."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backend.errors import ModelUnavailable
from backend.learning.version_card import DamagedVersion, read_card
from backend.learning.versions import Versions, is_ours, version_name
from backend.store import Store, Version
from model_zoo.learners.base import LabelledImage, Learner
from model_zoo.registry import create_learner

pytestmark = pytest.mark.unit

DIGEST = "0123456789abcdef"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(Store(f"sqlite:///{tmp_path / 'store.db'}")) as opened:
        opened.remember_project(7, "config")
        yield opened


@pytest.fixture(scope="module")
def learner() -> Learner:
    image = np.zeros((32, 32, 3), dtype=np.uint8)
    image[:16] = (60, 120, 220)
    index = np.arange(8, dtype=np.int64) * 4
    labelled = LabelledImage("key", lambda: image, index, index, (index >= 16).astype(np.int64))
    fitted = create_learner("probe-lite0")
    fitted.fit([labelled], ("sky", "grass"))
    return fitted


def publish(versions: Versions, learner: Learner) -> Version:
    return versions.publish(7, learner, digest=DIGEST, labels=8, metrics={"held_out_miou": None})


def test_a_published_version_is_live_whole_and_loads_elsewhere(
    store: Store, learner: Learner, tmp_path: Path
) -> None:
    version = publish(Versions(store, tmp_path / "versions"), learner)
    assert version.name == "clickpick-7-v1-012345"
    assert store.live_version(7) == version
    facts = json.loads((tmp_path / "versions" / "7" / "1" / "version.json").read_text())
    assert facts["name"] == version.name
    assert facts["classes"] == ["sky", "grass"]
    loaded = Versions(store, tmp_path / "versions").load(version)
    image = np.full((20, 30, 3), 128, dtype=np.uint8)
    np.testing.assert_allclose(loaded.predict_proba(image), learner.predict_proba(image), atol=1e-5)


def test_versions_count_up_and_old_ones_stay(store: Store, learner: Learner, tmp_path: Path) -> None:
    versions = Versions(store, tmp_path / "versions")
    assert [publish(versions, learner).number for _ in range(3)] == [1, 2, 3]
    assert sorted(p.name for p in (tmp_path / "versions" / "7").iterdir()) == ["1", "2", "3"]


def test_dying_before_the_pointer_moves_leaves_the_previous_version_live(
    store: Store, learner: Learner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions = Versions(store, tmp_path / "versions")
    first = publish(versions, learner)

    def die(_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(store, "publish", die)
    with pytest.raises(KeyboardInterrupt):
        publish(versions, learner)
    monkeypatch.undo()
    assert store.live_version(7) == first
    second = publish(versions, learner)
    assert second.number == 3, "what the dead process left is no version, and is left alone"
    assert Versions(store, tmp_path / "versions").load(second).classes == ("sky", "grass")


def test_dying_while_writing_leaves_no_half_version(
    store: Store, learner: Learner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(_: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(learner, "save", die)
    with pytest.raises(KeyboardInterrupt):
        publish(Versions(store, tmp_path / "versions"), learner)
    assert not (tmp_path / "versions" / "7" / "1").exists()
    assert store.live_version(7) is None


@pytest.mark.parametrize("damage", ["delete", "truncate", "garbage"])
def test_a_damaged_version_is_a_clear_error(
    store: Store, learner: Learner, tmp_path: Path, damage: str
) -> None:
    version = publish(Versions(store, tmp_path / "versions"), learner)
    for path in (tmp_path / "versions" / "7" / "1").glob("*"):
        if damage == "delete":
            path.unlink()
        else:
            path.write_bytes(b"" if damage == "truncate" else b"\x00garbage")
    with pytest.raises(ModelUnavailable, match="start a round"):
        Versions(store, tmp_path / "versions").load(version)


def test_one_changed_bit_is_noticed_and_named_without_the_path(
    store: Store, learner: Learner, tmp_path: Path
) -> None:
    version = publish(Versions(store, tmp_path / "versions"), learner)
    (largest,) = sorted((tmp_path / "versions" / "7" / "1").glob("*.safetensors"))[-1:]
    content = bytearray(largest.read_bytes())
    content[-1] ^= 1
    largest.write_bytes(content)
    with pytest.raises(ModelUnavailable, match=f"{largest.name} is not as it was published") as caught:
        Versions(store, tmp_path / "versions").load(version)
    assert str(tmp_path) not in str(caught.value)


def test_a_missing_folder_is_named(store: Store, learner: Learner, tmp_path: Path) -> None:
    version = publish(Versions(store, tmp_path / "versions"), learner)
    shutil.rmtree(tmp_path / "versions")
    with pytest.raises(ModelUnavailable, match="its folder is missing; start a round"):
        Versions(store, tmp_path / "versions").load(version)


def test_the_card_tells_all_that_the_table_does(store: Store, learner: Learner, tmp_path: Path) -> None:
    version = publish(Versions(store, tmp_path / "versions"), learner)
    assert read_card(tmp_path / "versions" / "7" / "1") == version


def test_a_version_of_before_there_were_digests_loads(store: Store, learner: Learner, tmp_path: Path) -> None:
    version = publish(Versions(store, tmp_path / "versions"), learner)
    card = tmp_path / "versions" / "7" / "1" / "version.json"
    card.write_text(json.dumps({"name": version.name, "classes": ["sky", "grass"]}))
    assert Versions(store, tmp_path / "versions").load(version).classes == ("sky", "grass")
    with pytest.raises(DamagedVersion, match="older ClickPick"):
        read_card(card.parent)


def test_no_folder_is_written_twice_even_when_the_database_was_lost(
    store: Store, learner: Learner, tmp_path: Path
) -> None:
    first = publish(Versions(store, tmp_path / "versions"), learner)
    with closing(Store(f"sqlite:///{tmp_path / 'new.db'}")) as empty:
        empty.remember_project(7, "config")
        assert publish(Versions(empty, tmp_path / "versions"), learner).number == 2
    assert read_card(tmp_path / "versions" / "7" / "1") == first


def test_names_tell_projects_apart() -> None:
    assert is_ours(version_name(7, 3, DIGEST), 7)
    assert is_ours(version_name(7, 0, ""), 7)
    assert not is_ours(version_name(71, 3, DIGEST), 7)
    assert not is_ours("clickpick", 7)
