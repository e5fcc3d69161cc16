"""Coverage first: pixels that differ as much as they can, for the time before anything is learnt."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from backend.learning.acquisition import Scores
from backend.learning.candidates import Excluded, Pixels, candidates, cells_of_pixels, to_pixels
from backend.learning.image_context import ImageContext, required


def coverage(
    scores: Scores,
    count: int,
    rng: np.random.Generator,
    exclude: Excluded = None,
    context: ImageContext | None = None,
) -> Pixels:
    """Pixels drawn one by one, each the likelier, the further its features are from those of all before it.

    The chance is the squared distance to the nearest pixel picked or asked before (k-means++ seeding; Arthur &
    Vassilvitskii, SODA 2007), in frozen features of stride 16; in the chosen cell any candidate is as likely as any
    other. The scores only say which pixels are candidates. Without the encoder's weights all are equally likely.
    ValueError without the image.
    """
    places = candidates(scores, count, exclude)
    count = min(count, places.size)
    known = required(context, "coverage")
    features = known.features() if count else None
    if features is None:
        return to_pixels(rng.choice(places, size=count, replace=False), scores.shape)
    grid = features.shape[0], features.shape[1]
    cells = cells_of_pixels(grid, scores.shape)
    asked = cells[known.asked[:, 0] * scores.shape[1] + known.asked[:, 1]]
    return to_pixels(_draw(places, cells[places], features, asked, count=count, rng=rng), scores.shape)


def _draw(
    places: NDArray[np.int64],
    cells: NDArray[np.int64],
    features: NDArray[np.float32],
    asked: NDArray[np.int64],
    *,
    count: int,
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """``count`` of the places (n,), which lie in these cells (n,) of the features (h, w, C).

    asked: cells of the pixels asked before.
    """
    vectors = features.reshape(-1, features.shape[2]).astype(np.float64)
    open_places = np.bincount(cells, minlength=len(vectors)).astype(np.float64)
    distances = np.full(len(vectors), np.inf)
    for cell in np.unique(asked):
        np.minimum(distances, _squared(vectors, cell), out=distances)
    free = np.ones(len(places), dtype=bool)
    picked = np.empty(count, dtype=np.int64)
    for number in range(count):
        weights = open_places if np.isinf(distances).all() else open_places * distances
        if not weights.any():  # nothing new is left
            weights = open_places
        cell = int(rng.choice(len(vectors), p=weights / weights.sum()))
        chosen = rng.choice(np.flatnonzero(free & (cells == cell)))
        picked[number] = places[chosen]
        free[chosen] = False
        open_places[cell] -= 1
        np.minimum(distances, _squared(vectors, cell), out=distances)
    return picked


def _squared(vectors: NDArray[np.float64], cell: int) -> NDArray[np.float64]:
    """Squared distances (n,) of all vectors (n, C) from that of the cell; its own is exactly 0."""
    apart = vectors - vectors[cell]
    return np.asarray(np.einsum("ij,ij->i", apart, apart))
