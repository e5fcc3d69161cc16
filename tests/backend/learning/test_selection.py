from __future__ import annotations

import numpy as np
import pytest

from backend.learning.selection import SELECTIONS, get_selection, task_uncertainty

pytestmark = pytest.mark.unit

HEIGHT, WIDTH = 20, 30


def ramp() -> np.ndarray:
    """Every pixel a score of its own, the best at the bottom right."""
    return np.arange(HEIGHT * WIDTH, dtype=np.float32).reshape(HEIGHT, WIDTH)


def as_set(pixels: np.ndarray) -> set[tuple[int, int]]:
    return {(int(row), int(col)) for row, col in pixels}


@pytest.mark.parametrize("name", sorted(SELECTIONS))
@pytest.mark.parametrize("count", [0, 1, 10, 31, HEIGHT * WIDTH])
def test_the_budget_is_exact_and_pixels_are_distinct(name: str, count: int) -> None:
    pixels = get_selection(name)(ramp(), count, np.random.default_rng(0), None)
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
    pixels = get_selection(name)(scores, 10, np.random.default_rng(0), exclude)
    assert as_set(pixels) == wanted


@pytest.mark.parametrize("name", sorted(SELECTIONS))
def test_excluded_pixels_are_never_picked(name: str) -> None:
    exclude = np.zeros((HEIGHT, WIDTH), dtype=bool)
    exclude[10:] = True
    for seed in range(20):
        pixels = get_selection(name)(ramp(), 25, np.random.default_rng(seed), exclude)
        assert len(pixels) == 25
        assert not exclude[pixels[:, 0], pixels[:, 1]].any()


@pytest.mark.parametrize("name", sorted(SELECTIONS))
def test_nothing_to_ask(name: str) -> None:
    everything = np.ones((HEIGHT, WIDTH), dtype=bool)
    assert get_selection(name)(ramp(), 5, np.random.default_rng(0), everything).shape == (0, 2)


@pytest.mark.parametrize("name", sorted(SELECTIONS))
def test_same_seed_same_pixels(name: str) -> None:
    scores = np.zeros((HEIGHT, WIDTH), dtype=np.float32)
    pick = get_selection(name)
    first = pick(scores, 8, np.random.default_rng(3), None)
    np.testing.assert_array_equal(first, pick(scores, 8, np.random.default_rng(3), None))
    assert as_set(first) != as_set(pick(scores, 8, np.random.default_rng(4), None))


@pytest.mark.parametrize("name", sorted(SELECTIONS))
def test_inputs_are_left_alone(name: str) -> None:
    scores, exclude = ramp(), np.zeros((HEIGHT, WIDTH), dtype=bool)
    exclude[0, 0] = True
    get_selection(name)(scores, 8, np.random.default_rng(3), exclude)
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
def test_malformed_calls(scores: np.ndarray, count: int, exclude: np.ndarray | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        get_selection("top")(scores, count, np.random.default_rng(0), exclude)


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"unknown selection 'top10'.*top, top5"):
        get_selection("top10")


def test_task_uncertainty_takes_scores_or_probabilities() -> None:
    probs = np.array([[[1.0, 0.7]], [[0.0, 0.2]], [[0.0, 0.1]]], dtype=np.float32)
    scores = np.array([[0.0, 0.5]])
    assert task_uncertainty(probs) == pytest.approx(0.25, abs=1e-6)
    assert task_uncertainty(scores) == pytest.approx(0.25, abs=1e-6)
    assert task_uncertainty(np.full((2, 2), 1.0 + 1e-6)) == 1.0
    with pytest.raises(ValueError, match="at least one pixel"):
        task_uncertainty(np.zeros((0, 3)))
