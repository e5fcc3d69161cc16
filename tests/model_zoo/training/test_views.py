from __future__ import annotations

import numpy as np
import pytest

from model_zoo.segmenters.zoom_in import Region
from model_zoo.training.views import ViewPolicy, choose_view, cut, cut_labels, recolour

pytestmark = pytest.mark.unit


def blob(height: int, width: int, rows: slice, cols: slice) -> np.ndarray:
    region = np.zeros((height, width), dtype=bool)
    region[rows, cols] = True
    return region


SHAPES = ((64, 64), (64, 96), (96, 64))


@pytest.mark.parametrize("whole", [0.0, 1.0])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("height", "width", "rows", "cols"),
    [
        (90, 120, slice(80, 90), slice(110, 120)),
        (120, 90, slice(0, 1), slice(0, 1)),
        (100, 100, slice(0, 100), slice(40, 60)),
        (100, 100, slice(40, 60), slice(0, 100)),
        (30, 30, slice(5, 9), slice(20, 30)),
    ],
)
def test_views_lie_inside_and_show_the_whole_region_hardly_stretched(
    whole: float, shape: tuple[int, int], height: int, width: int, rows: slice, cols: slice
) -> None:
    region, rng = blob(height, width, rows, cols), np.random.default_rng(0)
    policy, seen = ViewPolicy(whole=whole), 0
    for _ in range(60):
        view = choose_view(region, shape, policy, rng)
        if view is None:
            continue
        seen += 1
        assert 0 <= view.top < view.bottom <= height
        assert 0 <= view.left < view.right <= width
        assert region[view.window].sum() == region.sum()
        stretch = view.width / view.height * shape[0] / shape[1]
        assert 1 / 1.5 - 1e-9 <= stretch <= 1.5 + 1e-9
    assert seen or shape != (64, 64)


def test_a_photograph_of_another_ratio_has_no_whole_view() -> None:
    region = blob(60, 120, slice(20, 40), slice(20, 40))
    policy, rng = ViewPolicy(whole=1.0), np.random.default_rng(0)
    assert choose_view(region, (96, 64), policy, rng) is None
    assert choose_view(region, (64, 128), policy, rng) is not None


def test_a_zoomed_view_surrounds_the_region() -> None:
    region, rng = blob(300, 300, slice(120, 170), slice(130, 160)), np.random.default_rng(1)
    for _ in range(50):
        view = choose_view(region, (64, 64), ViewPolicy(whole=0.0), rng)
        assert view is not None
        assert 50 * 1.15 <= view.height <= 50 * 3 + 1
        assert view.width == pytest.approx(view.height, abs=1)


def test_shapes_of_batches_are_multiples_of_the_stride_and_of_one_size() -> None:
    policy, rng = ViewPolicy(side=320), np.random.default_rng(0)
    shapes = {policy.shape(rng) for _ in range(100)}
    assert shapes == {(320, 320), (288, 384), (384, 288)}


def test_the_window_follows_from_its_own_corner() -> None:
    image = np.arange(20 * 30 * 3, dtype=np.uint32).reshape(20, 30, 3).astype(np.uint8)
    view = Region(
        3, 11, 11, 21
    )  # right from left and width; the official GPCIS code takes the top for the left
    assert np.array_equal(cut(image, view, (8, 10)), image[3:11, 11:21])


def test_labels_stay_labels_and_meet_the_image() -> None:
    labels = np.zeros((40, 40), dtype=np.int32)
    labels[10:30, 10:30] = 70_000
    shown = cut_labels(labels, Region(0, 0, 40, 40), (20, 20))
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
