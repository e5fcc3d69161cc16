from __future__ import annotations

import numpy as np
import pytest
import torch

from model_zoo.segmenters.predictor_maps import (
    LIMIT,
    disk_maps,
    object_window,
    resize,
    shifted_logits,
    window_holds,
    window_points,
)
from model_zoo.segmenters.zoom_in import Region

pytestmark = pytest.mark.unit


def test_a_disk_holds_the_pixels_whose_index_is_near_enough() -> None:
    maps = disk_maps([(4.0, 6.0, True), (7.5, 2.25, False)], 12, 14, 3)
    rows, cols = np.mgrid[:12, :14]
    assert np.array_equal(maps[0].numpy(), (rows - 4.0) ** 2 + (cols - 6.0) ** 2 <= 9)
    assert np.array_equal(maps[1].numpy(), (rows - 7.5) ** 2 + (cols - 2.25) ** 2 <= 9)


@pytest.mark.parametrize(
    ("point", "pixels"), [((-1.0, -1.0), 0), ((-2.0, 4.0), 26), ((20.0, 4.0), 0), ((11.0, -3.0), 10)]
)
def test_clicks_outside_touch_the_map_unless_both_coordinates_are_negative(
    point: tuple[float, float], pixels: int
) -> None:
    rows, cols = np.mgrid[:12, :14]
    near = (rows - point[0]) ** 2 + (cols - point[1]) ** 2 <= 25
    found = disk_maps([(*point, True)], 12, 14, 5)[0]
    assert int(found.sum()) == pixels == (0 if max(point) < 0 else near.sum())


def test_no_points_are_empty_maps() -> None:
    assert not disk_maps([], 3, 4, 5).any()


def test_resizing_keeps_corners_and_does_nothing_at_the_same_size() -> None:
    values = torch.rand(2, 5, 7)
    large = resize(values, 20, 30)
    assert large.shape == (2, 20, 30)
    assert torch.equal(large[:, ::19, ::29], values[:, ::4, ::6])
    assert resize(values, 5, 7) is values
    assert resize(values[None], 3, 3).shape == (1, 2, 3, 3)


def found_window(
    mask: np.ndarray, clicks: list[tuple[int, int]], expansion: float, smallest: float
) -> Region | None:
    return object_window(mask, clicks, threshold=0.5, expansion=expansion, smallest=smallest)


def test_the_window_is_the_expanded_box_inside_the_image() -> None:
    mask = np.zeros((100, 200), dtype=bool)
    mask[40:50, 60:80] = True
    # rows 40..49: middle 44.5, side 14 -> 37.5 and 51.5, rounded to even; columns 60..79: middle 69.5, side 28
    assert found_window(mask, [], 1.4, 5) == Region(38, 56, 53, 85)
    assert found_window(mask, [], 1.4, 40) == Region(24, 50, 65, 91)
    assert found_window(mask, [(45, 199)], 1.0, 0) == Region(40, 60, 51, 200)
    assert found_window(mask, [], 9.0, 0) == Region(0, 0, 91, 161)
    assert found_window(np.zeros((9, 9), dtype=bool), [(3, 3)], 1.4, 5) is None


def test_a_window_of_probabilities_of_a_part_of_the_image() -> None:
    probability = np.zeros((20, 30), dtype=np.float32)
    probability[5:9, 10:14] = 0.6
    whole = np.zeros((100, 90), dtype=np.float32)
    whole[50:70, 40:70] = probability
    part = object_window(
        probability, [], threshold=0.5, expansion=1.4, smallest=9, origin=(50, 40), image=(100, 90)
    )
    assert part == object_window(whole, [], threshold=0.5, expansion=1.4, smallest=9)
    assert object_window(whole, [], threshold=0.6, expansion=1.4, smallest=9) is None


def test_a_window_does_not_hold_its_last_row_and_column() -> None:
    region = Region(10, 20, 30, 40)
    assert window_holds(region, [(10, 20), (28, 38)])
    assert not window_holds(region, [(29, 30)])
    assert not window_holds(region, [(20, 39)])
    assert not window_holds(region, [(9, 30)])


def test_points_of_a_window() -> None:
    region = Region(10, 20, 30, 60)
    points = window_points([(10, 20, True), (20, 40, False), (9, 61, False)], region, 40, 20)
    assert points == [(0.0, 0.0, True), (20.0, 10.0, False), (-2.0, 20.5, False)]


def test_logits_are_above_zero_exactly_where_the_probability_is_above_the_threshold() -> None:
    threshold = 0.49
    around = np.nextafter(np.float32(threshold), np.float32([0, 1]), dtype=np.float32)
    probability = np.concatenate(
        [np.linspace(0, 1, 1001, dtype=np.float32), around, [np.float32(threshold)]]
    ).astype(np.float32)
    logits = shifted_logits(probability, threshold)
    assert logits.dtype == np.float32
    assert np.isfinite(logits).all()
    assert np.abs(logits).max() == LIMIT
    assert np.array_equal(logits > 0, probability > np.float32(threshold))
    assert (np.diff(logits[:1001]) >= 0).all()
