from __future__ import annotations

import cv2
import numpy as np
import pytest

from model_zoo.segmenters.guided import build

pytestmark = pytest.mark.unit


def guide_of(image: np.ndarray):
    return build(image, fine_side=256, coarse_side=64, radius=3, smoothing=1e-3)


def test_a_constant_stays_constant() -> None:
    image = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    fine = guide_of(image).enlarge(np.full((9, 12), 1.5, dtype=np.float32))
    assert fine.shape == (90, 120)
    assert fine == pytest.approx(np.full((90, 120), 1.5), abs=1e-3)


def test_a_blurred_border_moves_to_the_edge_of_the_image() -> None:
    image = np.zeros((128, 128, 3), dtype=np.uint8)
    image[:, 68:] = (250, 200, 40)
    coarse = np.where(np.arange(16) < 8, 2.0, -2.0).astype(np.float32)  # changes sign at pixel 64
    fine = guide_of(image).enlarge(np.tile(coarse, (16, 1)))
    crossing = (fine[64] > 0).sum()
    assert abs(int(crossing) - 68) <= 2


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (2, 2)])
def test_extreme_sizes(shape: tuple[int, int]) -> None:
    guide = guide_of(np.zeros((*shape, 3), dtype=np.uint8))
    assert np.isfinite(guide.enlarge(np.ones((1, 1), dtype=np.float32))).all()
    assert guide.nbytes > 0


def test_a_large_image_is_filtered_at_the_fine_side() -> None:
    guide = guide_of(np.zeros((600, 900, 3), dtype=np.uint8))
    assert guide.enlarge(np.zeros((4, 6), dtype=np.float32)).shape == (171, 256)


def test_texture_leaves_no_specks() -> None:
    """Single bright pixels must not become objects of one pixel: masks travel as run lengths."""
    image = np.full((128, 128, 3), 90, dtype=np.uint8)
    image[5::16, 5::16] = 255
    coarse = np.linspace(-1.0, 1.0, 16, dtype=np.float32)
    fine = guide_of(image).enlarge(np.tile(coarse, (16, 1)))
    count, _ = cv2.connectedComponents((fine > 0).astype(np.uint8))
    assert count - 1 == 1
