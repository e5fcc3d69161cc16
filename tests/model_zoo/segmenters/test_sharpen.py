"""Enlarged logits follow the photograph's edges."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from model_zoo.segmenters.sharpen import sharpen

pytestmark = pytest.mark.unit


def wedge(height: int, width: int) -> np.ndarray:
    rows, cols = np.mgrid[:height, :width]
    return np.asarray(cols > 0.4 * width + 0.3 * rows)


def shrunk(grey: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return np.asarray(cv2.resize(grey, size[::-1], interpolation=cv2.INTER_AREA))


def test_a_coarse_mask_follows_the_edge_of_the_photograph() -> None:
    truth = wedge(240, 320)
    noise = np.random.default_rng(0).normal(0, 6, truth.shape)
    grey = np.clip(np.where(truth, 180, 70) + noise, 0, 255).astype(np.uint8)
    small = cv2.resize(truth.astype(np.float32), (20, 15), interpolation=cv2.INTER_AREA) * 8 - 4
    sharp = sharpen(small, np.dstack([grey] * 3), shrunk(grey, (60, 80)))
    assert sharp.shape == (240, 320)
    assert sharp.dtype == np.float32
    plain = cv2.resize(small, (320, 240), interpolation=cv2.INTER_LINEAR)
    wrong, before = ((sharp > 0) != truth).mean(), ((plain > 0) != truth).mean()
    assert wrong < 0.4 * before


def test_a_flat_photograph_leaves_the_logits_smooth() -> None:
    small = np.linspace(-2, 3, 12 * 16, dtype=np.float32).reshape(12, 16)
    flat = np.full((96, 128, 3), 90, dtype=np.uint8)
    plain = cv2.resize(small, (128, 96), interpolation=cv2.INTER_LINEAR)
    assert np.abs(sharpen(small, flat, shrunk(flat[..., 0], (24, 32))) - plain).mean() < 0.1


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (50, 1), (3, 2)])
def test_any_crop(shape: tuple[int, int]) -> None:
    crop = np.zeros((*shape, 3), dtype=np.uint8)
    out = sharpen(np.ones((16, 16), dtype=np.float32), crop, shrunk(crop[..., 0], (32, 32)))
    assert out.shape == shape
    assert np.isfinite(out).all()
    assert (out > 0).all()
