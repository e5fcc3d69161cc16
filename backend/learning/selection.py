"""Which pixels to ask for, given their acquisition scores.

A selection takes scores float32 (H, W), the number of pixels wanted, a random generator and a mask of pixels
that must not be asked (labelled, void, queried before). It returns int64 (k, 2) rows and columns of distinct
pixels; k is the budget, or the number of candidates when there are fewer. The same state of the generator
gives the same pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.learning.acquisition import Scores, one_minus_margin, unknown_name

Pixels = NDArray[np.int64]
Excluded = NDArray[np.bool_] | None
Selection = Callable[[Scores, int, np.random.Generator, Excluded], Pixels]

TOP_SHARE = 0.05
"""Share of an image's pixels among which PixelPick draws its queries."""


def top(scores: Scores, count: int, rng: np.random.Generator, exclude: Excluded = None) -> Pixels:
    """The best pixels, best first; equal scores fall in random order."""
    best = rng.permutation(_best(scores, count, rng, exclude))
    order = np.argsort(-scores.ravel()[best], kind="stable")
    return _to_pixels(best[order], scores.shape)


def top5(scores: Scores, count: int, rng: np.random.Generator, exclude: Excluded = None) -> Pixels:
    """PixelPick's diversity: a uniform draw from the best 5 % of the image's pixels.

    The pool is 5 % of all pixels, or the budget where that is more.
    """
    pool = _best(scores, max(int(TOP_SHARE * scores.size), count), rng, exclude)
    return _to_pixels(rng.choice(pool, size=min(count, pool.size), replace=False), scores.shape)


SELECTIONS: Mapping[str, Selection] = {"top": top, "top5": top5}


def get_selection(name: str) -> Selection:
    """The selection of that name; ValueError lists the names there are."""
    try:
        return SELECTIONS[name]
    except KeyError:
        raise ValueError(unknown_name("selection", name, SELECTIONS)) from None


def task_uncertainty(values: NDArray[np.floating[Any]]) -> float:
    """Mean uncertainty of a whole image, in [0, 1]; the score pushed to Label Studio is 1 minus this.

    values: scores of ``margin`` or ``least_confidence`` (H, W), or probabilities, scored by margin.
    """
    scores = values if values.ndim == 2 else one_minus_margin(values)
    if scores.size == 0:
        raise ValueError(f"scores have shape {scores.shape}; expected at least one pixel")
    return float(np.clip(scores.mean(dtype=np.float64), 0.0, 1.0))


def _best(scores: Scores, count: int, rng: np.random.Generator, exclude: Excluded) -> NDArray[np.int64]:
    """Flat indices of the ``count`` best candidates in no order; ties at the border are broken at random.

    A pixel that is excluded, or whose score is NaN or -inf, is no candidate.
    """
    _check(scores, count, exclude)
    allowed = scores > -np.inf
    if exclude is not None:
        allowed &= ~exclude
    candidates = np.flatnonzero(allowed)
    if count >= candidates.size:
        return candidates
    if count == 0:
        return candidates[:0]
    values = scores.ravel()[candidates]
    border = np.partition(values, values.size - count)[values.size - count]
    above = candidates[values > border]
    level = candidates[values == border]
    return np.concatenate([above, rng.choice(level, size=count - above.size, replace=False)])


def _check(scores: Scores, count: int, exclude: Excluded) -> None:
    if scores.ndim != 2:
        raise ValueError(f"scores have shape {scores.shape}; expected (H, W)")
    if count < 0:
        raise ValueError(f"{count} pixels asked for; expected 0 or more")
    if exclude is not None and exclude.shape != scores.shape:
        raise ValueError(f"exclude has shape {exclude.shape}, expected that of the scores, {scores.shape}")


def _to_pixels(flat: NDArray[np.int64], shape: tuple[int, ...]) -> Pixels:
    rows, cols = np.unravel_index(flat, shape)
    return np.stack([rows, cols], axis=1).astype(np.int64)
