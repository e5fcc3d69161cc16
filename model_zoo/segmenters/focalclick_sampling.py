"""Regions of photographs as small squares of pixels; bilinear, corner to corner (align_corners)."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model_zoo.segmenters.predictor_maps import resize
from model_zoo.segmenters.zoom_in import Region

LARGE = 4_000_000  # pixels of a region, beyond which not all are read


def squared(image: NDArray[np.uint8], region: Region, side: int, *, together: int) -> Tensor:
    """(3, side, side) float32 in [0, 1] of a region of (H, W, 3).

    together: channels that are resized at a time, 1 or 3; PyTorch rounds three in another way, and so do answers.
    """
    if region.height * region.width > LARGE:
        return torch.from_numpy(_sparsely(image, region, side).transpose(2, 0, 1).copy())
    squares, crop = [], image[region.window]
    for first in range(0, 3, together):
        planes = np.ascontiguousarray(crop[..., first : first + together].transpose(2, 0, 1))
        squares.append(resize(torch.from_numpy(planes).float().div_(255.0), side, side))
    return torch.cat(squares)


def _sparsely(image: NDArray[np.uint8], region: Region, side: int) -> NDArray[np.float32]:
    """(side, side, 3), the same but for rounding; only the rows and columns next to a result are read."""
    top, bottom, down = _between(region.top, region.height, side)
    left, right, across = _between(region.left, region.width, side)
    lines = []
    for rows in (top, bottom):
        start, end = (image[np.ix_(rows, cols)].astype(np.float32) for cols in (left, right))
        lines.append(start * (1 - across[:, None]) + end * across[:, None])
    down = down[:, None, None]
    return np.asarray((lines[0] * (1 - down) + lines[1] * down) / 255.0, dtype=np.float32)


def _between(
    first: int, length: int, count: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Between which rows the ``count`` results lie, and how far from the first to the second, [0, 1)."""
    step = np.float32(length - 1) / np.float32(max(1, count - 1))
    places = step * np.arange(count, dtype=np.float32)
    low = np.minimum(places.astype(np.int64), length - 1)
    high = np.minimum(low + 1, length - 1)
    return first + low, first + high, places - low.astype(np.float32)
