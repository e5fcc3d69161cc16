from __future__ import annotations

import numpy as np
import pytest

from model_zoo.training.views import Crop, ViewPolicy, choose_crop, cut, cut_labels, recolour

pytestmark = pytest.mark.unit


def blob(height: int, width: int, rows: slice, cols: slice) -> np.ndarray:
    region = np.zeros((height, width), dtype=bool)
    region[rows, cols] = True
    return region


@pytest.mark.parametrize("zoomed", [0.0, 1.0])
@pytest.mark.parametrize(
    ("height", "width", "rows", "cols"),
    [
        (90, 200, slice(80, 90), slice(190, 200)),
        (200, 90, slice(0, 1), slice(0, 1)),
        (100, 100, slice(0, 100), slice(40, 60)),
        (30, 30, slice(5, 9), slice(20, 30)),
    ],
)
def test_crops_lie_inside_and_show_the_region(
    zoomed: float, height: int, width: int, rows: slice, cols: slice
) -> None:
    region, rng = blob(height, width, rows, cols), np.random.default_rng(0)
    policy = ViewPolicy(side=64, zoomed=zoomed)
    for _ in range(50):
        crop = choose_crop(region, policy, rng)
        assert 0 <= crop.top <= height - crop.side
        assert 0 <= crop.left <= width - crop.side
        assert region[crop.window].any()


def test_a_zoomed_view_shows_the_whole_region_where_the_photograph_allows() -> None:
    region, rng = blob(300, 300, slice(120, 170), slice(130, 160)), np.random.default_rng(1)
    for _ in range(50):
        crop = choose_crop(region, ViewPolicy(side=64, zoomed=1.0), rng)
        assert 50 <= crop.side <= 110
        assert region[crop.window].sum() >= 0.95 * region.sum()


def test_the_window_follows_from_its_own_corner() -> None:
    image = np.arange(20 * 30 * 3, dtype=np.uint32).reshape(20, 30, 3).astype(np.uint8)
    crop = Crop(3, 11, 8)
    assert crop.window == (
        slice(3, 11),
        slice(11, 19),
    )  # not from top and width, as in the official GPCIS code
    assert np.array_equal(cut(image, crop, 8), image[3:11, 11:19])


def test_labels_stay_labels_and_meet_the_image() -> None:
    labels = np.zeros((40, 40), dtype=np.int32)
    labels[10:30, 10:30] = 70_000
    shown = cut_labels(labels, Crop(0, 0, 40), 20)
    assert set(np.unique(shown)) == {0, 70_000}
    assert (shown[5:15, 5:15] == 70_000).all()
    assert (shown == 70_000).sum() == 100


def test_recolouring_keeps_type_and_range_and_can_be_nothing() -> None:
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    changed = recolour(image, ViewPolicy(), np.random.default_rng(3))
    assert changed.dtype == np.uint8
    assert not np.array_equal(changed, image)
    plain = ViewPolicy(brightness=0.0, contrast=0.0, colour=0.0)
    assert np.array_equal(recolour(image, plain, np.random.default_rng(3)), image)
