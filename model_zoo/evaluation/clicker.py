"""Simulated annotators: where the next click goes, given the mask so far and the truth."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from model_zoo.prompt import Click

Bool = NDArray[np.bool_]
Distance = NDArray[np.float32]

INNER_SHARE = 0.3
"""Of the largest distance to the edge of an error region: nearer to the edge nobody aims."""


class Clicker(Protocol):
    """Chooses the next click.

    mask: (H, W) bool, the answer so far. truth: (H, W) uint8, 1 object, 0 background, 255 ignored. clicks: those
    made before. None when there is nothing left to click at.
    """

    def __call__(self, mask: Bool, truth: NDArray[np.uint8], clicks: Sequence[Click]) -> Click | None: ...


def center_click(mask: Bool, truth: NDArray[np.uint8], clicks: Sequence[Click]) -> Click | None:
    """The click of the standard protocol: at the error pixel that lies farthest from any pixel without that error.

    Errors are missed object and wrong object among the pixels that count; beyond the image there is none. Pixels
    clicked before are left out. Positive only where the missed object is strictly deeper; of equally deep pixels
    the first in row-major order. Source: protocol of RITM (Sofiiuk et al., ICIP 2022), as f-BRS before it.
    """
    missed, wrong = error_depths(mask, truth, clicks)
    positive = bool(missed.max() > wrong.max())
    depth = missed if positive else wrong
    if depth.max() <= 0:
        return None
    return _click(int(depth.argmax()), depth.shape[1], positive)


@dataclass(frozen=True)
class HumanClicker:
    """Clicks as people place them: anywhere in the inner part of the error that ``center_click`` would choose.

    RClicks (Antonov et al., NeurIPS 2024, arXiv 2410.11722) recorded where people click. They go for the large
    errors as the protocol does, yet scatter within them, the first click on an object too, and models that are
    equally good at the centre differ off it. Its learned density of clicks needs a network, so this is a stand-in:
    uniform over the connected error around the deepest pixel, without the rim that is shallower than
    ``INNER_SHARE`` of the greatest depth. In a disk that leaves the middle 70 % of the radius: half of the area,
    and no click so near to an edge that its side would be in doubt.

    The draw depends on seed, name of the sample and number of the click, not on the order of the samples.
    """

    seed: int
    sample: str

    def __call__(self, mask: Bool, truth: NDArray[np.uint8], clicks: Sequence[Click]) -> Click | None:
        missed, wrong = error_depths(mask, truth, clicks)
        positive = bool(missed.max() > wrong.max())
        depth = missed if positive else wrong
        if depth.max() <= 0:
            return None
        inner = _component(depth > 0, int(depth.argmax())) & (depth >= INNER_SHARE * depth.max())
        key = hashlib.sha256(f"{self.seed}:{len(clicks)}:{self.sample}".encode()).digest()
        generator = np.random.default_rng(int.from_bytes(key[:8], "big"))
        return _click(int(generator.choice(np.flatnonzero(inner))), depth.shape[1], positive)


def error_depths(mask: Bool, truth: NDArray[np.uint8], clicks: Sequence[Click]) -> tuple[Distance, Distance]:
    """How deep each pixel lies in missed object and in wrong object: two (H, W) float32, in pixels.

    Exact Euclidean distance to the nearest pixel without that error, the surroundings of the image among them;
    0 where there is no such error (an ignored pixel is in neither), and at the pixels clicked before.
    """
    missed = _depth((truth == 1) & ~mask)
    wrong = _depth((truth == 0) & mask)
    for click in clicks:
        pixel = click.pixel(*truth.shape)
        missed[pixel] = wrong[pixel] = 0.0
    return missed, wrong


def _depth(error: Bool) -> Distance:
    depth: Distance = np.zeros(error.shape, dtype=np.float32)
    rows, cols = np.flatnonzero(error.any(axis=1)), np.flatnonzero(error.any(axis=0))
    if rows.size:
        # Exact within the errors' bounding box: what lies around it is no error, as the padding says.
        box = slice(rows[0], rows[-1] + 1), slice(cols[0], cols[-1] + 1)
        padded = np.pad(error[box], 1).astype(np.uint8)
        depth[box] = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    return depth


def _component(region: Bool, inside: int) -> Bool:
    """The connected part of a region that holds the pixel of the given flat index."""
    _, labels = cv2.connectedComponents(region.astype(np.uint8), connectivity=4)
    return np.asarray(labels == labels.flat[inside])


def _click(index: int, width: int, positive: bool) -> Click:
    row, col = divmod(index, width)
    return Click(row + 0.5, col + 0.5, positive)
