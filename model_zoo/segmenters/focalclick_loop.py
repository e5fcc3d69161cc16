"""FocalClick's bookkeeping from click to click: where to look, where to refine, what of a mask to change.

Chen et al., FocalClick, CVPR 2022, sections 3.1, 3.3 and 3.4, and the published predictor
(github.com/XavierCHEN34/ClickSEG, commit 0c801cf; its README says MIT, its licence file Apache-2.0); written from a
description of both. Odd sides are rounded as there. Deliberate differences: where the published code would give an
empty focus crop, the target crop is refined; a merge changes nothing where the click agrees with the mask already or
the new mask does not differ from it at the click (there, all that did not change would change instead).
"""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np
from numpy.typing import NDArray

from model_zoo.segmenters.zoom_in import Region

Bools = NDArray[np.bool_]
FEWEST = 10  # pixels that a mask needs to have a box
EXPANSION = 1.4  # of the box, both sides
SMALL = 3  # times smaller than the object's box in height or width: such a change is refined with its surroundings
AROUND = 0.2  # of the object's longer side: how far they reach from the click


def focus_region(found: Bools, previous: Bools, click: tuple[int, int], target: Region) -> Region:
    """The part of the target crop worth refining: what changed at the click, or all of a new object.

    found, previous: (H, W) coarse and former mask. click: (row, col), the last one. Where nothing changed at the
    click, that is the box of all that did not change.
    """
    edges: tuple[float, float, float, float] = _box(found)
    if previous.any():
        longest = max(edges[1] - edges[0], edges[3] - edges[2])
        changed = _box(_component(found ^ previous, click))
        tall = SMALL * (changed[1] - changed[0]) >= edges[1] - edges[0]
        wide = SMALL * (changed[3] - changed[2]) >= edges[3] - edges[2]
        reach = AROUND * longest
        row, col = click
        edges = changed if tall and wide else (row - reach, row + reach, col - reach, col + reach)
    height, width = found.shape
    top, bottom = _expand(edges[0], edges[1], height)
    left, right = _expand(edges[2], edges[3], width)
    top, bottom = max(top, target.top), min(bottom, target.bottom)
    left, right = max(left, target.left), min(right, target.right)
    return Region(top, left, bottom, right) if top < bottom and left < right else target


def merge(previous: Bools, found: Bools, clicks: Iterable[tuple[int, int, bool]]) -> Bools:
    """The previous mask (H, W) with the changes in which the clicks (row, col, positive) lie, and no others.

    found: (H, W), the new mask. A change is a connected part of what differs.
    """
    merged = previous.copy()
    changed = found ^ previous
    for row, col, positive in clicks:
        if changed[row, col] and previous[row, col] != positive:
            merged[_component(changed, (row, col))] = positive
    return merged


def _component(mask: Bools, pixel: tuple[int, int]) -> Bools:
    """The connected part (corners connect) that a pixel lies in; all of the background where it is there."""
    if not mask[pixel]:
        return ~mask
    _, labels = cv2.connectedComponents(mask.astype(np.uint8))
    return np.asarray(labels == labels[pixel], dtype=np.bool_)


def _box(mask: Bools) -> tuple[int, int, int, int]:
    """First and last row, first and last column of a mask; of almost nothing, 0 and the image's sides."""
    if np.count_nonzero(mask) < FEWEST:
        return 0, mask.shape[0], 0, mask.shape[1]
    rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(rows[0]), int(rows[-1]), int(cols[0]), int(cols[-1])


def _expand(first: float, last: float, length: int) -> tuple[int, int]:
    """First row and end of the expanded interval, cut towards 0 and into the image."""
    middle, side = 0.5 * (first + last), EXPANSION * (last - first + 1)
    return max(0, int(middle - side * 0.5)), min(length, int(middle + side * 0.5))
