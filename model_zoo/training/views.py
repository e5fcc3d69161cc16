"""Random square views of a photograph and its regions: crop, size, mirror, colour.

The right and bottom edges of a crop come from its own left and top: the official GPCIS code takes the right edge
from the top offset and the full width.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Labels = NDArray[np.int32]


@dataclass(frozen=True)
class ViewPolicy:
    """side: pixels of the view. zoomed: share of views around one region, as a zoomed-in model sees it."""

    side: int = 320
    zoomed: float = 0.55
    margin: tuple[float, float] = (1.05, 2.2)  # side of a zoomed view over the region's longer side
    long_side: tuple[float, float] = (360.0, 600.0)  # of the whole image in the other views
    smallest: int = 24  # pixels of the photograph that a view shows at least
    mirrored: float = 0.5
    brightness: float = 0.2
    contrast: float = 0.2
    colour: float = 12.0  # shift of each channel, of 255


@dataclass(frozen=True)
class Crop:
    """A square of the photograph: rows top to top + side, columns left to left + side."""

    top: int
    left: int
    side: int

    @property
    def window(self) -> tuple[slice, slice]:
        return slice(self.top, self.top + self.side), slice(self.left, self.left + self.side)


def choose_crop(region: NDArray[np.bool_], policy: ViewPolicy, rng: np.random.Generator) -> Crop:
    """A crop that shows at least one pixel of the region, all of it when zoomed and the photograph allows."""
    height, width = region.shape
    rows, cols = np.flatnonzero(region.any(axis=1)), np.flatnonzero(region.any(axis=0))
    if rng.random() < policy.zoomed:
        extent = max(rows[-1] - rows[0], cols[-1] - cols[0]) + 1
        wanted = extent * rng.uniform(*policy.margin)
        centre = ((rows[0] + rows[-1]) / 2, (cols[0] + cols[-1]) / 2)
        slack = max(0.0, wanted - extent) / 2
    else:
        wanted = policy.side * max(height, width) / rng.uniform(*policy.long_side)
        place = np.argwhere(region)[rng.integers(int(region.sum()))]
        centre, slack = (float(place[0]), float(place[1])), float(wanted) / 2
    side = int(np.clip(wanted, min(policy.smallest, height, width), min(height, width)))
    starts = [
        int(np.clip(round(middle + rng.uniform(-slack, slack) - side / 2), 0, length - side))
        for middle, length in zip(centre, (height, width), strict=True)
    ]
    return _keep_inside(Crop(starts[0], starts[1], side), centre)


def _keep_inside(crop: Crop, centre: tuple[float, float]) -> Crop:
    """Move the crop as little as needed to hold the centre."""
    top = min(crop.top, int(centre[0]))
    left = min(crop.left, int(centre[1]))
    return Crop(
        max(top, int(centre[0]) - crop.side + 1), max(left, int(centre[1]) - crop.side + 1), crop.side
    )


def cut(image: Image, crop: Crop, side: int) -> Image:
    """The cropped photograph at (side, side)."""
    part = image[crop.window]
    interpolation = cv2.INTER_AREA if crop.side > side else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(part, (side, side), interpolation=interpolation), dtype=np.uint8)


def cut_labels(labels: Labels, crop: Crop, side: int) -> Labels:
    """The cropped region map at (side, side), nearest pixel."""
    part = np.ascontiguousarray(labels[crop.window], dtype=np.float32)
    resized = cv2.resize(part, (side, side), interpolation=cv2.INTER_NEAREST_EXACT)
    return np.asarray(resized, dtype=np.int32)


def recolour(image: Image, policy: ViewPolicy, rng: np.random.Generator) -> Image:
    """Random contrast, brightness and shift of each channel."""
    gain = 1.0 + rng.uniform(-policy.contrast, policy.contrast)
    shift = rng.uniform(-policy.colour, policy.colour, size=3)
    shift += 255.0 * rng.uniform(-policy.brightness, policy.brightness)
    changed = (image.astype(np.float32) - 127.5) * gain + 127.5 + shift.astype(np.float32)
    return np.asarray(np.clip(changed, 0, 255), dtype=np.uint8)
