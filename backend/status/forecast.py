"""The learning curve's next point: what the labels to come are expected to bring, and how sure that is.

Accuracy follows a + b / sqrt(n) in the number n of labels, the usual power law of learning curves with its exponent
fixed: with the few and noisy points of a project a free one would follow the noise. Least squares; the interval is the
95 % prediction interval of the regression (Draper and Smith, Applied Regression Analysis, section 1.4), where the
points count as no more exact than their held-out labels allow: a few of those may all be right by chance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

FEWEST = 4
"""Points from which a forecast is made: two parameters and two to judge them by."""
LATEST = 12
"""Points that count: the first rounds of a project follow no law."""
UNSURE = 0.2
"""Width of an interval from which it tells nothing."""
GAIN = 0.005
"""Half a point of mIoU: less than that is not worth a round of labels."""


@dataclass(frozen=True)
class Point:
    """A version on the learning curve. ``miou`` in [0, 1], on the ``held_out`` labels of then; 0: any number."""

    labels: int
    miou: float
    version: int
    held_out: int = 0


@dataclass(frozen=True)
class Forecast:
    """mIoU expected at ``labels`` labels, with its 95 % interval; ``gain`` over the curve at today's labels."""

    labels: int
    miou: float
    low: float
    high: float
    gain: float


def forecast(points: Sequence[Point]) -> Forecast | None:
    """The next point, as many labels on as the last steps took; None with too few different numbers of labels."""
    used = list({point.labels: point for point in points if point.labels > 0}.values())[-LATEST:]
    if len(used) < FEWEST:
        return None
    labels = np.array([point.labels for point in used], dtype=np.float64)
    now = int(labels.max())
    following = now + max(1, round(float(np.median(np.diff(np.sort(labels))[-5:]))))
    x, y = labels**-0.5, np.array([point.miou for point in used])
    fit = stats.linregress(x, y)
    slope, intercept = float(fit.slope), float(fit.intercept)
    at = following**-0.5
    residual = float(np.sum((y - intercept - slope * x) ** 2)) / (len(used) - 2)
    residual = max(residual, float(np.mean([_noise(point) for point in used])))
    spread = 1 + 1 / len(used) + (at - x.mean()) ** 2 / float(np.sum((x - x.mean()) ** 2))
    half = float(stats.t.ppf(0.975, len(used) - 2)) * (residual * spread) ** 0.5
    expected = intercept + slope * at
    miou, low, high = (min(1.0, max(0.0, value)) for value in (expected, expected - half, expected + half))
    return Forecast(following, miou, low, high, gain=float(slope * (at - now**-0.5)))


def advice(found: Forecast | None) -> str:
    """Whether more labels are worth their time, in a sentence for people."""
    if found is None:
        return "Too early to tell how much more labels will help."
    if found.high - found.low > UNSURE:
        return "Measured on too few labels to tell how much more of them will help."
    if found.gain >= GAIN:
        return "More labels still help."
    return "The curve is flattening: more labels of this kind bring little."


def _noise(point: Point) -> float:
    """Variance of a share measured on so many labels, by Agresti and Coull (1998), so that it is not 0 for 0 or 1."""
    if not point.held_out:
        return 0.0
    count = point.held_out + 4
    share = (point.miou * point.held_out + 2) / count
    return share * (1 - share) / count


def interval(intersection: int, union: int) -> tuple[float, float]:
    """95 % interval of an IoU by Wilson's score (1927), taking the union's pixels for independent draws."""
    if union <= 0:
        return 0.0, 1.0
    z = 1.959964
    share = intersection / union
    centre = (share + z * z / (2 * union)) / (1 + z * z / union)
    half = z / (1 + z * z / union) * (share * (1 - share) / union + z * z / (4 * union * union)) ** 0.5
    return max(0.0, centre - half), min(1.0, centre + half)
