from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.spatial.distance import cdist, pdist

from backend.learning.image_context import ImageContext
from backend.learning.spread import COVERED, spread

pytestmark = pytest.mark.unit

SIDE = 60


def hill(row: int, col: int) -> np.ndarray:
    """Scores that fall with the distance from a peak."""
    rows, cols = np.mgrid[:SIDE, :SIDE]
    return -np.hypot(rows - row, cols - col).astype(np.float32)


def radius(queries: int) -> float:
    return math.sqrt(COVERED * SIDE * SIDE / (math.pi * queries))


def asked_before(*pixels: tuple[int, int]) -> ImageContext:
    return ImageContext(lambda: pytest.fail("scores are enough"), np.array(pixels, dtype=np.int64))


def test_picks_keep_their_distance_and_come_best_first() -> None:
    scores = hill(30, 30)
    picked = spread(scores, 10, np.random.default_rng(0))
    assert picked[0].tolist() == [30, 30]
    assert pdist(picked).min() > radius(10)
    values = scores[picked[:, 0], picked[:, 1]]
    assert (np.diff(values) <= 0).all()
    assert values[1] == pytest.approx(-radius(10), abs=1.5), "as good as the distance allows"


def test_few_queries_are_further_apart_than_many() -> None:
    scores = hill(30, 30)
    few, many = (pdist(spread(scores, count, np.random.default_rng(0))).min() for count in (3, 30))
    assert few > 2 * many


def test_pixels_asked_before_keep_new_ones_away_and_count() -> None:
    before = ((30, 30), (5, 5))
    picked = spread(hill(30, 30), 4, np.random.default_rng(0), None, asked_before(*before))
    assert cdist(picked, np.array(before)).min() > radius(6)
    assert cdist(picked, np.array(before)).min() < radius(4), "six discs share the image"


def test_excluded_pixels_that_nobody_asked_keep_nothing_away() -> None:
    exclude = np.zeros((SIDE, SIDE), dtype=bool)
    exclude[30, 30] = True
    picked = spread(hill(30, 30), 3, np.random.default_rng(0), exclude)
    assert np.hypot(*(picked[0] - 30)) == 1.0


def test_discs_shrink_where_candidates_run_out() -> None:
    """All candidates lie in a corner that a single disc covers."""
    exclude = np.ones((SIDE, SIDE), dtype=bool)
    exclude[:6, :6] = False
    picked = spread(hill(0, 0), 8, np.random.default_rng(0), exclude)
    assert len({tuple(pixel) for pixel in picked.tolist()}) == 8
    assert picked.max() < 6
    assert pdist(picked).min() > 1.0, "still spread as far as there is room"


def test_discs_asked_before_may_cover_the_whole_image() -> None:
    everywhere = [(row, col) for row in range(0, SIDE, 3) for col in range(0, SIDE, 3)]
    exclude = np.zeros((SIDE, SIDE), dtype=bool)
    exclude[tuple(np.array(everywhere).T)] = True
    picked = spread(hill(30, 30), 5, np.random.default_rng(0), exclude, asked_before(*everywhere))
    assert len(picked) == 5
    assert not exclude[picked[:, 0], picked[:, 1]].any()
