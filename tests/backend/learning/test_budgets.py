from __future__ import annotations

import numpy as np
import pytest

from backend.learning.budgets import LEAST, MOST, allocate, get_over, mean_uncertainty, share

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("usual", [1, 4, 5, 10])
@pytest.mark.parametrize("images", [1, 2, 3, 50])
def test_the_whole_queue_gets_exactly_its_budget_within_the_bounds(usual: int, images: int) -> None:
    for seed in range(30):
        rng = np.random.default_rng(seed)
        uncertainties = rng.random(images) ** rng.integers(1, 30)
        uncertainties[rng.random(images) < 0.2] = 0.0
        counts = allocate(uncertainties.tolist(), usual)
        assert counts.sum() == usual * images
        assert counts.min() >= np.floor(LEAST * usual)
        assert counts.max() <= MOST * usual
        ordered = counts[np.argsort(uncertainties, kind="stable")]
        assert (np.diff(ordered) >= -1).all(), "the less sure of two images gets no fewer, rounding aside"


def test_within_the_bounds_numbers_are_proportional() -> None:
    assert allocate([0.2, 0.3, 0.4, 0.3], 10).tolist() == [7, 10, 13, 10]
    assert allocate([0.3, 0.3, 0.3], 7).tolist() == [7, 7, 7]


def test_what_the_bounds_take_goes_to_the_others() -> None:
    assert allocate([0.0, 0.0, 1.0], 10).tolist() == [5, 5, 20]
    assert allocate([1.0, 1.0, 0.0], 10).tolist() == [13, 12, 5], "of equal remainders the first"
    assert allocate([0.0, 0.0, 0.0], 10).tolist() == [10, 10, 10]
    assert allocate([0.01] * 9 + [1.0], 10).tolist() == [9] * 8 + [8, 20]


def test_a_task_gets_its_share_of_what_was_seen_so_far() -> None:
    assert share(10, 0.3, None) == 10
    assert share(10, 0.3, 0.0) == 10
    assert share(10, 0.3, 0.2) == 15
    assert share(10, 0.9, 0.2) == 20
    assert share(10, 0.01, 0.2) == 5
    assert share(15, 0.9, 0.2) == 20, "no task gets more"
    assert share(1, 0.01, 0.2) == 1
    assert share(4, 0.9, 0.2, most=6) == 6


def test_the_mean_uncertainty_of_the_tasks_that_a_learner_has_seen() -> None:
    assert mean_uncertainty([]) is None
    assert mean_uncertainty([0.0, 0.0]) is None
    assert mean_uncertainty([0.0, 0.8, 0.6, 0.1]) == pytest.approx(0.5)


def test_unknown_budgets() -> None:
    assert get_over("queue") == "queue"
    with pytest.raises(
        ValueError, match=r"unknown budget 'queu': expected one of image, queue; did you mean 'queue'"
    ):
        get_over("queu")
