"""Strokes as clicks."""

from __future__ import annotations

import numpy as np
import pytest

from model_zoo.prompt import Stroke
from model_zoo.segmenters.stroke_points import MOST, stroke_clicks

pytestmark = pytest.mark.unit
LINE = ((10.0, 10.0), (10.0, 110.0))


@pytest.mark.parametrize(
    ("points", "radius", "expected"),
    [
        (((5.0, 7.0),), 3.0, 1),
        (((5.0, 7.0), (5.0, 7.0)), 3.0, 1),
        (((5.0, 7.0), (5.0, 9.0)), 3.0, 1),
        (LINE, 1.0, MOST),
        (LINE, 10.0, 5),
        (LINE, 0.0, MOST),
        ((), 3.0, 0),
    ],
)
def test_how_many(points: tuple[tuple[float, float], ...], radius: float, expected: int) -> None:
    clicks = stroke_clicks([Stroke(points, positive=True, radius=radius)])
    assert len(clicks) == expected
    assert all(click.positive for click in clicks)


def test_they_lie_on_the_line_and_are_spread_evenly() -> None:
    clicks = stroke_clicks([Stroke(LINE, positive=False, radius=10.0)])
    assert [click.row for click in clicks] == [10.0] * 5
    assert [click.col for click in clicks] == pytest.approx([20.0, 40.0, 60.0, 80.0, 100.0])
    assert not any(click.positive for click in clicks)


def test_a_bent_line_is_followed() -> None:
    bent = Stroke(((0.0, 0.0), (0.0, 10.0), (30.0, 10.0)), positive=True, radius=1.0)
    for click in stroke_clicks([bent]):
        assert click.row == 0.0 or click.col == 10.0


def test_many_strokes_share_and_every_one_says_something() -> None:
    strokes = [Stroke(tuple(np.add(LINE, row)), positive=True, radius=1.0) for row in range(20)]
    assert len(stroke_clicks(strokes[:2])) == MOST
    assert len(stroke_clicks(strokes)) == 20
    opposite = Stroke(LINE, positive=False, radius=1.0)
    assert [click.positive for click in stroke_clicks([*strokes[:2], opposite])].count(False) == MOST
