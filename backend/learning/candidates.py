"""What all selections share: which pixels may be asked for, and the best of them, as flat indices of the scores."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.learning.acquisition import Scores

Pixels = NDArray[np.int64]
"""Rows and columns (n, 2)."""
Excluded = NDArray[np.bool_] | None
"""Pixels (H, W) that must not be asked: labelled, void, queried before."""


def candidates(scores: Scores, count: int, exclude: Excluded) -> NDArray[np.int64]:
    """Flat indices of all candidates; a pixel that is excluded, or whose score is NaN or -inf, is none.

    Raises ValueError for scores that are not (H, W), a count below 0, or a mask of another shape.
    """
    _check(scores, count, exclude)
    allowed = scores > -np.inf
    if exclude is not None:
        allowed &= ~exclude
    return np.flatnonzero(allowed)


def best(scores: Scores, count: int, rng: np.random.Generator, exclude: Excluded) -> NDArray[np.int64]:
    """Flat indices of the ``count`` best candidates in no order; ties at the border are broken at random."""
    places = candidates(scores, count, exclude)
    if count >= places.size:
        return places
    if count == 0:
        return places[:0]
    values = scores.ravel()[places]
    border = np.partition(values, values.size - count)[values.size - count]
    above = places[values > border]
    level = places[values == border]
    return np.concatenate([above, rng.choice(level, size=count - above.size, replace=False)])


def best_first(
    values: NDArray[np.floating[Any]], places: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """These places of the values (n,), highest value first; equal values fall in random order."""
    shuffled = rng.permutation(places)
    return np.asarray(shuffled[np.argsort(-values[shuffled], kind="stable")], dtype=np.int64)


def to_pixels(flat: NDArray[np.int64], shape: tuple[int, ...]) -> Pixels:
    """Rows and columns (n, 2) of flat indices (n,)."""
    rows, cols = np.unravel_index(flat, shape)
    return np.stack([rows, cols], axis=1).astype(np.int64)


def cells_of_pixels(grid: tuple[int, int], shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Flat indices (H * W,) of the cells that the pixels of an image (H, W) lie in, of a grid (h, w) over it."""
    rows = np.arange(shape[0]) * grid[0] // shape[0]
    cols = np.arange(shape[1]) * grid[1] // shape[1]
    return (rows[:, None] * grid[1] + cols).ravel().astype(np.int64)


def _check(scores: Scores, count: int, exclude: Excluded) -> None:
    if scores.ndim != 2:
        raise ValueError(f"scores have shape {scores.shape}; expected (H, W)")
    if count < 0:
        raise ValueError(f"{count} pixels asked for; expected 0 or more")
    if exclude is not None and exclude.shape != scores.shape:
        raise ValueError(f"exclude has shape {exclude.shape}, expected that of the scores, {scores.shape}")
