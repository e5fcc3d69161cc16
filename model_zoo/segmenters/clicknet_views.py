"""Regions of the image as ``clicknet`` sees them, and what must move along: prompts, earlier answers."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from model_zoo.prompt import Box, Click, Prompt, Stroke
from model_zoo.segmenters.clicknet_network import MULTIPLE, Pyramid
from model_zoo.segmenters.zoom_in import Region

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class View:
    """A region of the image as the network saw it, resized to (height, width).

    pyramid: one entry, or two with that of the mirror image. grey: (height, width) uint8.
    """

    region: Region
    grey: NDArray[np.uint8]
    pyramid: Pyramid

    @property
    def height(self) -> int:
        return self.grey.shape[0]

    @property
    def width(self) -> int:
        return self.grey.shape[1]

    @property
    def nbytes(self) -> int:
        return self.grey.nbytes + sum(level.numel() * level.element_size() for level in self.pyramid)


def cut(image: NDArray[np.uint8], region: Region, side: int) -> NDArray[np.uint8]:
    """A region of the image at about the given longer side, each side a multiple of 32."""
    scale = side / max(region.height, region.width)
    height, width = (
        max(1, round(length * scale / MULTIPLE)) * MULTIPLE for length in (region.height, region.width)
    )
    shrinks = region.height * region.width > height * width
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    part = np.ascontiguousarray(image[region.window])
    return np.asarray(cv2.resize(part, (width, height), interpolation=interpolation), dtype=np.uint8)


def marked(prompt: Prompt, shape: tuple[int, int]) -> list[Click]:
    """Positive clicks and strokes and the corners of the box, within the image: what must stay in view."""
    points = [(click.row, click.col) for click in prompt.clicks if click.positive]
    points += [point for stroke in prompt.strokes if stroke.positive for point in stroke.points]
    if (box := prompt.box) is not None:
        points += [(box.top, box.left), (box.bottom, box.right)]
    height, width = shape
    return [Click(min(max(row, 0.0), height - 1e-3), min(max(col, 0.0), width - 1e-3)) for row, col in points]


def moved(prompt: Prompt, view: View) -> Prompt:
    """The prompt in coordinates of the view."""
    region = view.region
    scales = view.height / region.height, view.width / region.width

    def at(row: float, col: float) -> tuple[float, float]:
        return (row - region.top) * scales[0], (col - region.left) * scales[1]

    clicks = tuple(Click(*at(click.row, click.col), click.positive) for click in prompt.clicks)
    strokes = tuple(
        Stroke(tuple(at(*point) for point in stroke.points), stroke.positive, stroke.radius)
        for stroke in prompt.strokes
    )
    if (box := prompt.box) is not None:
        box = Box(*at(box.top, box.left), *at(box.bottom, box.right))
    return Prompt(clicks, box, strokes)


def transfer(probability: Floats, old: Region, view: View) -> Floats:
    """Probability (h, w) of the region ``old`` at (view.height, view.width); 0 where it did not look."""
    rows, cols = probability.shape
    new = view.region
    if old == new:
        size = view.width, view.height
        return np.asarray(cv2.resize(probability, size, interpolation=cv2.INTER_LINEAR))
    matrix = np.zeros((2, 3))
    for axis, (shift, old_pixel, new_pixel) in enumerate(  # x, then y; sizes in pixels of the image
        (
            (new.left - old.left, old.width / cols, new.width / view.width),
            (new.top - old.top, old.height / rows, new.height / view.height),
        )
    ):
        scale = new_pixel / old_pixel
        matrix[axis, axis] = scale
        matrix[axis, 2] = shift / old_pixel + 0.5 * scale - 0.5
    warped = cv2.warpAffine(
        probability,
        matrix,
        (view.width, view.height),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=0.0,
    )
    return np.asarray(warped, dtype=np.float32)
