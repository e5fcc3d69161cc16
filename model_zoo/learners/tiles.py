"""Prediction of large images in overlapping tiles, blended so that no seam is seen.

Each tile's outermost ``margin`` pixels, where the network misses the surroundings, count for nothing; over the next
``blend`` pixels its weight rises to one. So a network that looks no further than the margin gives what it would give
for the whole image, but for rounding. Global pooling and group norms do look further: there tiles only come close.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Probabilities = NDArray[np.float32]


@dataclass(frozen=True)
class Tiling:
    """Images of over ``pixels`` pixels are cut into tiles of ``side``; all three lengths in image pixels."""

    pixels: int = 4_000_000
    side: int = 1024
    margin: int = 96
    blend: int = 64

    @property
    def overlap(self) -> int:
        return 2 * self.margin + self.blend


def predict_tiled(
    predict: Callable[[NDArray[np.uint8]], Probabilities],
    image: NDArray[np.uint8],
    multiple: int,
    tiling: Tiling,
) -> Probabilities:
    """Probabilities (T, C, H, W) of an image (H, W, 3), in tiles if it is large.

    predict: gives (T, C, h, w) for a part of the image. multiple: tiles begin at multiples of it, so that the
    network's grids lie as they do over the whole image.
    """
    height, width = image.shape[:2]
    if height * width <= tiling.pixels:
        return predict(image)
    total: Probabilities = np.empty(0, dtype=np.float32)
    weights = np.zeros((height, width), dtype=np.float32)
    for top, bottom in spans(height, multiple, tiling):
        for left, right in spans(width, multiple, tiling):
            part = predict(np.ascontiguousarray(image[top:bottom, left:right]))
            if not total.size:
                total = np.zeros((*part.shape[:2], height, width), dtype=np.float32)
            weight = np.outer(_ramp((top, bottom), height, tiling), _ramp((left, right), width, tiling))
            total[:, :, top:bottom, left:right] += part * weight
            weights[top:bottom, left:right] += weight
    total /= weights
    return total


def spans(length: int, multiple: int, tiling: Tiling) -> list[tuple[int, int]]:
    """First and last-plus-one pixels of the tiles along a side; neighbours overlap by ``tiling.overlap`` or more."""
    side = max(multiple, tiling.side)
    step = max(multiple, (side - tiling.overlap) // multiple * multiple)
    found = [(0, min(side, length))]
    while found[-1][1] < length:
        start = found[-1][0] + step
        found.append((start, min(start + side, length)))
    return found


def _ramp(span: tuple[int, int], length: int, tiling: Tiling) -> Probabilities:
    """Weights along a tile: 1 inside, falling to almost nothing towards neighbours, 1 at the image's own borders."""
    place = np.arange(span[1] - span[0], dtype=np.float32) + 0.5
    weights = np.ones_like(place)
    for distance, inner in ((place, span[0] > 0), (place[::-1], span[1] < length)):
        if inner:
            weights *= np.clip((distance - tiling.margin) / max(1, tiling.blend), 0, 1)
    return weights
