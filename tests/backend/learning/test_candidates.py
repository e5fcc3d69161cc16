from __future__ import annotations

import numpy as np
import pytest

from backend.learning.candidates import best, best_first, candidates, cells_of_pixels, to_pixels

pytestmark = pytest.mark.unit


def test_what_is_excluded_or_has_no_score_is_no_candidate() -> None:
    scores = np.array([[0.0, np.nan, -np.inf], [np.inf, -5.0, 1.0]], dtype=np.float32)
    exclude = np.zeros((2, 3), dtype=bool)
    exclude[1, 2] = True
    assert candidates(scores, 1, exclude).tolist() == [0, 3, 4]
    assert candidates(scores, 1, None).tolist() == [0, 3, 4, 5]


def test_ties_at_the_border_are_broken_at_random() -> None:
    scores = np.array([[2.0, 1.0, 1.0, 1.0, 0.0]], dtype=np.float32)
    seen = {tuple(sorted(best(scores, 2, np.random.default_rng(seed), None).tolist())) for seed in range(40)}
    assert seen == {(0, 1), (0, 2), (0, 3)}


def test_best_first_orders_and_mixes_ties() -> None:
    values = np.array([1.0, 3.0, 3.0, 0.0])
    orders = {
        tuple(best_first(values, np.arange(4), np.random.default_rng(seed)).tolist()) for seed in range(20)
    }
    assert orders == {(1, 2, 0, 3), (2, 1, 0, 3)}


def test_a_grid_lies_evenly_over_the_image() -> None:
    cells = cells_of_pixels((2, 3), (4, 7)).reshape(4, 7)
    assert cells[0].tolist() == [0, 0, 0, 1, 1, 2, 2]
    assert cells[:, 0].tolist() == [0, 0, 3, 3]
    assert to_pixels(np.array([0, 13]), (4, 7)).tolist() == [[0, 0], [1, 6]]
