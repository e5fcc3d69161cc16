"""Random views of a photograph and its regions as the model sees them: the whole of it, or zoomed in on a region.

An object is never cut off by its view, since a click names all of it. The views of a batch have one shape.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from model_zoo.segmenters.zoom_in import Region

Image = NDArray[np.uint8]
Labels = NDArray[np.int32]
Shape = tuple[int, int]
STEP = 32  # sides of views are multiples of it


@dataclass(frozen=True)
class ViewPolicy:
    """side: of the square views; wide and tall ones have about as many pixels. whole: share of views that show the
    whole photograph, as at a first click; the others surround one region, as a zoomed-in model sees it."""

    side: int = 320
    whole: float = 0.45
    square: float = 0.3  # share of batches of square views; of the others two thirds are wide
    trimmed: float = 0.08  # of the whole photograph, at each edge, at most
    margin: tuple[float, float] = (1.15, 3.0)  # sides of a zoomed view over the region's
    stretched: float = 1.5  # change of the ratio of the sides, at most
    smallest: int = 24  # pixels of the photograph that a view shows at least
    mirrored: float = 0.5
    brightness: float = 0.2
    contrast: float = 0.2
    colour: float = 12.0  # shift of each channel, of 255

    def shape(self, rng: np.random.Generator) -> Shape:
        """(height, width) of the views of one batch."""
        short, long = (max(1, round(f * self.side / STEP)) * STEP for f in (0.9, 1.2))
        if rng.random() < self.square:
            return self.side, self.side
        return (short, long) if rng.random() < 2 / 3 else (long, short)


def choose_view(
    region: NDArray[np.bool_], shape: Shape, policy: ViewPolicy, rng: np.random.Generator
) -> Region | None:
    """What of the photograph a view of this shape shows, all of the region in any case.

    None where that would stretch the photograph too much.
    """
    spans = [np.flatnonzero(region.any(axis=1 - axis)) for axis in (0, 1)]
    object_box = [(int(places[0]), int(places[-1]) + 1) for places in spans]
    if rng.random() < policy.whole:
        edges = [
            (int(rng.uniform(0, min(low, most))), length - int(rng.uniform(0, min(length - high, most))))
            for (low, high), length in zip(object_box, region.shape, strict=True)
            for most in (policy.trimmed * length,)
        ]
    else:
        edges = _surroundings(object_box, (region.shape[0], region.shape[1]), shape, policy, rng)
    (top, bottom), (left, right) = edges
    stretch = (right - left) / (bottom - top) * shape[0] / shape[1]
    return Region(top, left, bottom, right) if abs(math.log(stretch)) <= math.log(policy.stretched) else None


def _surroundings(
    box: list[tuple[int, int]], image: Shape, shape: Shape, policy: ViewPolicy, rng: np.random.Generator
) -> list[tuple[int, int]]:
    """Rows and columns of a zoomed view: the box enlarged, towards the ratio of the shape, at a random place."""
    margin = rng.uniform(*policy.margin)
    height, width = (max((high - low) * margin, float(policy.smallest)) for low, high in box)
    ratio = shape[1] / shape[0]
    height, width = max(height, width / ratio), max(width, height * ratio)
    edges = []
    for (low, high), wanted, length in zip(box, (height, width), image, strict=True):
        side = min(max(math.ceil(wanted), high - low), length)
        start = int(rng.integers(max(0, high - side), min(low, length - side) + 1))
        edges.append((start, start + side))
    return edges


def cut(image: Image, region: Region, shape: Shape) -> Image:
    """The region of the photograph at the shape (height, width)."""
    shrinks = region.height * region.width > shape[0] * shape[1]
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    part = np.ascontiguousarray(image[region.window])
    return np.asarray(cv2.resize(part, shape[::-1], interpolation=interpolation), dtype=np.uint8)


def cut_labels(labels: Labels, region: Region, shape: Shape) -> Labels:
    """The region of the label map at the shape (height, width), nearest pixel."""
    part = np.ascontiguousarray(labels[region.window], dtype=np.float32)
    resized = cv2.resize(part, shape[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
    return np.asarray(resized, dtype=np.int32)


def recolour(image: Image, policy: ViewPolicy, rng: np.random.Generator) -> Image:
    """Random contrast, brightness and shift of each channel."""
    gain = 1.0 + rng.uniform(-policy.contrast, policy.contrast)
    shift = rng.uniform(-policy.colour, policy.colour, size=3)
    shift += 255.0 * rng.uniform(-policy.brightness, policy.brightness)
    changed = (image.astype(np.float32) - 127.5) * gain + 127.5 + shift.astype(np.float32)
    return np.asarray(np.clip(changed, 0, 255), dtype=np.uint8)
