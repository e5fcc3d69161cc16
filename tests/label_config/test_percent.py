from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from label_config.percent import centre, is_number, is_percent, to_index, to_pixels

pytestmark = pytest.mark.unit


@given(st.integers(1, 60_000).flatmap(lambda size: st.tuples(st.integers(0, size - 1), st.just(size))))
def test_centre_and_index_are_inverse(place: tuple[int, int]) -> None:
    index, size = place
    assert to_index(centre(index, size), size) == index


@pytest.mark.parametrize(
    ("percent", "expected"), [(0, 0), (99.99, 6), (100, 6), (-3, 0), (130, 6), (14.2857, 0)]
)
def test_index_is_floored_and_clamped(percent: float, expected: int) -> None:
    assert to_index(percent, 7) == expected


def test_pixels_are_distances_from_the_edge() -> None:
    assert to_pixels(50, 640) == 320
    assert to_pixels(100, 481) == 481


@pytest.mark.parametrize("value", [None, "1", True, float("nan"), float("inf"), [1]])
def test_what_is_no_number(value: object) -> None:
    assert not is_number(value)
    assert not is_percent(value)


def test_percent_has_limits() -> None:
    assert is_percent(0)
    assert is_percent(100)
    assert not is_percent(100.01)
    assert not is_percent(-0.01)
