"""Charts are well-formed SVG whose places follow the numbers."""

from __future__ import annotations

from itertools import pairwise
from xml.etree import ElementTree

import pytest

from backend.status.charts import HEIGHT, WIDTH, count_bar, interval_bar, learning_curve
from backend.status.forecast import Forecast, Point

pytestmark = pytest.mark.unit

POINTS = [Point(20, 0.4, 1), Point(40, 0.55, 2), Point(60, 0.6, 3)]
AHEAD = Forecast(80, 0.63, 0.58, 0.68, 0.02)


def circles(svg: str) -> list[tuple[float, float]]:
    found = ElementTree.fromstring(svg).iter("circle")
    return [(float(one.attrib["cx"]), float(one.attrib["cy"])) for one in found]


def test_more_labels_are_further_right_and_better_is_higher() -> None:
    (next_x, next_y), *dots = circles(learning_curve(POINTS, AHEAD))
    xs, ys = zip(*dots, strict=True)
    assert list(xs) == sorted(xs)
    assert list(ys) == sorted(ys, reverse=True)
    assert next_x > max(xs)
    assert next_y < min(ys)
    assert all(0 < x < WIDTH and 0 < y < HEIGHT for x, y in [*dots, (next_x, next_y)])


@pytest.mark.parametrize(
    "points",
    [
        [Point(5, 0.0, 1)],
        [Point(5, 1.0, 1)],
        [Point(5, 0.5, 1), Point(5, 0.5, 2)],
        [Point(1, 0.0, 1), Point(100_000, 1.0, 2)],
        [Point(count, 0.3 + count / 5000, count) for count in range(1, 500)],
    ],
)
def test_any_curve_fits_into_its_picture(points: list[Point]) -> None:
    for ahead in (None, AHEAD):
        dots = circles(learning_curve(points, ahead))
        assert all(0 < x < WIDTH and 0 < y < HEIGHT for x, y in dots)
        texts = ElementTree.fromstring(learning_curve(points, ahead)).iter("text")
        along = sorted(float(one.attrib["x"]) for one in texts if one.attrib["text-anchor"] == "middle")
        assert all(b - a >= 90 for a, b in pairwise(along)), "numbers overlap"


def test_charts_are_told_in_words() -> None:
    said = ElementTree.fromstring(learning_curve(POINTS, AHEAD)).attrib["aria-label"]
    assert "40.0 % mIoU at 20 labels, 60.0 % at 60" in said
    assert "expected 63.0 % at 80" in said
    assert "IoU 50.0 %, between 30.0 % and 70.0 %" in interval_bar(0.5, 0.3, 0.7)
    assert ElementTree.fromstring(interval_bar(0.5, None, None)).find("rect") is None


def test_no_points_are_no_chart() -> None:
    assert learning_curve([], None) == ""


def test_bars_are_as_long_as_their_share() -> None:
    def width(share: float) -> float:
        bar = ElementTree.fromstring(count_bar(share)).find("rect")
        assert bar is not None
        return float(bar.attrib["width"])

    assert (width(0), width(0.5), width(1)) == (0, 50, 100)
    assert width(0.001) > 1, "one label can be seen"
