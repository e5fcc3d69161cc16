from __future__ import annotations

import numpy as np
import pytest

from model_zoo.prompt import Box, Click, Prompt
from model_zoo.segmenters.base import Mask
from model_zoo.segmenters.suggestion import CLEARANCE, suggest_click

pytestmark = pytest.mark.unit
HEIGHT, WIDTH = 96, 128
FAR = Prompt((Click(5, 5),))


def mask(logits: np.ndarray, uncertainty: np.ndarray | None = None) -> Mask:
    return Mask(
        logits.astype(np.float32), 0.5, None if uncertainty is None else uncertainty.astype(np.float32)
    )


def with_patch(value: float) -> np.ndarray:
    """Logits -6 with a rectangle, rows 30 to 50 and columns 60 to 100, of another value."""
    logits = np.full((HEIGHT, WIDTH), -6.0)
    logits[30:51, 60:101] = value
    return logits


def test_the_middle_of_the_least_sure_region_is_asked_about() -> None:
    asked = suggest_click(mask(with_patch(0.1)), FAR)
    assert asked is not None
    assert asked.positive
    assert abs(asked.row - 40.5) <= 1
    assert 70 <= asked.col <= 91
    assert asked == suggest_click(mask(with_patch(0.1)), FAR)


def test_uncertainty_counts_more_than_logits_where_there_is_one() -> None:
    uncertainty = np.zeros((HEIGHT, WIDTH))
    uncertainty[80:91, 20:31] = 0.9
    asked = suggest_click(mask(with_patch(0.1), uncertainty), FAR)
    assert asked == Click(85.5, 25.5)


def test_of_two_regions_the_less_sure_one_is_asked_about() -> None:
    logits = with_patch(-1.5)
    logits[80:91, 20:31] = 0.5
    asked = suggest_click(mask(logits), FAR)
    assert asked is not None
    assert asked == Click(85.5, 25.5)


def test_nothing_is_asked_near_a_click() -> None:
    logits = np.full((HEIGHT, WIDTH), -6.0)
    logits[40:45, 60:65] = 0.0
    assert suggest_click(mask(logits), FAR) is not None
    assert suggest_click(mask(logits), Prompt((Click(42, 62),))) is None
    flat = np.zeros((HEIGHT, WIDTH))
    asked, clicks = suggest_click(mask(flat), FAR), FAR.clicks
    for _ in range(5):
        assert asked is not None
        distances = [np.hypot(asked.row - click.row, asked.col - click.col) for click in clicks]
        assert min(distances) >= CLEARANCE * WIDTH
        clicks = (*clicks, asked)
        asked = suggest_click(mask(flat), Prompt(clicks))


def test_without_a_click_or_without_doubt_nothing_is_asked() -> None:
    assert suggest_click(mask(with_patch(0.0)), Prompt()) is None
    assert suggest_click(mask(with_patch(0.0)), Prompt(box=Box(0, 0, 9, 9))) is None
    assert suggest_click(mask(with_patch(6.0)), FAR) is None


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (3, 200), (700, 2), (960, 1280)])
def test_what_is_asked_lies_in_the_image(shape: tuple[int, int]) -> None:
    for clicks in ((Click(0, 0),), (Click(*shape, positive=False),)):
        asked = suggest_click(mask(np.zeros(shape)), Prompt(clicks))
        if shape == (1, 1):
            assert asked is None
        else:
            assert asked is not None
            assert 0 <= asked.row < shape[0]
            assert 0 <= asked.col < shape[1]


def test_the_surest_of_logits_overflow_nothing() -> None:
    logits = with_patch(0.1) * 1e4
    logits[30:51, 60:101] = 0.1
    asked = suggest_click(mask(logits), FAR)
    assert asked == suggest_click(mask(with_patch(0.1)), FAR)
