from __future__ import annotations

import numpy as np
import pytest

from model_zoo.prompt import Click
from model_zoo.segmenters.zoom_in import Region, ZoomPolicy, next_region, object_region, whole

pytestmark = pytest.mark.unit
IMAGE = (200, 300)
POLICY = ZoomPolicy(expansion=1.5, smallest=0.1, keep=0.5, whole=0.7)


def probability(rows: slice, cols: slice, shape: tuple[int, int] = IMAGE) -> np.ndarray:
    values = np.zeros(shape, dtype=np.float32)
    values[rows, cols] = 0.9
    return values


def test_a_region_knows_its_size_window_and_clicks() -> None:
    region = Region(10, 20, 40, 80)
    assert (region.height, region.width) == (30, 60)
    assert np.zeros(IMAGE)[region.window].shape == (30, 60)
    assert region.holds(Click(10, 20))
    assert not region.holds(Click(40, 20))
    assert whole(IMAGE) == Region(0, 0, 200, 300)


def test_overlap_by_hand() -> None:
    assert Region(0, 0, 10, 10).overlap(Region(0, 0, 10, 10)) == 1
    assert Region(0, 0, 10, 10).overlap(Region(5, 0, 15, 20)) == pytest.approx(5 / 15 * 10 / 20)
    assert Region(0, 0, 10, 10).overlap(Region(20, 0, 30, 10)) == 0


def test_the_surroundings_are_the_expanded_box() -> None:
    found = object_region(probability(slice(80, 120), slice(100, 160)), whole(IMAGE), (), IMAGE, POLICY)
    assert found == Region(70, 85, 130, 175)


def test_a_coarse_map_of_a_part_of_the_image_is_placed_where_it_belongs() -> None:
    shown = Region(40, 60, 140, 260)
    values = probability(slice(20, 30), slice(10, 20), (50, 50))
    found = object_region(values, shown, (), IMAGE, POLICY)
    assert found == Region(75, 90, 105, 150)  # rows 80 to 100 and columns 100 to 140, times 1.5


def test_positive_clicks_belong_to_the_object_and_negative_ones_do_not() -> None:
    values = probability(slice(80, 120), slice(100, 160))
    clicks = (Click(150.0, 130.0), Click(10.0, 10.0, False))
    found = object_region(values, whole(IMAGE), clicks, IMAGE, POLICY)
    assert found is not None
    assert found.holds(clicks[0])
    assert not found.holds(clicks[1])


def test_the_smallest_side_and_the_border_of_the_image() -> None:
    tiny = object_region(probability(slice(100, 102), slice(150, 152)), whole(IMAGE), (), IMAGE, POLICY)
    assert tiny == Region(86, 136, 116, 166)
    corner = object_region(probability(slice(0, 40), slice(280, 300)), whole(IMAGE), (), IMAGE, POLICY)
    assert corner is not None
    assert (corner.top, corner.right) == (0, 300)


def test_nothing_found_is_no_region_and_the_whole_image_is_looked_at() -> None:
    assert object_region(probability(slice(0, 0), slice(0, 0)), whole(IMAGE), (), IMAGE, POLICY) is None
    assert next_region(Region(0, 0, 50, 50), None, (), IMAGE, POLICY) == whole(IMAGE)


def test_a_region_is_kept_while_it_fits() -> None:
    earlier, clicks = Region(50, 80, 150, 200), (Click(100.0, 120.0),)
    near, far = Region(60, 85, 150, 195), Region(55, 85, 90, 120)
    assert next_region(earlier, near, clicks, IMAGE, POLICY) == earlier
    assert next_region(earlier, far, clicks, IMAGE, POLICY) == far
    outside = (*clicks, Click(170.0, 120.0))
    assert next_region(earlier, near, outside, IMAGE, POLICY) == near
    negative = (*clicks, Click(170.0, 120.0, False))
    assert next_region(earlier, near, negative, IMAGE, POLICY) == earlier


def test_zooming_that_gains_little_is_not_done() -> None:
    large, small = Region(10, 10, 200, 300), Region(60, 85, 150, 195)
    assert next_region(None, large, (), IMAGE, POLICY) == whole(IMAGE)
    assert next_region(None, small, (), IMAGE, POLICY) == small
    assert next_region(whole(IMAGE), small, (), IMAGE, POLICY) == small
