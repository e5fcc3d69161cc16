from __future__ import annotations

import numpy as np
import pytest

from model_zoo.learners.augment import Augmentation, View, draw_view, recolour

pytestmark = pytest.mark.unit

FILL = np.array([10, 20, 30], dtype=np.uint8)


def spot(height: int, width: int, row: int, col: int) -> np.ndarray:
    """A black picture with a bright square of 5 x 5 pixels around one pixel."""
    image = np.zeros((height, width, 3), dtype=np.uint8)
    image[max(0, row - 2) : row + 3, max(0, col - 2) : col + 3] = 255
    return image


@pytest.mark.parametrize("seed", range(40))
def test_a_bright_pixel_stays_under_its_point(seed: int) -> None:
    rng = np.random.default_rng(seed)
    height, width = (int(side) for side in rng.integers(30, 90, 2))
    row, col = int(rng.integers(height)), int(rng.integers(width))
    view = draw_view(rng, (height, width), (48, 64), Augmentation(), (row, col))
    shown = view.render(spot(height, width, row, col), (48, 64), FILL)
    places, seen = view.places(np.array([[row, col]]))
    assert seen.tolist() == [True]  # crops are placed to show their anchor
    at = np.minimum(np.floor(places[0]).astype(int), np.array(view.shown) - 1)
    assert shown[at[0], at[1]].min() > 150
    bright = np.argwhere(shown[: view.shown[0], : view.shown[1], 0] > 120) + 0.5
    scale = view.shown[0] / view.window[2]
    assert np.abs(bright - places[0]).max() <= 2.5 * scale + 1.5


@pytest.mark.parametrize("mirrored", [False, True])
def test_places_and_pixels_are_inverse(mirrored: bool) -> None:
    view = View((3, 5, 20, 30), (40, 60), mirrored)
    pixels = np.stack(np.divmod(np.arange(600), 30), axis=1) + np.array((3, 5))
    places, seen = view.places(pixels)
    assert seen.all()
    np.testing.assert_array_equal(view.pixels(places), pixels)
    outside = np.array([[2, 5], [3, 4], [23, 5], [3, 35]])
    assert not view.places(outside)[1].any()


def test_what_is_not_covered_has_the_filling_colour() -> None:
    view = View((0, 0, 10, 12), (10, 12), mirrored=False)
    shown = view.render(np.full((10, 12, 3), 200, np.uint8), (16, 16), FILL)
    assert (shown[:10, :12] == 200).all()
    assert (shown[10:] == FILL).all()
    assert (shown[:, 12:] == FILL).all()


def test_without_an_anchor_crops_lie_anywhere_and_inside() -> None:
    rng = np.random.default_rng(0)
    starts = set()
    for _ in range(200):
        view = draw_view(rng, (100, 120), (32, 32), Augmentation(), None)
        top, left, height, width = view.window
        assert 0 <= top <= 100 - height
        assert 0 <= left <= 120 - width
        assert max(view.shown) <= 32
        starts.add((top, left))
    assert len(starts) > 150


def test_colours_change_and_geometry_does_not() -> None:
    rng = np.random.default_rng(0)
    image = np.zeros((40, 40, 3), dtype=np.uint8)
    image[:, 20:] = (180, 90, 60)
    always = Augmentation(jitter=1.0, grey=0.0, blur=0.0, brightness=0.8, hue=0.2)
    changed = [recolour(rng, image, always) for _ in range(20)]
    assert len({picture.tobytes() for picture in changed}) > 15
    for picture in changed:
        assert picture.dtype == np.uint8
        for half in (picture[:, :20], picture[:, 20:]):
            assert np.ptp(half, axis=(0, 1)).max() <= 2  # OpenCV rounds the ends of lines otherwise


def test_grey_blurred_and_untouched() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)
    grey = recolour(rng, image, Augmentation(jitter=0, grey=1, blur=0))
    assert (grey[..., 0] == grey[..., 2]).all()
    assert recolour(rng, image, Augmentation(jitter=0, grey=0, blur=1)).std() < image.std()
    np.testing.assert_array_equal(recolour(rng, image, Augmentation(jitter=0, grey=0, blur=0)), image)
