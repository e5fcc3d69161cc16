"""Crops of images and of features, resampled to a fixed size without a copy of what is not in them; bilinear."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from model_zoo.segmenters.zoom_in import Region

Box = tuple[float, float, float, float]
"""Top, left, bottom and right; ends exclusive."""


def squared(values: NDArray[Any], region: Region, side: int) -> NDArray[np.float32]:
    """(side, side, C) float32 of a region of (H, W, C), corner to corner (align_corners).

    Only the rows and columns next to a result are read, so that a large photograph costs no more than a small one.
    Positions are computed in single precision, as PyTorch computes them.
    """
    top, bottom, down = _between(region.top, region.height, side)
    left, right, across = _between(region.left, region.width, side)
    lines = []
    for rows in (top, bottom):
        start, end = (values[np.ix_(rows, cols)].astype(np.float32) for cols in (left, right))
        lines.append(start * (1 - across[:, None]) + end * across[:, None])
    down = down[:, None, None]
    return np.asarray(lines[0] * (1 - down) + lines[1] * down, dtype=np.float32)


def _between(
    first: int, length: int, count: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Between which rows the ``count`` results lie, and how far from the first to the second, [0, 1)."""
    step = np.float32(length - 1) / np.float32(max(1, count - 1))
    places = step * np.arange(count, dtype=np.float32)
    low = np.minimum(places.astype(np.int64), length - 1)
    high = np.minimum(low + 1, length - 1)
    return first + low, first + high, places - low.astype(np.float32)


def cut(values: Tensor, box: Box, size: tuple[int, int]) -> Tensor:
    """(1, C, *size) float32 of a box of (1, C, h, w), in its pixels: values at the middles of equal bins.

    He et al., Mask R-CNN, 2017, section 3 (RoIAlign), with the half pixel that counts from the corners of pixels and
    one sample a bin, which is what torchvision takes of a box with no more rows and columns than the result has.
    """
    height, width = values.shape[-2:]
    rows = _middles(box[0], box[2], height, size[0], values.device)
    cols = _middles(box[1], box[3], width, size[1], values.device)
    grid = torch.stack((cols.expand(size[0], -1), rows[:, None].expand(-1, size[1])), dim=-1)
    return functional.grid_sample(values.float(), grid[None], padding_mode="border", align_corners=False)


def _middles(start: float, end: float, length: int, count: int, device: torch.device) -> Tensor:
    """Of ``count`` bins, from -1 at the beginning of ``length`` pixels to 1 at their end."""
    places = start + (torch.arange(count, dtype=torch.float64) + 0.5) * (end - start) / count
    return (2.0 * places / length - 1.0).float().to(device)
