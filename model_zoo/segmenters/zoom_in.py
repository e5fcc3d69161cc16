"""Zoom-in: from the second click on a click network looks at the surroundings of the object only.

Sofiiuk et al., f-BRS (2001.10331), section 3.3, with RITM's rules for keeping the region from click to click.
Deliberate differences: a region that covers most of the image is the image itself, whose features are at hand; the
smallest side is a share of the image's, so that small objects of large photographs are seen as large.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model_zoo.prompt import Click

Size = tuple[int, int]


@dataclass(frozen=True)
class ZoomPolicy:
    """expansion: of the object's box. smallest: side as a share of the image's longer side. keep: overlap with the
    earlier region from which on it is kept. whole: overlap with the image from which on it is not worth zooming."""

    expansion: float = 1.8
    smallest: float = 0.1
    keep: float = 0.5
    whole: float = 0.7


@dataclass(frozen=True)
class Region:
    """Rows top to bottom and columns left to right of the image, ends exclusive."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def height(self) -> int:
        return self.bottom - self.top

    @property
    def width(self) -> int:
        return self.right - self.left

    @property
    def window(self) -> tuple[slice, slice]:
        return slice(self.top, self.bottom), slice(self.left, self.right)

    def holds(self, click: Click) -> bool:
        return self.top <= click.row < self.bottom and self.left <= click.col < self.right

    def overlap(self, other: Region) -> float:
        """Product of the intersections over unions of the row and the column intervals, as in RITM."""
        rows = _interval_iou((self.top, self.bottom), (other.top, other.bottom))
        return rows * _interval_iou((self.left, self.right), (other.left, other.right))


def _interval_iou(one: tuple[int, int], two: tuple[int, int]) -> float:
    both = min(one[1], two[1]) - max(one[0], two[0])
    return max(0, both) / (max(one[1], two[1]) - min(one[0], two[0]))


def whole(image: Size) -> Region:
    """The region that is the image; image is (height, width)."""
    return Region(0, 0, *image)


def object_region(
    probability: NDArray[np.float32], shown: Region, clicks: Sequence[Click], image: Size, policy: ZoomPolicy
) -> Region | None:
    """Surroundings of the pixels above 0.5 and of the positive clicks, or None where nothing is above 0.5.

    probability: (h, w) float32, any resolution, of the image region ``shown``.
    """
    found = probability > 0.5
    if not found.any():
        return None
    edges = []
    for axis, (start, length) in enumerate(((shown.top, shown.height), (shown.left, shown.width))):
        places = np.flatnonzero(found.any(axis=1 - axis))
        scale = length / probability.shape[axis]
        low, high = start + places[0] * scale, start + (places[-1] + 1) * scale
        points = [(click.row, click.col)[axis] for click in clicks if click.positive]
        low, high = min([low, *points]), max([high, *(point + 1 for point in points)])
        side = max((high - low) * policy.expansion, policy.smallest * max(image))
        middle = (low + high) / 2
        edges.append((max(0, round(middle - side / 2)), min(image[axis], round(middle + side / 2))))
    (top, bottom), (left, right) = edges
    return Region(top, left, max(bottom, top + 1), max(right, left + 1))


def next_region(
    earlier: Region | None, found: Region | None, clicks: Sequence[Click], image: Size, policy: ZoomPolicy
) -> Region:
    """Where to look now: the earlier region while it still fits, else the object's, else the whole image."""
    everything = whole(image)
    if found is None:
        return everything
    inside = earlier is not None and all(earlier.holds(click) for click in clicks if click.positive)
    if earlier is not None and earlier != everything and inside and earlier.overlap(found) >= policy.keep:
        return earlier
    return everything if found.overlap(everything) >= policy.whole else found
