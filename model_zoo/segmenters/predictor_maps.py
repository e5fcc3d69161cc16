"""Geometry that RITM and its descendants share: click disks, resampling, the window around the object.

Sofiiuk et al., Reviving Iterative Training with Mask Guidance, 2021, sections 3 and 5; zoom-in: f-BRS (2001.10331),
section 3.3. Compared with github.com/SamsungLabs/ritm_interactive_segmentation (commit b9b4460, MIT licence),
written from a description. Pixels are counted as there: a click is at the index of its pixel, distances are between
indices, and the corners of a map fall on the corners of its enlargement.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import logit
from torch import Tensor
from torch.nn import functional

from model_zoo.segmenters.zoom_in import Region

Floats = NDArray[np.float32]
Point = tuple[float, float, bool]  # row, column, positive; fractional in a resized window, outside it too
LIMIT = 12.0  # logits are cut off here: a probability of 1 has none
LEAST = np.float32(1e-30)  # above 0


def disk_maps(points: Sequence[Point], height: int, width: int, radius: float) -> Tensor:
    """(2, height, width) float32, positive then negative: 1 where a click lies within ``radius``, squared distances
    compared.

    A point with both coordinates below 0 is none, as in the published code, even where its disk would touch the map.
    """
    maps = torch.zeros(2, height, width)
    for row, col, positive in points:
        top, bottom = max(0, int(row - radius) - 1), min(height, int(row + radius) + 2)
        left, right = max(0, int(col - radius) - 1), min(width, int(col + radius) + 2)
        if max(row, col) < 0 or top >= bottom or left >= right:
            continue
        # Differences in float64 and squares in float32, as there: equal at the rim of the disk, too.
        rows = (torch.arange(top, bottom, dtype=torch.float64) - row).float().square()
        cols = (torch.arange(left, right, dtype=torch.float64) - col).float().square()
        inside = rows[:, None] + cols <= radius**2
        maps[0 if positive else 1, top:bottom, left:right].masked_fill_(inside, 1.0)
    return maps


def resize(values: Tensor, height: int, width: int) -> Tensor:
    """Bilinear, corner to corner (align_corners): (C, h, w) or (B, C, h, w) to the given size."""
    if values.shape[-2:] == (height, width):
        return values
    planes = values if values.ndim == 4 else values[None]
    resized = functional.interpolate(planes, size=(height, width), mode="bilinear", align_corners=True)
    return resized if values.ndim == 4 else resized[0]


def object_window(
    probability: Floats | NDArray[np.bool_],
    positive_pixels: Iterable[tuple[int, int]] = (),
    *,
    threshold: float,
    expansion: float,
    smallest: float,
    origin: tuple[int, int] = (0, 0),
    image: tuple[int, int] | None = None,
) -> Region | None:
    """The box of what is above the threshold and of the positive clicks, expanded around its middle, inside the image.

    probability: (h, w), or a mask, of the part of the image that begins at ``origin``; elsewhere it is 0. image:
    (height, width), that of ``probability`` where None. positive_pixels: (row, col) in the image. expansion: of both
    sides. smallest: side in pixels. None where nothing is above the threshold. Rounded as the published code rounds
    the first and the last row and column.
    """
    found = probability if probability.dtype == np.bool_ else probability > np.float32(threshold)
    rows, cols = np.flatnonzero(found.any(axis=1)), np.flatnonzero(found.any(axis=0))
    if not rows.size:
        return None
    pixels = list(positive_pixels)
    edges = []
    for axis, places in enumerate((rows, cols)):
        clicked = [pixel[axis] for pixel in pixels]
        first = min([int(places[0]) + origin[axis], *clicked])
        last = max([int(places[-1]) + origin[axis], *clicked])
        side = max(expansion * (last - first + 1), smallest)
        middle = 0.5 * (first + last)
        length = (image or probability.shape)[axis]
        edges.append((max(0, round(middle - 0.5 * side)), min(length - 1, round(middle + 0.5 * side)) + 1))
    (top, bottom), (left, right) = edges
    return Region(top, left, bottom, right)


def window_holds(region: Region, pixels: Iterable[tuple[int, int]]) -> bool:
    """Whether all pixels (row, col) lie in the region, its last row and its last column left out, as published."""
    return all(
        region.top <= row < region.bottom - 1 and region.left <= col < region.right - 1 for row, col in pixels
    )


def window_points(
    clicks: Iterable[tuple[int, int, bool]], region: Region, height: int, width: int
) -> list[Point]:
    """Clicked pixels (row, col, positive) of the image in coordinates of a region resized to height x width."""
    return [
        (
            height * (row - region.top) / region.height,
            width * (col - region.left) / region.width,
            positive,
        )
        for row, col, positive in clicks
    ]


def shifted_logits(probability: Floats, threshold: float) -> Floats:
    """Finite logits, of the probabilities' shape, that are above 0 exactly where the probability is above threshold.

    log(p / (1 - p)) - log(t / (1 - t)), cut off at ``LIMIT`` on both sides.
    """
    above = probability > np.float32(threshold)
    values = np.asarray(logit(probability), dtype=np.float32)
    values -= np.float32(logit(threshold))
    np.clip(values, -LIMIT, LIMIT, out=values)
    np.maximum(values, LEAST, out=values, where=above)
    np.minimum(values, 0.0, out=values, where=~above)
    return values
