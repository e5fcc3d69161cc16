"""Random views of an image: scale, crop, flip and colours, with labelled pixels moved along as coordinates.

Coordinates are exact where a warped label mask drops or doubles points: of PixelPick's points about half are used a
sample when the mask is resized with the image, two thirds this way, all with the same weight.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Size = tuple[int, int]
Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Augmentation:
    """What is random. Scales are uniform; jitter factors are uniform in 1 +- the value, hue in +- its share of a turn.

    anchored: a crop smaller than the image is placed so that it shows a labelled pixel drawn before.
    """

    scales: tuple[float, float] = (0.5, 2.0)
    flip: float = 0.5
    anchored: bool = True
    brightness: float = 0.4
    contrast: float = 0.4
    saturation: float = 0.4
    hue: float = 0.05
    jitter: float = 0.8  # chance of the four above
    grey: float = 0.1
    blur: float = 0.2


@dataclass(frozen=True)
class View:
    """A window of the image (first row, first column, height, width), the size it is resized to, whether mirrored."""

    window: tuple[int, int, int, int]
    shown: Size
    mirrored: bool

    def places(self, pixels: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Where the centres of the image's pixels (n, 2) are in the view, float (m, 2), and which of them it shows."""
        top, left, height, width = self.window
        moved = pixels - (top, left)
        seen = np.asarray(((moved >= 0) & (moved < (height, width))).all(axis=1))
        places = np.asarray((moved[seen] + 0.5) * (self.shown[0] / height, self.shown[1] / width))
        if self.mirrored:
            places[:, 1] = self.shown[1] - places[:, 1]
        return places, seen

    def pixels(self, places: NDArray[np.float64]) -> NDArray[np.int64]:
        """The image's pixels (n, 2) that lie under places of the view: the reverse of ``places``."""
        top, left, height, width = self.window
        cols = self.shown[1] - places[:, 1] if self.mirrored else places[:, 1]
        moved = np.stack([places[:, 0], cols], axis=1) * (height / self.shown[0], width / self.shown[1])
        inside = np.minimum(np.floor(moved).astype(np.int64), (height - 1, width - 1))
        return np.asarray(inside + np.array((top, left)), dtype=np.int64)

    def render(self, image: Image, crop: Size, fill: NDArray[np.uint8]) -> Image:
        """The view (H, W, 3) of size ``crop``; below and right of what is shown, the colour ``fill``."""
        top, left, height, width = self.window
        part = image[top : top + height, left : left + width]
        if self.shown != (height, width):
            shrinks = self.shown[0] < height
            interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
            part = np.asarray(cv2.resize(part, self.shown[::-1], interpolation=interpolation), dtype=np.uint8)
        canvas = np.empty((*crop, 3), dtype=np.uint8)
        canvas[:] = fill
        canvas[: self.shown[0], : self.shown[1]] = part[:, ::-1] if self.mirrored else part
        return canvas


def draw_view(
    rng: np.random.Generator,
    size: Size,
    crop: Size,
    policy: Augmentation,
    anchor: tuple[int, int] | None = None,
) -> View:
    """A random view of an image of that size that fits into the crop; with an anchor (row, col), one that shows it."""
    scale = float(rng.uniform(*policy.scales))
    spans = []
    for axis in range(2):
        whole, target = size[axis], crop[axis]
        length = min(whole, max(1, round(target / scale)))
        first, last = 0, whole - length
        if anchor is not None and policy.anchored:
            first, last = max(0, anchor[axis] - length + 1), min(last, anchor[axis])
        start = int(rng.integers(first, last + 1))
        spans.append((start, length, min(target, max(1, round(length * scale)))))
    (top, height, rows), (left, width, cols) = spans
    return View((top, left, height, width), (rows, cols), bool(rng.random() < policy.flip))


def recolour(rng: np.random.Generator, image: Image, policy: Augmentation) -> Image:
    """The image (H, W, 3) with random colours and sharpness; its geometry stays."""
    if rng.random() < policy.jitter:
        image = _jitter(rng, image, policy)
    if rng.random() < policy.grey:
        image = np.repeat(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[:, :, np.newaxis], 3, axis=2)
    if rng.random() < policy.blur:
        side = int(0.1 * min(image.shape[:2])) // 2 * 2 + 1  # a tenth of the short side, odd (PixelPick)
        image = np.asarray(
            cv2.GaussianBlur(image, (side, side), float(rng.uniform(0.1, 2.0))), dtype=np.uint8
        )
    return image


def _jitter(rng: np.random.Generator, image: Image, policy: Augmentation) -> Image:
    bright, contrast, saturation = (
        np.float32(rng.uniform(max(0.0, 1 - amount), 1 + amount))
        for amount in (policy.brightness, policy.contrast, policy.saturation)
    )
    pixels = np.clip(image.astype(np.float32) * bright, 0, 255)
    mean = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY).mean(dtype=np.float64)
    pixels = np.clip(np.float32(mean) + (pixels - np.float32(mean)) * contrast, 0, 255)
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)[:, :, np.newaxis]
    shaded = np.clip(grey + (pixels - grey) * saturation, 0, 255).astype(np.uint8)
    turn = round(float(rng.uniform(-policy.hue, policy.hue)) * 180)  # OpenCV counts hue in half degrees
    if turn == 0:
        return shaded
    hsv = cv2.cvtColor(shaded, cv2.COLOR_RGB2HSV)
    hsv[:, :, 0] = (hsv[:, :, 0].astype(np.int16) + turn) % 180
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB), dtype=np.uint8)
