"""How many pixels each image of the queue gets: the same for all, or more where the learner is less sure.

A budget over the queue is worth more than the same for each image where images differ (dynamic budgets, 2025); between
half and twice the usual number, so that no image is forgotten and none is endless.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from backend.learning.acquisition import unknown_name

Over = Literal["image", "queue"]
OVER: tuple[Over, ...] = ("image", "queue")
LEAST, MOST = 0.5, 2
"""Times the usual number: the bounds of a budget over the queue."""
MOST_QUERIES = 20
"""Of a task in Label Studio, whatever its uncertainty."""
BISECTIONS = 100


def get_over(name: str) -> Over:
    """What budgets go over; ValueError lists what there is."""
    if name not in OVER:
        raise ValueError(unknown_name("budget", name, dict.fromkeys(OVER)))
    return name


def share(usual: int, uncertainty: float, mean: float | None, most: int = MOST_QUERIES) -> int:
    """The usual number of pixels times an image's uncertainty over the mean of the queue, 1 to ``most``.

    mean: None or 0 where it is not known yet; then the usual number.
    """
    if not mean:
        return usual
    return max(1, min(most, round(usual * min(MOST, max(LEAST, uncertainty / mean)))))


def allocate(uncertainties: Sequence[float], usual: int) -> NDArray[np.int64]:
    """Pixels (n,) of each image, n times ``usual`` in all; in proportion to uncertainty within the bounds.

    The factor of the proportion is the one at which the bounded shares, real numbers, sum up. They are rounded down;
    what is left goes to those with the largest remainders, of equal ones to the first.
    """
    sure = np.asarray(uncertainties, dtype=np.float64)
    if not sure.any():
        return np.full(sure.size, usual, dtype=np.int64)
    sure = np.maximum(sure, sure.max() * 1e-9)
    low, high = np.log(LEAST / sure.max()), np.log(MOST / sure.min())
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        if np.clip(np.exp(middle) * sure, LEAST, MOST).sum() < sure.size:
            low = middle
        else:
            high = middle
    shares = usual * np.clip(np.exp(high) * sure, LEAST, MOST)
    counts: NDArray[np.int64] = np.floor(shares).astype(np.int64)
    largest = np.argsort(counts - shares, kind="stable")
    counts[largest[: usual * sure.size - int(counts.sum())]] += 1
    return counts


def mean_uncertainty(scores: ArrayLike) -> float | None:
    """Of tasks with these scores (n,), 1 - uncertainty; None where no learner has seen any.

    A score of 0 does not count: tasks have it that were pushed before there was a learner.
    """
    found = np.asarray(scores, dtype=np.float64)
    seen = found[found > 0]
    return 1.0 - float(seen.mean()) if len(seen) else None
