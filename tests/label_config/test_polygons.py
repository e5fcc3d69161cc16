from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from label_config import mask_to_polygons, polygons_to_mask
from label_config.contours import parts, signed_area

pytestmark = pytest.mark.unit

masks = hnp.arrays(bool, st.tuples(st.integers(1, 24), st.integers(1, 24)))


def _blobs(height: int, width: int, seed: int) -> np.ndarray:
    """Smooth shapes with holes and several parts."""
    noise = np.random.default_rng(seed).random((height, width)).astype(np.float32)
    return np.asarray(cv2.GaussianBlur(noise, (0, 0), 6) > 0.505)


def _iou(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / (one | other).sum())


@settings(deadline=None)
@given(masks)
def test_exact_outlines_give_the_mask_back(mask: np.ndarray) -> None:
    polygons = mask_to_polygons(mask, tolerance=0, speck=0)
    assert np.array_equal(polygons_to_mask(polygons, *mask.shape), mask)


@settings(deadline=None, max_examples=40)
@given(masks)
def test_outlines_and_holes_add_up_to_the_parts(mask: np.ndarray) -> None:
    count, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    found = parts(mask)
    assert sorted(part.area for part in found) == sorted(
        np.bincount(labels.ravel(), minlength=count)[1:].tolist()
    )
    for part in found:
        assert signed_area(part.outline) + sum(map(signed_area, part.holes)) == part.area
        assert signed_area(part.outline) > 0
        assert all(signed_area(hole) < 0 for hole in part.holes)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 1000), st.integers(60, 300), st.integers(60, 300))
def test_simplified_outlines_stay_within_the_tolerance(seed: int, height: int, width: int) -> None:
    mask = _blobs(height, width, seed)
    again = polygons_to_mask(mask_to_polygons(mask, max_points=10_000, speck=0), height, width)
    kernel = np.ones(
        (5, 5), np.uint8
    )  # one pixel of tolerance, half a pixel to the centres, and a corner's diagonal
    grown = cv2.dilate(mask.astype(np.uint8), kernel, borderValue=0) > 0
    shrunk = cv2.erode(mask.astype(np.uint8), kernel, borderValue=0) > 0
    assert not (again & ~grown).any()
    assert not (shrunk & ~again).any()


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 1000))
def test_points_are_few_percent_and_no_part_is_lost(seed: int) -> None:
    mask = _blobs(240, 320, seed)
    polygons = mask_to_polygons(mask, speck=4)
    assert len(polygons) == sum(part.area >= 4 for part in parts(mask))
    assert all(0 <= at <= 100 for polygon in polygons for point in polygon for at in point)
    assert _iou(polygons_to_mask(polygons, 240, 320), mask) > 0.85


def test_ellipse_with_a_hole_on_a_large_image_needs_fewer_than_100_points() -> None:
    rows, cols = np.mgrid[:1500, :4000]
    distance = ((rows - 700) / 600) ** 2 + ((cols - 1900) / 1700) ** 2
    mask = (distance < 1) & (distance > 0.2)
    (polygon,) = mask_to_polygons(mask)
    assert len(polygon) < 100
    assert _iou(polygons_to_mask([polygon], 1500, 4000), mask) > 0.99


def _drawn(shape: tuple[int, int], *lines: tuple[tuple[int, int], tuple[int, int]]) -> np.ndarray:
    canvas = np.zeros(shape, np.uint8)
    for start, stop in lines:
        cv2.line(canvas, start, stop, 1, 1)
    return canvas > 0


@pytest.mark.parametrize(
    "mask",
    [
        _drawn((50, 90), ((3, 3), (80, 3))),
        _drawn((50, 90), ((3, 3), (80, 40))),
        _drawn((50, 90), ((5, 45), (45, 5))),
        _drawn((200, 200), *(((x, 10), (x + 15, 190)) for x in range(5, 180, 15))),
        np.ones((1, 1), bool),
        np.ones((1, 700), bool),
        np.ones((700, 1), bool),
        np.eye(30, dtype=bool),
    ],
    ids=["horizontal", "slanted", "diagonal", "many", "pixel", "row", "column", "corners-only"],
)
def test_shapes_one_pixel_wide_survive(mask: np.ndarray) -> None:
    again = polygons_to_mask(mask_to_polygons(mask), *mask.shape)
    assert _iou(again, mask) > 0.5


def test_parts_come_largest_first_and_specks_are_left_out() -> None:
    mask = np.zeros((40, 60), bool)
    mask[2:6, 2:6] = mask[10:30, 10:50] = True
    mask[35, 55] = True
    assert [len(polygon) for polygon in mask_to_polygons(mask)] == [4, 4]
    assert len(mask_to_polygons(mask, speck=1)) == 3
    assert mask_to_polygons(mask)[0][0][0] > mask_to_polygons(mask)[1][0][0]


def test_a_mask_of_specks_only_keeps_one() -> None:
    mask = np.zeros((9, 9), bool)
    mask[2, 2] = mask[6, 6] = True
    assert len(mask_to_polygons(mask)) == 1


def test_empty_mask_has_no_polygon() -> None:
    assert mask_to_polygons(np.zeros((5, 4), bool)) == []
    assert not polygons_to_mask([], 5, 4).any()


def test_a_hole_is_a_bridge_in_one_outline() -> None:
    mask = np.ones((20, 30), bool)
    mask[5:15, 5:25] = False
    (polygon,) = mask_to_polygons(mask)
    assert len(polygon) == 4 + 4 + 2
    assert np.array_equal(polygons_to_mask([polygon], 20, 30), mask)


def test_a_slanted_bridge_through_pixel_centres_leaves_no_trace() -> None:
    mask = np.ones((18, 18), bool)
    mask[14, 3] = False
    assert np.array_equal(polygons_to_mask(mask_to_polygons(mask, tolerance=0, speck=0), 18, 18), mask)


def test_self_crossing_polygon_is_filled_by_the_nonzero_rule() -> None:
    twice = [[0, 0], [100, 0], [100, 100], [0, 100]] * 2
    assert polygons_to_mask([twice], 7, 5).all()


def test_polygon_outside_the_image_is_cut_off() -> None:
    assert polygons_to_mask([[[-50, -50], [50, -50], [50, 50], [-50, 50]]], 4, 4).sum() == 4
    assert not polygons_to_mask([[[0, 150], [50, 150], [50, 180]]], 4, 4).any()


def _turning(polygon: list[list[float]], width: int, height: int) -> float:
    """Sum of all changes of direction in degrees; 360 for a convex outline."""
    sides = np.diff(np.array([*polygon, polygon[0]]) * [width / 100, height / 100], axis=0)
    angles = np.arctan2(sides[:, 1], sides[:, 0])
    turns = (np.diff(np.append(angles, angles[0])) + np.pi) % (2 * np.pi) - np.pi
    return float(np.degrees(np.abs(turns).sum()))


@pytest.mark.parametrize("tilt", range(0, 90, 7))
def test_outlines_are_smooth(tilt: int) -> None:
    """An ellipse's outline turns once around; one along steps of pixels goes to and fro."""
    canvas = np.zeros((240, 320), np.uint8)
    cv2.ellipse(canvas, (160, 120), (110, 60), tilt, 0, 360, 1, -1)
    (polygon,) = mask_to_polygons(canvas > 0)
    assert _turning(polygon, 320, 240) < 365
    assert len(polygon) < 35
    assert _iou(polygons_to_mask([polygon], 240, 320), canvas > 0) > 0.99


def test_corners_stay_sharp() -> None:
    mask = np.zeros((60, 90), bool)
    mask[:40, 10:70] = True
    mask[20:, 50:90] = True
    (polygon,) = mask_to_polygons(mask)
    assert len(polygon) == 8
    assert np.array_equal(polygons_to_mask([polygon], 60, 90), mask)


def test_a_larger_tolerance_takes_fewer_points_and_stays_within_it() -> None:
    mask = _blobs(300, 400, 5)
    counts = []
    for tolerance in (0.5, 1.0, 2.0, 4.0):
        polygons = mask_to_polygons(mask, tolerance=tolerance, max_points=10_000, speck=0)
        counts.append(sum(map(len, polygons)))
        again = polygons_to_mask(polygons, 300, 400)
        depth = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 5)
        assert depth[again].max() <= tolerance + 1.5
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > 1.5 * counts[-1]
