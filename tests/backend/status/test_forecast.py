"""The learning curve's next point and the intervals, on curves whose law is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from backend.status.forecast import FEWEST, GAIN, Forecast, Point, advice, forecast, interval

pytestmark = pytest.mark.unit


def on_curve(labels: list[int], noise: float = 0.0, seed: int = 0) -> list[Point]:
    rng = np.random.default_rng(seed)
    return [
        Point(count, 0.8 - 2 * count**-0.5 + rng.normal(0, noise) if noise else 0.8 - 2 * count**-0.5, number)
        for number, count in enumerate(labels, start=1)
    ]


def test_a_curve_without_noise_is_continued_exactly() -> None:
    found = forecast(on_curve([40, 60, 80, 100]))
    assert found is not None
    assert found.labels == 120
    assert found.miou == pytest.approx(0.8 - 2 * 120**-0.5)
    assert found.high - found.low == pytest.approx(0, abs=1e-6)
    assert found.gain == pytest.approx(2 * (100**-0.5 - 120**-0.5))


def test_the_interval_covers_what_comes_about_as_often_as_it_says() -> None:
    covered = 0
    for seed in range(300):
        points = on_curve(list(range(40, 400, 40)), noise=0.02, seed=seed)
        found = forecast(points[:-1])
        assert found is not None
        assert found.labels == points[-1].labels
        covered += found.low <= points[-1].miou <= found.high
    assert 0.91 <= covered / 300 <= 0.98


@pytest.mark.parametrize("labels", [[], [40], [40, 60, 80], [50] * 9, [40, 60, 80, 80]])
def test_too_few_points_are_no_forecast(labels: list[int]) -> None:
    assert len(set(labels)) < FEWEST
    assert forecast(on_curve(labels)) is None


def test_of_versions_with_as_many_labels_the_last_counts() -> None:
    points = on_curve([40, 60, 80, 100])
    again = [*points, Point(100, 0.1, 5), points[-1]]
    assert forecast(again) == forecast(points)


def test_accuracy_stays_between_0_and_1_and_may_fall() -> None:
    rising = forecast([Point(count, 0.99 - 1.5 / count, n) for n, count in enumerate([2, 3, 4, 900, 1000])])
    assert rising is not None
    assert rising.high <= 1
    falling = forecast([Point(n, 0.5 - n / 1000, n) for n in (10, 60, 110, 160)])
    assert falling is not None
    assert falling.gain < 0


def test_advice_follows_the_gain() -> None:
    found = Forecast(100, 0.6, 0.55, 0.65, gain=GAIN)
    assert "still help" in advice(found)
    assert "flattening" in advice(Forecast(100, 0.6, 0.55, 0.65, gain=GAIN - 0.001))
    for gain in (0.0, 0.1):
        assert "too few labels to tell" in advice(Forecast(100, 0.6, 0.4, 0.7, gain))
    assert "Too early" in advice(None)


def test_seven_labels_that_are_all_right_are_no_certainty() -> None:
    few, many = (
        forecast([Point(count, 1.0, count, held_out) for count in (40, 60, 80, 100)])
        for held_out in (7, 7000)
    )
    assert few is not None
    assert many is not None
    assert few.low < 0.8
    assert "too few" in advice(few)
    assert many.low > 0.98
    assert "flattening" in advice(many)


@pytest.mark.parametrize(("right", "union"), [(0, 1), (0, 10), (3, 10), (10, 10), (700, 1000)])
def test_intervals_are_wilsons(right: int, union: int) -> None:
    expected = stats.binomtest(right, union).proportion_ci(0.95, method="wilson")
    assert interval(right, union) == pytest.approx((expected.low, expected.high), abs=1e-6)


def test_nothing_measured_is_anything() -> None:
    assert interval(0, 0) == (0.0, 1.0)
