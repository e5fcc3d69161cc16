from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from model_zoo.prompt import Click
from model_zoo.segmenters.repair import COMPONENT_REACH, honour_clicks

pytestmark = pytest.mark.unit

MAPS = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=40),
    elements=st.floats(-8, 8, width=32),
)
CLICKS = st.lists(st.builds(Click, st.floats(-2, 42), st.floats(-2, 42), st.booleans()), max_size=12)


@settings(max_examples=200, deadline=None)
@given(MAPS, CLICKS)
def test_every_click_has_its_sign_and_the_rest_is_near(logits: np.ndarray, clicks: list[Click]) -> None:
    before = logits.copy()
    repaired, count = honour_clicks(logits, clicks)
    signs = {click.pixel(*logits.shape): click.positive for click in clicks}
    wrong = [pixel for pixel, positive in signs.items() if bool(before[pixel] > 0) != positive]
    assert count == len(wrong)
    assert all(bool(repaired[pixel] > 0) == positive for pixel, positive in signs.items())
    assert (logits == before).all()
    assert repaired.dtype == np.float32
    assert np.isfinite(repaired).all()
    reach = max(2.0, COMPONENT_REACH * max(logits.shape)) * np.sqrt(2)
    for row, col in np.argwhere((repaired > 0) != (before > 0)):
        assert min(np.hypot(row - r, col - c) for r, c in wrong) <= reach


@settings(max_examples=50, deadline=None)
@given(MAPS, CLICKS)
def test_repairing_twice_is_repairing_once(logits: np.ndarray, clicks: list[Click]) -> None:
    repaired, _ = honour_clicks(logits, clicks)
    again, count = honour_clicks(repaired, clicks)
    assert count == 0
    assert again is repaired


def test_a_small_island_goes_as_a_whole_and_nothing_else() -> None:
    logits = np.full((100, 100), -2.0, dtype=np.float32)
    logits[40:45, 40:46] = 3.0
    logits[70:90, 70:90] = 3.0
    repaired, count = honour_clicks(logits, [Click(42.5, 43.5, positive=False)])
    assert count == 1
    assert not (repaired[30:60, 30:60] > 0).any()
    assert (repaired[70:90, 70:90] == 3.0).all()


def test_a_small_hole_is_filled() -> None:
    logits = np.full((100, 100), 2.0, dtype=np.float32)
    logits[40:45, 40:46] = -3.0
    assert (honour_clicks(logits, [Click(42.5, 43.5)])[0] > 0).all()


def test_a_large_region_only_gets_a_bump() -> None:
    logits = np.full((200, 200), 2.0, dtype=np.float32)
    repaired, count = honour_clicks(logits, [Click(100.5, 100.5, positive=False)])
    changed = int((repaired <= 0).sum())
    assert count == 1
    assert 1 <= changed <= 40


def test_an_island_that_another_click_wants_stays() -> None:
    logits = np.full((100, 100), -2.0, dtype=np.float32)
    logits[40:45, 40:46] = 3.0
    clicks = [Click(41.5, 41.5), Click(43.5, 44.5, positive=False)]
    repaired, _ = honour_clicks(logits, clicks)
    assert repaired[41, 41] > 0 >= repaired[43, 44]


def test_of_two_clicks_on_a_pixel_the_later_wins() -> None:
    logits = np.zeros((5, 5), dtype=np.float32)
    assert honour_clicks(logits, [Click(2.1, 2.1), Click(2.9, 2.9, positive=False)])[1] == 0
    repaired, count = honour_clicks(logits, [Click(2.1, 2.1, positive=False), Click(2.9, 2.9)])
    assert count == 1
    assert repaired[2, 2] > 0
