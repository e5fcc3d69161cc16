"""Next-click suggestion: the pixel whose answer the model is least sure of.

Uncertainty is 2 min(p, 1 - p) of the probability moderated by the posterior variance (``Mask.uncertainty``, else
from the logits); the most uncertain pixel is moved to the middle of the uncertain region that it lies in. A hint for
the annotator, who says what the pixel is; clicks on errors that the annotator sees are worth more.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from model_zoo.prompt import Click, Prompt
from model_zoo.segmenters.base import Mask
from model_zoo.segmenters.probability import uncertainty

Floats = NDArray[np.float32]
GRID_SIDE = 128  # cells of the longer side
CLEARANCE = 0.03  # of the longer side: nothing is suggested nearer to a click
LEAST = 0.2  # no suggestion when nothing is more uncertain than this (p between 0.1 and 0.9)
REGION_SHARE = 0.7  # of the greatest uncertainty: connected cells above it are one region


def suggest_click(mask: Mask, prompt: Prompt) -> Click | None:
    """The pixel to ask about next, as a positive click; its true sign is the annotator's to say.

    None before the first click, and when the mask is sure everywhere but near the clicks. Ties go to the first
    in row-major order of the grid.
    """
    if not prompt.clicks:
        return None
    height, width = mask.logits.shape
    scale = min(1.0, GRID_SIDE / max(height, width))
    grid = max(1, round(height * scale)), max(1, round(width * scale))
    uncertain = _uncertainty(mask, grid)
    uncertain[_near_clicks(prompt, (height, width), grid)] = 0.0
    peak = int(uncertain.argmax())
    greatest = float(uncertain.flat[peak])
    if greatest < LEAST:
        return None
    row, col = _middle(uncertain >= REGION_SHARE * greatest, peak)
    return Click(
        (int((row + 0.5) * height / grid[0])) + 0.5, (int((col + 0.5) * width / grid[1])) + 0.5, True
    )


def _uncertainty(mask: Mask, grid: tuple[int, int]) -> Floats:
    """(h, w) in [0, 1], averaged over the cells of the grid."""
    source = mask.logits if mask.uncertainty is None else mask.uncertainty
    small = cv2.resize(source, grid[::-1], interpolation=cv2.INTER_AREA).reshape(grid).astype(np.float32)
    return uncertainty(small) if mask.uncertainty is None else small


def _near_clicks(prompt: Prompt, image: tuple[int, int], grid: tuple[int, int]) -> NDArray[np.bool_]:
    """(h, w): cells that hold a click or whose centre is within CLEARANCE of one."""
    rows, cols = np.ogrid[: grid[0], : grid[1]]
    near = np.zeros(grid, dtype=np.bool_)
    for click in prompt.clicks:
        row, col = (
            pixel * cells // side for pixel, cells, side in zip(click.pixel(*image), grid, image, strict=True)
        )
        near |= np.hypot(rows - row, cols - col) <= CLEARANCE * max(grid)
    return near


def _middle(region: NDArray[np.bool_], inside: int) -> tuple[int, int]:
    """(row, col) deepest inside the connected part of the region that holds a flat index."""
    _, parts = cv2.connectedComponents(region.astype(np.uint8), connectivity=4)
    part = np.pad(parts == parts.flat[inside], 1).astype(np.uint8)
    depth = cv2.distanceTransform(part, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    row, col = np.unravel_index(int(depth.argmax()), depth.shape)
    return int(row), int(col)
