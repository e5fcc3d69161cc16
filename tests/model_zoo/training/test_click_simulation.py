from __future__ import annotations

import numpy as np
import pytest

from model_zoo.training.click_simulation import (
    ClickPolicy,
    correction,
    first_clicks,
    inner_distance,
    inner_pixel,
    loose_box,
    stroke_points,
)

pytestmark = pytest.mark.unit
ROWS, COLS = np.mgrid[:60, :80]
DISK = np.hypot(ROWS - 30, COLS - 40) < 18
ALL = np.ones_like(DISK)
SEEDS = range(40)


def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_the_outside_of_the_image_is_outside() -> None:
    distance = inner_distance(np.ones((5, 5), dtype=bool))
    assert distance[0, 0] == pytest.approx(1.0, abs=0.05)
    assert distance[2, 2] == pytest.approx(3.0, abs=0.1)
    assert inner_pixel(inner_distance(np.zeros((5, 5), dtype=bool)), rng(0)) is None


def test_the_first_click_is_on_the_object() -> None:
    for seed in SEEDS:
        (click,) = first_clicks(DISK, ALL, ClickPolicy(single=1.0), rng(seed))
        assert click.positive
        assert DISK[click.pixel(60, 80)]


def test_further_clicks_are_on_their_side_and_where_pixels_count() -> None:
    valid = COLS < 70
    policy = ClickPolicy(single=0.0, positive_decay=0.9, negative_decay=0.9)
    signs = set()
    for seed in SEEDS:
        clicks = first_clicks(DISK, valid, policy, rng(seed))
        assert len(clicks) <= 2 * policy.most
        for click in clicks:
            signs.add(click.positive)
            pixel = click.pixel(60, 80)
            assert DISK[pixel] == click.positive
            assert valid[pixel]
    assert signs == {True, False}


def test_a_correction_is_deep_inside_the_larger_error() -> None:
    missed = COLS < 40  # the right half of the disk is predicted, and a small false square
    predicted = (DISK & ~missed) | ((ROWS < 6) & (COLS < 6))
    depth = inner_distance(DISK & missed)
    for seed in SEEDS:
        click = correction(predicted, DISK, ALL, rng(seed))
        assert click is not None
        assert click.positive
        assert depth[click.pixel(60, 80)] > 0.5 * depth.max()


def test_a_false_object_is_clicked_negatively_and_ignored_pixels_are_not() -> None:
    false = (ROWS >= 50) & (COLS >= 60)
    for seed in SEEDS:
        click = correction(DISK | false, DISK, ALL, rng(seed))
        assert click is not None
        assert not click.positive
        assert false[click.pixel(60, 80)]
        assert correction(DISK | false, DISK, ~false, rng(seed)) is None
    assert correction(DISK, DISK, ALL, rng(0)) is None


def test_boxes_are_loose_by_a_tenth() -> None:
    rows, cols = np.flatnonzero(DISK.any(axis=1)), np.flatnonzero(DISK.any(axis=0))
    height, width = rows[-1] - rows[0] + 1, cols[-1] - cols[0] + 1
    boxes = [loose_box(DISK, rng(seed)) for seed in SEEDS]
    for box in boxes:
        assert abs(box.top - rows[0]) <= 0.1 * height
        assert abs(box.bottom - rows[-1] - 1) <= 0.1 * height
        assert abs(box.left - cols[0]) <= 0.1 * width
        assert abs(box.right - cols[-1] - 1) <= 0.1 * width
    assert len({box.top for box in boxes}) > 30


def test_strokes_stay_on_the_object() -> None:
    ring = DISK & (np.hypot(ROWS - 30, COLS - 40) > 10)
    lengths = set()
    for seed in SEEDS:
        points = stroke_points(ring, rng(seed))
        lengths.add(len(points))
        assert points
        assert all(ring[int(row), int(col)] for row, col in points)
    assert max(lengths) == 16
    assert min(lengths) < 16
    assert stroke_points(np.zeros_like(DISK), rng(0)) == ()
