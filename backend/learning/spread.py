"""Spatial spread: the best pixels that keep a distance from each other and from what was asked before."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from backend.learning.acquisition import Scores
from backend.learning.candidates import Excluded, Pixels, best_first, candidates, to_pixels
from backend.learning.image_context import ImageContext

COVERED = 0.25
"""Share of the image that the discs of all its queries, old and new, would cover if they did not overlap."""


def spread(
    scores: Scores,
    count: int,
    rng: np.random.Generator,
    exclude: Excluded = None,
    context: ImageContext | None = None,
) -> Pixels:
    """The best candidate again and again, best first, none within a disc around those picked or asked before.

    The radius is sqrt(COVERED * area / (pi * n)), n being the pixels asked before and those wanted now. Where no
    candidate is left it is halved, so that the budget is kept. Equal scores fall in random order.
    """
    places = candidates(scores, count, exclude)
    open_scores = np.full(scores.shape, -np.inf, dtype=np.float64)
    open_scores.ravel()[places] = scores.ravel()[places]
    asked = [] if context is None else [(int(row), int(col)) for row, col in context.asked]
    count = min(count, places.size)
    radius = math.sqrt(COVERED * scores.size / (math.pi * max(1, len(asked) + count)))
    picked: list[tuple[int, int]] = []
    while len(picked) < count and radius >= 1:
        _pick(open_scores, picked, asked, radius=radius, count=count, rng=rng)
        radius /= 2
    found = np.array(picked, dtype=np.int64).reshape(-1, 2)
    open_scores[found[:, 0], found[:, 1]] = -np.inf
    left = np.flatnonzero(open_scores > -np.inf)
    rest = (
        best_first(open_scores.ravel(), left, rng)[: count - len(found)] if len(found) < count else left[:0]
    )
    return np.concatenate([found, to_pixels(rest, scores.shape)])


def _pick(
    scores: NDArray[np.float64],
    picked: list[tuple[int, int]],
    asked: list[tuple[int, int]],
    *,
    radius: float,
    count: int,
    rng: np.random.Generator,
) -> None:
    """Add to ``picked`` until there are ``count``, or until the discs leave no candidate."""
    free = scores.copy()
    for pixel in (*asked, *picked):
        _suppress(free, pixel, radius)
    while len(picked) < count:
        highest = free.max()
        if highest == -np.inf:
            return
        place = rng.choice(np.flatnonzero(free == highest))
        row, col = divmod(int(place), free.shape[1])
        picked.append((row, col))
        _suppress(free, (row, col), radius)


def _suppress(scores: NDArray[np.float64], pixel: tuple[int, int], radius: float) -> None:
    """Set the scores within the radius of a pixel to -inf, in place."""
    (row, col), reach = pixel, int(radius)
    top, left = max(0, row - reach), max(0, col - reach)
    window = scores[top : row + reach + 1, left : col + reach + 1]
    down = np.arange(top, top + window.shape[0]) - row
    across = np.arange(left, left + window.shape[1]) - col
    window[down[:, None] ** 2 + across**2 <= radius**2] = -np.inf
