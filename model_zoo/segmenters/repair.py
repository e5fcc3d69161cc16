"""Last step at image resolution: the clicked pixel always has the clicked sign.

A contradicted click is answered by the smallest change that still looks like an answer. When it sits in a small
connected component (an island to remove, a hole to fill) that component flips; else a soft bump grows around
the click, cut off half-way to the nearest click of the other sign.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

from model_zoo.prompt import Click

COMPONENT_REACH = (
    0.05  # of the longer side: a component that ends within this distance of the click flips whole
)
BUMP_RADIUS = 0.015  # of the longer side, at least 2 pixels
MARGIN = 1.0  # logit that a repaired click gets

Signs = Mapping[tuple[int, int], bool]


def honour_clicks(logits: NDArray[np.float32], clicks: Iterable[Click]) -> tuple[NDArray[np.float32], int]:
    """Logits whose sign agrees with every click, and how many clicks were contradicted before.

    logits: (H, W) float32, object where above 0; not changed in place, returned as it is when nothing is
    contradicted. Of several clicks on one pixel the latest counts. Pixels change only within COMPONENT_REACH of
    a contradicted click and only to its sign; no pixel of another click ever loses the sign of that click.
    """
    height, width = logits.shape
    signs = {click.pixel(height, width): click.positive for click in clicks}
    wrong = [pixel for pixel, positive in signs.items() if bool(logits[pixel] > 0) != positive]
    if not wrong:
        return logits, 0
    repaired = logits.copy()
    for pixel in wrong:
        if bool(repaired[pixel] > 0) != signs[pixel] and not _flip_component(repaired, pixel, signs):
            _bump(repaired, pixel, signs)
    return repaired, len(wrong)


def _flip_component(logits: NDArray[np.float32], pixel: tuple[int, int], signs: Signs) -> bool:
    """Flip the component under the pixel in place; False when it is too large or another click wants it so."""
    top, left, patch = _window(logits, pixel, max(2.0, COMPONENT_REACH * max(logits.shape)))
    positive = signs[pixel]
    _, ids = cv2.connectedComponents(np.asarray((patch > 0) != positive, dtype=np.uint8), connectivity=4)
    component = ids == ids[pixel[0] - top, pixel[1] - left]
    bottom, right = top + patch.shape[0], left + patch.shape[1]
    goes_on = (
        (top > 0 and component[0].any())
        or (left > 0 and component[:, 0].any())
        or (bottom < logits.shape[0] and component[-1].any())
        or (right < logits.shape[1] and component[:, -1].any())
    )
    wanted = any(
        other != positive and top <= row < bottom and left <= col < right and component[row - top, col - left]
        for (row, col), other in signs.items()
    )
    if goes_on or wanted:
        return False
    sign = 1.0 if positive else -1.0
    patch[component] = sign * np.maximum(np.abs(patch[component]), 1e-3)
    logits[pixel] = sign * MARGIN
    return True


def _bump(logits: NDArray[np.float32], pixel: tuple[int, int], signs: Signs) -> None:
    """Bring the logits around a pixel to its sign, in place, keeping clear of the clicks of the other sign."""
    row, col = pixel
    radius = max(2.0, BUMP_RADIUS * max(logits.shape))
    for (other_row, other_col), positive in signs.items():
        if positive != signs[pixel]:
            radius = min(radius, 0.5 * float(np.hypot(other_row - row, other_col - col)))
    top, left, patch = _window(logits, pixel, radius)
    rows, cols = np.ogrid[top : top + patch.shape[0], left : left + patch.shape[1]]
    distance = np.hypot(rows - row, cols - col)
    target = np.where(distance < radius, MARGIN * (1.0 - distance / radius), -np.inf)
    sign = 1.0 if signs[pixel] else -1.0
    patch[:] = sign * np.maximum(sign * patch, target)


def _window(
    logits: NDArray[np.float32], pixel: tuple[int, int], reach: float
) -> tuple[int, int, NDArray[np.float32]]:
    """Top, left and a view of the square of pixels within ``reach`` of the pixel, clipped to the image."""
    (row, col), span = pixel, int(reach)
    top, left = max(0, row - span), max(0, col - span)
    return top, left, logits[top : row + span + 1, left : col + span + 1]
