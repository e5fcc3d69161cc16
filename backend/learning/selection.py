"""Which pixels to ask for, given their acquisition scores.

A selection takes scores float32 (H, W), the number of pixels wanted, a random generator, a mask of pixels that must
not be asked (labelled, void, queried before) and what else is known of the image, which plain ones ignore. It returns
int64 (k, 2) rows and columns of distinct pixels, such that the first ones alone are a good choice of fewer; k is the
budget, or the number of candidates when there are fewer. The same state of the generator gives the same pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from backend.learning.acquisition import Scores, one_minus_margin, unknown_name
from backend.learning.candidates import Excluded, Pixels, best, best_first, to_pixels
from backend.learning.coverage import coverage
from backend.learning.image_context import ImageContext

TOP_SHARE = 0.05
"""Share of an image's pixels among which PixelPick draws its queries."""
RANDOM = "random"
"""First pixels by no rule at all: the uniform noise that stands for scores decides."""


class Selection(Protocol):
    """See the module. Raises ValueError for malformed arrays, and without a context where the image is needed."""

    def __call__(
        self,
        scores: Scores,
        count: int,
        rng: np.random.Generator,
        exclude: Excluded = None,
        context: ImageContext | None = None,
        /,
    ) -> Pixels: ...


def top(
    scores: Scores,
    count: int,
    rng: np.random.Generator,
    exclude: Excluded = None,
    context: ImageContext | None = None,  # noqa: ARG001
) -> Pixels:
    """The best pixels, best first; equal scores fall in random order."""
    return to_pixels(best_first(scores.ravel(), best(scores, count, rng, exclude), rng), scores.shape)


def top5(
    scores: Scores,
    count: int,
    rng: np.random.Generator,
    exclude: Excluded = None,
    context: ImageContext | None = None,  # noqa: ARG001
) -> Pixels:
    """PixelPick's diversity: a uniform draw from the best 5 % of the image's pixels.

    The pool is 5 % of all pixels, or the budget where that is more.
    """
    pool = best(scores, max(int(TOP_SHARE * scores.size), count) if count > 0 else count, rng, exclude)
    return to_pixels(rng.choice(pool, size=min(count, pool.size), replace=False), scores.shape)


SELECTIONS: Mapping[str, Selection] = {
    "top": top,
    "top5": top5,
    "coverage": coverage,
}


def get_selection(name: str) -> Selection:
    """The selection of that name; ValueError lists the names there are."""
    try:
        return SELECTIONS[name]
    except KeyError:
        raise ValueError(unknown_name("selection", name, SELECTIONS)) from None


def get_initial(name: str) -> Selection:
    """What picks the first pixels, with uniform noise as scores: ``random`` or a selection; ValueError as above."""
    known = {RANDOM: top, **SELECTIONS}
    try:
        return known[name]
    except KeyError:
        raise ValueError(unknown_name("initial selection", name, known)) from None


def task_uncertainty(values: NDArray[np.floating[Any]]) -> float:
    """Mean uncertainty of a whole image, in [0, 1]; the score pushed to Label Studio is 1 minus this.

    values: scores of ``margin`` or ``least_confidence`` (H, W), or probabilities, scored by margin.
    """
    scores = values if values.ndim == 2 else one_minus_margin(values)
    if scores.size == 0:
        raise ValueError(f"scores have shape {scores.shape}; expected at least one pixel")
    return float(np.clip(scores.mean(dtype=np.float64), 0.0, 1.0))
