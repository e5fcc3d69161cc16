from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from model_zoo.learners.tiles import Tiling, predict_tiled, spans
from tests.model_zoo.learners.learner_pictures import CLASSES, TINY, labelled, stripes, tiny_finetune

pytestmark = pytest.mark.unit

SMALL = Tiling(pixels=1000, side=64, margin=12, blend=8)


@pytest.mark.parametrize("length", [1, 63, 64, 65, 90, 128, 1000])
def test_tiles_cover_the_side_and_overlap(length: int) -> None:
    found = spans(length, 8, SMALL)
    assert found[0][0] == 0
    assert found[-1][1] == length
    assert all(start % 8 == 0 and stop - start <= 64 for start, stop in found)
    for (_, stop), (start, _) in pairwise(found):
        assert stop - start >= SMALL.overlap


def box_mean(image: np.ndarray) -> np.ndarray:
    """A network that looks 5 pixels far: (1, 3, H, W), local mean colours."""
    padded = np.pad(image.astype(np.float64), ((5, 5), (5, 5), (0, 0)), mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (11, 11), axis=(0, 1))
    return windows.mean(axis=(-2, -1)).transpose(2, 0, 1)[None].astype(np.float32)


@pytest.mark.parametrize("size", [(150, 211), (65, 40), (33, 500)])
def test_a_network_that_looks_no_further_than_the_margin_gives_the_same(size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    parts: list[tuple[int, ...]] = []

    def predict(part: np.ndarray) -> np.ndarray:
        parts.append(part.shape)
        return box_mean(part)

    found = predict_tiled(predict, image, 8, SMALL)
    assert len(parts) > 1
    assert max(max(part) for part in parts) <= 64
    np.testing.assert_allclose(found, box_mean(image), rtol=1e-5)


def test_small_images_go_in_one_piece() -> None:
    image = np.zeros((20, 50, 3), dtype=np.uint8)
    assert predict_tiled(lambda part: box_mean(part) + len(part), image, 8, SMALL).max() == 20


def test_by_default_images_of_over_four_megapixels_are_cut() -> None:
    tiling = Tiling()
    assert tiling.pixels == 4_000_000
    assert len(spans(4000, 32, tiling)) > 1


@pytest.mark.parametrize("name", ["finetune-deeplabv3plus-tiny", "finetune-fpn-tiny"])
def test_a_trained_network_in_tiles_agrees_with_the_whole_away_from_the_borders(name: str) -> None:
    """Global pooling and group norm see other surroundings in a tile, so probabilities agree closely, not exactly."""
    learner = tiny_finetune(name, policy=replace(TINY, epoch_steps=30 if "fpn" in name else 10))
    learner.fit([labelled(*stripes(48, 72, seed=seed), 20, seed) for seed in range(3)], CLASSES)
    image = stripes(160, 200, seed=99)[0]
    whole = learner.predict_proba(image)
    learner.policy = replace(learner.policy, tiling=Tiling(pixels=1000, side=128, margin=24, blend=16))
    tiled = learner.predict_proba(image)
    assert not np.array_equal(whole, tiled)
    np.testing.assert_allclose(tiled.sum(axis=0), 1, atol=1e-5)
    inner = (slice(None), slice(32, -32), slice(32, -32))
    assert (whole[inner].argmax(axis=0) == tiled[inner].argmax(axis=0)).mean() > 0.95
    stochastic = learner.predict_proba(image, samples=2)
    assert stochastic.shape == (2, 3, 160, 200)
