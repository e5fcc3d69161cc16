"""Warnings about masks: hand-made shapes whose area, parts, holes and outline are known."""

from __future__ import annotations

import numpy as np
import pytest

from model_zoo.mask_quality import LOOK, QualityLimits, QualityWarning, check_mask

pytestmark = pytest.mark.unit
ANYTHING = QualityLimits(min_area=0, max_share=1.0, max_parts=0, max_holes=1.0, min_compactness=0.0)


def disk(height: int, width: int, row: float, col: float, radius: float) -> np.ndarray:
    rows, cols = np.mgrid[:height, :width]
    return np.hypot(rows - row, cols - col) < radius


def kinds(mask: np.ndarray, limits: QualityLimits | None = None) -> list[str]:
    return [warning.kind for warning in check_mask(mask, limits or QualityLimits())]


def only(mask: np.ndarray, **limits: float) -> QualityWarning:
    (warning,) = check_mask(mask, QualityLimits(**{**vars(ANYTHING), **limits}))
    return warning


def blank(height: int = 100, width: int = 120) -> np.ndarray:
    return np.zeros((height, width), dtype=np.bool_)


def test_an_ordinary_object_gives_no_warning() -> None:
    assert kinds(disk(100, 120, 50, 60, 30)) == []


def test_an_empty_mask_gives_none() -> None:
    assert kinds(blank()) == []
    assert check_mask(blank(), QualityLimits(10, 0.0, 1, 0.0, 1.0)) == ()


def test_a_speck_is_too_small() -> None:
    mask = blank()
    mask[5, 5:11] = True
    warning = only(mask, min_area=16)
    assert (warning.kind, warning.value) == ("area", 6.0)
    assert "only 6 pixels (usual: 16 or more)" in warning.message
    assert kinds(mask, QualityLimits(min_area=6, min_compactness=0)) == []


def test_the_whole_image_is_too_much() -> None:
    warning = only(np.ones((100, 120), dtype=np.bool_), max_share=0.99)
    assert (warning.kind, warning.value) == ("area", 12000.0)
    assert "100.0% of the image (usual: at most 99.0%)" in warning.message


def test_parts_that_touch_at_a_corner_are_one() -> None:
    mask = blank()
    for place in range(12):
        mask[4 * place : 4 * place + 4, 4 * place : 4 * place + 4] = True
    assert kinds(mask, QualityLimits(max_parts=1)) == []
    mask[::4] = False
    warning = only(mask, max_parts=11)
    assert (warning.kind, warning.value) == ("parts", 12.0)
    assert "12 parts (usual: at most 11)" in warning.message


def test_holes_count_and_bays_do_not() -> None:
    mask = blank()
    mask[10:50, 10:50] = True
    mask[20:40, 20:40] = False
    warning = only(mask, max_holes=0.2)
    assert (warning.kind, warning.value) == ("holes", pytest.approx(400 / 1600))
    assert "holes make up 25% of it (usual: at most 20%)" in warning.message
    mask[30, :20] = False
    assert check_mask(mask, QualityLimits(**{**vars(ANYTHING), "max_holes": 0.0})) == ()


def test_a_hole_is_closed_by_pixels_that_touch_at_corners() -> None:
    mask = blank()
    mask[10:13, 10:13] = True
    mask[11, 11] = mask[10, 10] = False
    assert only(mask, max_holes=0.0).value == pytest.approx(1 / 8)


@pytest.mark.parametrize(
    ("mask", "least", "most"),
    [
        (disk(200, 200, 100, 100, 80), 0.85, 1.0),
        (np.pad(np.ones((1, 1), dtype=np.bool_), 3), 0.99, 1.001),
        (np.pad(np.ones((80, 80), dtype=np.bool_), 3), 0.75, 0.8),
        (np.pad(np.ones((1, 200), dtype=np.bool_), 3), 0.0, 0.02),
    ],
    ids=["disk", "pixel", "square", "line"],
)
def test_compactness_of_known_shapes(mask: np.ndarray, least: float, most: float) -> None:
    warning = only(mask, min_compactness=2.0)
    assert warning.kind == "compactness"
    assert least <= warning.value <= most


def test_the_outline_is_that_of_the_largest_part_with_its_holes_filled() -> None:
    whole = disk(200, 200, 100, 100, 80)
    mask = whole & ~disk(200, 200, 100, 100, 60)
    mask[5, 0:60] = True
    assert only(mask, min_compactness=2.0).value == only(whole, min_compactness=2.0).value


def test_a_comb_is_frayed() -> None:
    mask = blank(200, 400)
    mask[90:100, :] = True
    mask[20:90, ::4] = True
    assert kinds(mask) == ["compactness"]


def test_several_warnings_come_in_order() -> None:
    rng = np.random.default_rng(0)
    limits = QualityLimits(min_area=100_000, max_parts=5, max_holes=0.01, min_compactness=0.5)
    assert kinds(rng.random((100, 120)) < 0.5, limits) == ["area", "parts", "holes", "compactness"]


def test_large_masks_are_judged_as_small_ones_are() -> None:
    small = disk(300, 400, 150, 200, 120) & ~disk(300, 400, 150, 200, 70)
    large = disk(1200, 1600, 600, 800, 480) & ~disk(1200, 1600, 600, 800, 280)
    assert max(large.shape) > LOOK
    for limits in ({"min_compactness": 2.0}, {"max_holes": 0.1}):
        assert only(large, **limits).value == pytest.approx(only(small, **limits).value, rel=0.03)


def test_a_thin_line_in_a_large_image_is_one_part() -> None:
    mask = np.zeros((2400, 3200), dtype=np.bool_)
    rows = np.arange(2400)
    for offset in range(4):
        mask[rows, rows + offset] = True
    assert kinds(mask) == ["compactness"]


@pytest.mark.parametrize("shape", [(1, 1), (1, 700), (3, 2000), (2000, 1)])
def test_extreme_shapes(shape: tuple[int, int]) -> None:
    mask = np.ones(shape, dtype=np.bool_)
    for warning in check_mask(mask, QualityLimits(10**9, 0.5, 1, 0.0, 2.0)):
        assert np.isfinite(warning.value)
    assert check_mask(mask, ANYTHING) == ()


def test_any_memory_layout_will_do() -> None:
    mask = disk(120, 100, 50, 60, 30)
    limits = QualityLimits(min_area=10**6, min_compactness=2.0)
    assert check_mask(mask.T, limits) == check_mask(np.ascontiguousarray(mask.T), limits)
    assert check_mask(mask[::2, ::3], limits) == check_mask(mask[::2, ::3].copy(), limits)
