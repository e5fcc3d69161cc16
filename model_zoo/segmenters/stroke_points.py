"""Strokes as clicks, for models that know only points."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from model_zoo.prompt import Click, Stroke

MOST = 8  # clicks of all strokes of one sign together, unless there are more strokes


def stroke_clicks(strokes: Sequence[Stroke], most: int = MOST) -> tuple[Click, ...]:
    """Clicks along strokes, in their order: evenly spread, no closer than two radii, at least one a stroke.

    Of each sign there are at most ``most``, or one a stroke where there are more strokes than that.
    """
    found: list[Click] = []
    for positive in (True, False):
        chosen = [stroke for stroke in strokes if stroke.positive is positive and stroke.points]
        for stroke in chosen:
            found.extend(_along(stroke, max(1, most // len(chosen))))
    return tuple(found)


def _along(stroke: Stroke, most: int) -> list[Click]:
    """The middles of that many equal parts of the line, so that none lies at its very end."""
    points = np.asarray(stroke.points, dtype=np.float64)
    steps = np.hypot(*np.diff(points, axis=0).T)
    travelled = np.concatenate(([0.0], np.cumsum(steps)))
    apart = max(2.0 * stroke.radius, 1.0)
    count = int(np.clip(travelled[-1] // apart, 1, most))
    places = travelled[-1] * (np.arange(count) + 0.5) / count
    rows, cols = (np.interp(places, travelled, points[:, axis]) for axis in (0, 1))
    return [Click(float(row), float(col), stroke.positive) for row, col in zip(rows, cols, strict=True)]
