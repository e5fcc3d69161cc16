"""Where FocalClick refines, and what of a mask to start from it changes."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from model_zoo.segmenters.focalclick_loop import focus_region, merge
from model_zoo.segmenters.zoom_in import Region, whole

pytestmark = pytest.mark.unit
SIZE = (100, 200)
WHOLE = whole(SIZE)


def box(top: int, left: int, bottom: int, right: int) -> NDArray[np.bool_]:
    mask = np.zeros(SIZE, dtype=np.bool_)
    mask[top:bottom, left:right] = True
    return mask


EMPTY = box(0, 0, 0, 0)


def test_of_a_new_object_all_is_refined() -> None:
    # Rows 20 to 39, middle 29.5, 1.4 * 20 rows; columns 50 to 89, middle 69.5, 1.4 * 40 columns.
    assert focus_region(box(20, 50, 40, 90), EMPTY, (30, 60), WHOLE) == Region(15, 41, 43, 97)


def test_a_large_change_is_refined_alone() -> None:
    object_, grown = box(20, 50, 60, 90), box(20, 50, 60, 130)
    # Columns 90 to 129 were added.
    assert focus_region(grown, object_, (30, 100), WHOLE) == Region(11, 81, 67, 137)


def test_a_small_change_is_refined_with_its_surroundings() -> None:
    object_ = box(20, 50, 60, 130)
    grown = object_ | box(40, 130, 44, 134)
    # 0.2 of the object's 83 columns on each side of the click, expanded: rows and columns +- 23.9.
    assert focus_region(grown, object_, (41, 131), WHOLE) == Region(17, 107, 64, 154)


def test_where_nothing_changed_at_the_click_all_of_the_crop_is_refined() -> None:
    object_, grown = box(20, 50, 60, 90), box(20, 50, 60, 130)
    target = Region(10, 30, 90, 160)
    assert focus_region(grown, object_, (90, 190), target) == target


def test_almost_no_object_has_the_box_of_the_image() -> None:
    assert focus_region(box(3, 3, 6, 6), EMPTY, (4, 4), WHOLE) == WHOLE


def test_the_focus_lies_within_the_target_crop() -> None:
    target = Region(25, 60, 38, 80)
    assert focus_region(box(20, 50, 40, 90), EMPTY, (30, 60), target) == target


def test_a_change_outside_of_the_target_crop_makes_all_of_it_the_focus() -> None:
    target, object_ = Region(0, 0, 50, 50), box(20, 10, 40, 40)
    assert focus_region(object_, object_ | box(70, 100, 99, 199), (80, 150), target) == target


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (12, 1), (2, 2)])
@pytest.mark.parametrize("filled", [False, True])
def test_tiny_images_have_a_focus(size: tuple[int, int], filled: bool) -> None:
    found = np.full(size, filled)
    for previous in (np.zeros(size, dtype=np.bool_), np.ones(size, dtype=np.bool_)):
        focus = focus_region(found, previous, (0, size[1] - 1), whole(size))
        assert 0 <= focus.top < focus.bottom <= size[0]
        assert 0 <= focus.left < focus.right <= size[1]


def test_only_the_change_at_the_click_is_merged() -> None:
    old = box(20, 50, 60, 90)
    new = box(20, 50, 60, 80) | box(30, 100, 40, 110) | box(70, 0, 90, 20)
    assert np.array_equal(merge(old, new, [(35, 105, True)]), old | box(30, 100, 40, 110))
    assert np.array_equal(merge(old, new, [(35, 85, False)]), box(20, 50, 60, 80))
    both = merge(old, new, [(35, 105, True), (35, 85, False)])
    assert np.array_equal(both, box(20, 50, 60, 80) | box(30, 100, 40, 110))


def test_parts_that_touch_at_a_corner_are_one_change() -> None:
    new = box(10, 10, 20, 20) | box(20, 20, 30, 30)
    assert np.array_equal(merge(EMPTY, new, [(15, 15, True)]), new)


@pytest.mark.parametrize(
    "click", [(35, 60, True), (35, 85, True), (5, 5, True), (5, 5, False), (35, 60, False)]
)
def test_a_click_that_agrees_or_is_not_answered_changes_nothing(click: tuple[int, int, bool]) -> None:
    """(35, 85) is taken away by the new mask, which a positive click there does not want."""
    old, new = box(20, 50, 60, 90), box(20, 50, 60, 80)
    assert np.array_equal(merge(old, new, [click]), old)


def test_a_merge_leaves_its_inputs_alone() -> None:
    old, new = box(20, 50, 60, 90), box(20, 50, 60, 130)
    merge(old, new, [(30, 100, True)])
    assert np.array_equal(old, box(20, 50, 60, 90))
