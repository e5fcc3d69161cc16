from __future__ import annotations

import numpy as np
import pytest

from model_zoo.prompt import Box, Click, Stroke
from model_zoo.segmenters.click_maps import (
    INSIDE,
    NEGATIVE,
    POSITIVE,
    PREVIOUS,
    RADIUS,
    draw_click,
    empty_maps,
    render,
)

pytestmark = pytest.mark.unit


def test_without_a_prompt_all_is_zero() -> None:
    maps = render(12, 16)
    assert maps.shape == (4, 12, 16)
    assert maps.dtype == np.float32
    assert not maps.any()


@pytest.mark.parametrize(("row", "col"), [(20.5, 30.5), (20.0, 30.0), (0.5, 0.5), (39.9, 59.9), (-2.0, 30.0)])
def test_a_click_is_the_disk_of_pixels_around_it(row: float, col: float) -> None:
    maps = empty_maps(40, 60)
    draw_click(maps, row, col, positive=True)
    rows, cols = np.mgrid[:40, :60] + 0.5
    assert np.array_equal(maps[POSITIVE] == 1, np.hypot(rows - row, cols - col) <= RADIUS)
    assert not maps[NEGATIVE:].any()


def test_clicks_far_outside_touch_nothing() -> None:
    maps = empty_maps(40, 60)
    for row, col in ((-20.0, 5.0), (5.0, 90.0), (60.0, 5.0), (5.0, -30.0)):
        draw_click(maps, row, col, positive=False)
    assert not maps.any()


def test_signs_have_channels_of_their_own() -> None:
    maps = render(40, 60, clicks=(Click(10, 10), Click(30, 50, False)))
    assert maps[POSITIVE, 10, 10] == 1
    assert maps[NEGATIVE, 30, 50] == 1
    assert maps[POSITIVE, 30, 50] == maps[NEGATIVE, 10, 10] == 0


def test_a_stroke_is_as_thick_as_a_click_and_goes_from_point_to_point() -> None:
    maps = render(40, 80, strokes=(Stroke(((20.5, 10.5), (20.5, 60.5)), True, 1.0),))
    column = np.flatnonzero(maps[POSITIVE][:, 35])
    assert abs(len(column) - 2 * RADIUS) <= 1
    assert abs(column.mean() - 20) <= 0.5
    assert maps[POSITIVE, 20, 10:61].all()
    assert not maps[POSITIVE, 20, 70:].any()


def test_a_box_is_its_inside_whichever_corner_comes_first() -> None:
    for box in (Box(5, 10, 15, 30), Box(15, 30, 5, 10)):
        maps = render(40, 60, box=box)
        assert maps[INSIDE, 5:15, 10:30].all()
        assert maps[INSIDE].sum() == 200
    assert render(40, 60, box=Box(-9, -9, 99, 99))[INSIDE].all()
    assert not render(40, 60, box=Box(-9, -9, -5, -5)).any()


def test_the_earlier_mask_is_handed_on() -> None:
    previous = np.random.default_rng(0).random((40, 60)).astype(np.float32)
    assert np.array_equal(render(40, 60, previous=previous)[PREVIOUS], previous)


def test_thin_boxes_and_single_dabs_leave_a_trace() -> None:
    thin = render(40, 60, box=Box(20.1, 10, 20.4, 30))[INSIDE]
    assert thin.sum() == 20
    dab = render(40, 60, strokes=(Stroke(((20.5, 30.5),), True, 1.0),))
    assert np.array_equal(dab, render(40, 60, clicks=(Click(20.5, 30.5),)))
