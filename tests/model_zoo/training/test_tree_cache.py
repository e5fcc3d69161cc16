from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from model_zoo.training import tree_cache
from model_zoo.training.pictures import Picture
from model_zoo.training.salience import salience
from model_zoo.training.tree_cache import TreeCache, grow_trees

pytestmark = pytest.mark.unit


class FakeEncoder:
    fingerprint = "fake"


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Shapes of the images whose features were computed."""
    shapes: list[tuple[int, ...]] = []

    def features(image: np.ndarray, _: Any) -> np.ndarray:
        shapes.append(image.shape)
        return image[::8, ::8].astype(np.float32)

    monkeypatch.setattr(tree_cache, "token_features", features)
    return shapes


def picture(folder: Path, name: str, value: int) -> Picture:
    path = folder / f"{name}.png"
    Image.fromarray(np.full((16, 24, 3), value, dtype=np.uint8)).save(path)
    return Picture(name, path)


def cache(folder: Path) -> TreeCache:
    return TreeCache(folder / "trees", FakeEncoder())  # type: ignore[arg-type]


def test_a_tree_is_built_once_and_again_for_another_image(
    tmp_path: Path, built: list[tuple[int, ...]]
) -> None:
    one = cache(tmp_path).get(picture(tmp_path, "a", 1))
    two = cache(tmp_path).get(picture(tmp_path, "a", 1))
    assert built == [(16, 24, 3)]
    assert np.array_equal(one.children, two.children)
    assert (one.height, one.width) == (2, 3)
    cache(tmp_path).get(picture(tmp_path, "a", 2))
    assert len(built) == 2
    assert len(list((tmp_path / "trees").iterdir())) == 2


def test_another_encoder_builds_again(
    tmp_path: Path, built: list[tuple[int, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    cache(tmp_path).get(picture(tmp_path, "a", 1))
    monkeypatch.setattr(FakeEncoder, "fingerprint", "other")
    cache(tmp_path).get(picture(tmp_path, "a", 1))
    assert len(built) == 2


def test_a_file_that_was_cut_short_is_built_again(tmp_path: Path, built: list[tuple[int, ...]]) -> None:
    cache(tmp_path).get(picture(tmp_path, "a", 1))
    (file,) = (tmp_path / "trees").iterdir()
    file.write_bytes(file.read_bytes()[:40])
    cache(tmp_path).get(picture(tmp_path, "a", 1))
    assert len(built) == 2


def test_unreadable_images_are_reported_in_their_place(tmp_path: Path, built: list[tuple[int, ...]]) -> None:
    (tmp_path / "b.png").write_bytes(b"no image")
    pictures = [picture(tmp_path, "a", 1), Picture("b", tmp_path / "b.png"), Picture("c", tmp_path / "c.png")]
    grown = list(grow_trees(pictures, cache(tmp_path)))
    assert [one.tree is not None for one in grown] == [True, False, False]
    assert "b.png cannot be read" in grown[1].problem
    assert "c.png cannot be read" in grown[2].problem


def test_a_tree_is_the_same_on_the_day_it_is_built_and_ever_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noise = np.random.default_rng(0).normal(size=(6, 8, 4)).astype(np.float32)
    monkeypatch.setattr(tree_cache, "token_features", lambda *_: noise)
    seen = picture(tmp_path, "a", 1)
    first, second = cache(tmp_path).get(seen), cache(tmp_path).get(seen)
    assert first.separation is not None
    assert np.array_equal(salience(first), salience(second))
