from __future__ import annotations

from typing import get_args

import numpy as np
import pytest

from backend.learning.budgets import OVER
from backend.learning.image_context import ImageContext
from backend.learning.selection import SELECTIONS, get_initial, get_selection, task_uncertainty
from backend.settings import Settings
from tests.backend.learning.simulated_toys import ColourGrid
from tests.model_zoo.learners.learner_pictures import stripes

pytestmark = pytest.mark.unit

HEIGHT, WIDTH = 20, 30


def ramp() -> np.ndarray:
    """Every pixel a score of its own, the best at the bottom right."""
    return np.arange(HEIGHT * WIDTH, dtype=np.float32).reshape(HEIGHT, WIDTH)


def context() -> ImageContext:
    return ImageContext(lambda: stripes(HEIGHT, WIDTH)[0], frozen=ColourGrid())


def as_set(pixels: np.ndarray) -> set[tuple[int, int]]:
    return {(int(row), int(col)) for row, col in pixels}


@pytest.mark.parametrize("name", sorted(SELECTIONS))
@pytest.mark.parametrize("count", [0, 1, 10, 31, HEIGHT * WIDTH])
def test_the_budget_is_exact_and_pixels_are_distinct(name: str, count: int) -> None:
    pixels = get_selection(name)(ramp(), count, np.random.default_rng(0), None, context())
    assert pixels.dtype == np.int64
    assert pixels.shape == (count, 2)
    assert len(as_set(pixels)) == count


@pytest.mark.parametrize("name", sorted(SELECTIONS))
@pytest.mark.parametrize("background", [0.0, -np.inf, np.nan])
def test_fewer_candidates_than_the_budget(name: str, background: float) -> None:
    scores = np.full((HEIGHT, WIDTH), background, dtype=np.float32)
    exclude = np.ones((HEIGHT, WIDTH), dtype=bool)
    wanted = {(3, 4), (10, 29), (19, 0)}
    for row, col in wanted:
        exclude[row, col] = False
        scores[row, col] = 0.5
    pixels = get_selection(name)(scores, 10, np.random.default_rng(0), exclude, context())
    assert as_set(pixels) == wanted


@pytest.mark.parametrize("name", sorted(SELECTIONS))
def test_excluded_pixels_are_never_picked(name: str) -> None:
    exclude = np.zeros((HEIGHT, WIDTH), dtype=bool)
    exclude[10:] = True
    for seed in range(20):
        pixels = get_selection(name)(ramp(), 25, np.random.default_rng(seed), exclude, context())
        assert len(pixels) == 25
        assert not exclude[pixels[:, 0], pixels[:, 1]].any()


@pytest.mark.parametrize("name", sorted(SELECTIONS))
def test_nothing_to_ask(name: str) -> None:
    everything = np.ones((HEIGHT, WIDTH), dtype=bool)
    picked = get_selection(name)(ramp(), 5, np.random.default_rng(0), everything, context())
    assert picked.shape == (0, 2)


@pytest.mark.parametrize("name", sorted(SELECTIONS))
def test_same_seed_same_pixels(name: str) -> None:
    scores = np.zeros((HEIGHT, WIDTH), dtype=np.float32)
    pick = get_selection(name)
    first = pick(scores, 8, np.random.default_rng(3), None, context())
    np.testing.assert_array_equal(first, pick(scores, 8, np.random.default_rng(3), None, context()))
    assert as_set(first) != as_set(pick(scores, 8, np.random.default_rng(4), None, context()))


@pytest.mark.parametrize("name", sorted(SELECTIONS))
def test_inputs_are_left_alone(name: str) -> None:
    scores, exclude = ramp(), np.zeros((HEIGHT, WIDTH), dtype=bool)
    exclude[0, 0] = True
    get_selection(name)(scores, 8, np.random.default_rng(3), exclude, context())
    np.testing.assert_array_equal(scores, ramp())
    assert exclude.sum() == 1


def test_top_is_best_first() -> None:
    pixels = get_selection("top")(ramp(), 3, np.random.default_rng(0), None)
    assert pixels.tolist() == [[19, 29], [19, 28], [19, 27]]


def test_top_spreads_over_ties() -> None:
    pixels = get_selection("top")(np.zeros((100, 100), np.float32), 20, np.random.default_rng(0), None)
    assert len(set(pixels[:, 0].tolist())) > 10


def test_top5_draws_from_the_best_twentieth_only_and_from_all_of_it() -> None:
    pool = {divmod(index, WIDTH) for index in range(HEIGHT * WIDTH * 95 // 100, HEIGHT * WIDTH)}
    seen: set[tuple[int, int]] = set()
    for seed in range(40):
        picked = as_set(get_selection("top5")(ramp(), 5, np.random.default_rng(seed), None))
        assert picked <= pool
        seen |= picked
    assert seen == pool


def test_top5_is_not_simply_the_top() -> None:
    best = as_set(get_selection("top")(ramp(), 5, np.random.default_rng(0), None))
    assert as_set(get_selection("top5")(ramp(), 5, np.random.default_rng(0), None)) != best


@pytest.mark.parametrize(
    ("scores", "count", "exclude", "message"),
    [
        (np.zeros((2, 3, 4)), 1, None, r"\(2, 3, 4\); expected \(H, W\)"),
        (np.zeros((3, 4)), -1, None, "-1 pixels asked for"),
        (
            np.zeros((3, 4)),
            1,
            np.zeros((4, 3), dtype=bool),
            r"\(4, 3\), expected that of the scores, \(3, 4\)",
        ),
    ],
)
@pytest.mark.parametrize("name", sorted(SELECTIONS))
def test_malformed_calls(
    name: str, scores: np.ndarray, count: int, exclude: np.ndarray | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        get_selection(name)(scores, count, np.random.default_rng(0), exclude, context())


def test_what_needs_the_image_says_so() -> None:
    with pytest.raises(ValueError, match="selection 'coverage' got scores only; expected a context"):
        get_selection("coverage")(ramp(), 1, np.random.default_rng(0), None)


@pytest.mark.parametrize("name", ["top", "top5"])
def test_what_needs_no_image_reads_none(name: str) -> None:
    unread = ImageContext(lambda: pytest.fail("the image was read"), frozen=ColourGrid())
    assert len(get_selection(name)(ramp(), 5, np.random.default_rng(0), None, unread)) == 5


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"unknown selection 'top10'.*top, top5; did you mean 'top"):
        get_selection("top10")
    with pytest.raises(ValueError, match=r"unknown initial selection 'radnom'.*did you mean 'random'"):
        get_initial("radnom")


def test_every_setting_is_a_strategy() -> None:
    fields = Settings.model_fields
    assert set(get_args(fields["selection"].annotation)) <= set(SELECTIONS)
    assert all(get_initial(name) for name in get_args(fields["initial"].annotation))
    assert get_args(fields["budget"].annotation) == OVER


def test_the_first_pixels_are_random_ones_of_the_noise() -> None:
    picked = get_initial("random")(ramp(), 3, np.random.default_rng(0), None)
    assert picked.tolist() == [[19, 29], [19, 28], [19, 27]]
    assert get_initial("coverage") is get_selection("coverage")


def test_task_uncertainty_takes_scores_or_probabilities() -> None:
    probs = np.array([[[1.0, 0.7]], [[0.0, 0.2]], [[0.0, 0.1]]], dtype=np.float32)
    scores = np.array([[0.0, 0.5]])
    assert task_uncertainty(probs) == pytest.approx(0.25, abs=1e-6)
    assert task_uncertainty(scores) == pytest.approx(0.25, abs=1e-6)
    assert task_uncertainty(np.full((2, 2), 1.0 + 1e-6)) == 1.0
    with pytest.raises(ValueError, match="at least one pixel"):
        task_uncertainty(np.zeros((0, 3)))
