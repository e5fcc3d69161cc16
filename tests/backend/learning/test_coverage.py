from __future__ import annotations

import numpy as np
import pytest

from backend.learning.coverage import coverage
from backend.learning.image_context import ImageContext
from tests.backend.learning.simulated_toys import ColourGrid

pytestmark = pytest.mark.unit

SIZE = 40, 60
SCORES = np.zeros(SIZE, dtype=np.float32)
NONE = np.empty((0, 2), dtype=np.int64)


def picture() -> np.ndarray:
    """Black, but for a white square and a blue one, each of 1 % of the image."""
    image = np.zeros((*SIZE, 3), dtype=np.uint8)
    image[4:8, 4:10] = 255
    image[30:34, 50:56] = (0, 0, 255)
    return image


def colours(picked: np.ndarray) -> list[tuple[int, ...]]:
    return [tuple(colour) for colour in picture()[picked[:, 0], picked[:, 1]].tolist()]


def pick(count: int, seed: int, exclude: np.ndarray | None = None, asked: np.ndarray = NONE) -> np.ndarray:
    context = ImageContext(picture, asked, ColourGrid())
    return coverage(SCORES, count, np.random.default_rng(seed), exclude, context)


def test_what_differs_is_found_at_once() -> None:
    """Three random pixels would find all three colours once in more than a thousand times."""
    for seed in range(20):
        assert len(set(colours(pick(3, seed)))) == 3


def test_the_first_pixel_is_a_random_one() -> None:
    firsts = [colours(pick(1, seed))[0] for seed in range(60)]
    assert firsts.count((0, 0, 0)) > 50


def test_the_chance_goes_with_the_squared_distance() -> None:
    """From black, white is three times as far as blue, in squares; both are equally large."""
    asked = np.array([[20, 30]])
    seconds = [colours(pick(1, seed, asked=asked))[0] for seed in range(400)]
    assert (0, 0, 0) not in seconds
    assert seconds.count((255, 255, 255)) / 400 == pytest.approx(0.75, abs=0.07)


def test_what_was_asked_before_is_covered_already() -> None:
    asked = np.array([[20, 30], [5, 5]])
    for seed in range(20):
        assert colours(pick(1, seed, asked=asked)) == [(0, 0, 255)]


def test_in_the_chosen_cell_any_allowed_pixel_may_come() -> None:
    exclude = np.ones(SIZE, dtype=bool)
    exclude[4:6, 4:6] = False
    exclude[5, 5] = True
    seen = {tuple(pick(1, seed, exclude)[0].tolist()) for seed in range(60)}
    assert seen == {(4, 4), (4, 5), (5, 4)}


def test_cells_without_candidates_are_never_chosen() -> None:
    exclude = picture()[..., 2] == 255
    for seed in range(20):
        assert set(colours(pick(5, seed, exclude))) == {(0, 0, 0)}


def test_where_nothing_new_is_left_any_pixel_may_come() -> None:
    asked = np.array([[20, 30], [5, 5], [31, 51]])
    picked = pick(30, 0, asked=asked)
    assert len({tuple(pixel) for pixel in picked.tolist()}) == 30


def test_scores_do_not_matter() -> None:
    context = ImageContext(picture, frozen=ColourGrid())
    ramp = np.arange(SCORES.size, dtype=np.float32).reshape(SIZE)
    one, other = (coverage(scores, 6, np.random.default_rng(1), None, context) for scores in (SCORES, ramp))
    np.testing.assert_array_equal(one, other)


def test_without_features_pixels_are_random() -> None:
    class Missing(ColourGrid):
        def grid(self, image: np.ndarray) -> None:  # noqa: ARG002
            return None

    context = ImageContext(picture, frozen=Missing())
    exclude = np.zeros(SIZE, dtype=bool)
    exclude[:, :30] = True
    picked = np.concatenate(
        [coverage(SCORES, 10, np.random.default_rng(seed), exclude, context) for seed in range(20)]
    )
    assert picked[:, 1].min() >= 30
    assert len(np.unique(picked[:, 0])) > 30


def test_no_pixel_wanted_costs_no_encoder_pass() -> None:
    frozen = ColourGrid()
    assert coverage(
        SCORES, 0, np.random.default_rng(0), None, ImageContext(picture, frozen=frozen)
    ).shape == (0, 2)
    assert frozen.images == 0
