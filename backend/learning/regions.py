"""One pixel a region: what looks alike and hangs together is asked about once, where the score is highest.

Regions are cut from the tree of Ward merges (Li et al., ICCV 2023) of small cells, compared by colour and place alone:
an encoder would cost more than the prediction that the scores come from. Of the regions' best pixels a pool is drawn
from, as in PixelPick (Shin et al., ICCV 2021 workshop).
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from backend.learning.acquisition import Scores
from backend.learning.candidates import (
    Excluded,
    Pixels,
    best_first,
    candidates,
    cells_of_pixels,
    to_pixels,
)
from backend.learning.image_context import ImageContext, required
from model_zoo.training.region_tree import RegionTree, build_tree

CELLS = 2_700
"""Of about so many cells a tree is built, whatever the image's size: of 8x8 pixels at 480x360."""
REGIONS = 300
"""An image is cut into so many; on CamVid about 93 % of a region's pixels are of one class."""
POOL = 3
"""Times the budget: so many of the regions' best pixels are drawn from."""
COLOUR, PLACE = 1 / 15, 1 / 0.15
"""Factors of CIE-Lab and of the place in units of the longer side."""


def regions(
    scores: Scores,
    count: int,
    rng: np.random.Generator,
    exclude: Excluded = None,
    context: ImageContext | None = None,
) -> Pixels:
    """A uniform draw from the best of the regions' best pixels; ValueError without the image.

    A region gives a second pixel only where there are fewer regions with a candidate than pixels wanted.
    """
    places = candidates(scores, count, exclude)
    labels = region_labels(required(context, "regions").load())
    grid = labels.shape[0], labels.shape[1]
    found = [places[:0]]
    values = scores.ravel()[places]
    owners = labels.ravel()[cells_of_pixels(grid, scores.shape)[places]]
    while count and places.size:
        pool = _best_of_each(values, owners, rng)[: POOL * count]
        chosen = rng.choice(pool, size=min(count, pool.size), replace=False)
        found.append(places[chosen])
        count -= chosen.size
        left = np.ones(places.size, dtype=bool)
        left[chosen] = False
        places, values, owners = places[left], values[left], owners[left]
    return to_pixels(np.concatenate(found), scores.shape)


def region_labels(image: NDArray[np.uint8], count: int = REGIONS) -> NDArray[np.int64]:
    """A region's number, 0 to ``count`` - 1, for each cell (h, w) of a grid over the image, uint8 (H, W, 3).

    There are fewer regions where there are fewer cells. The same image is always cut in the same way.
    """
    tree = build_tree(_colour_and_place(image))
    return _cut(tree, count)


def _cut(tree: RegionTree, count: int) -> NDArray[np.int64]:
    """Regions (h, w) that are left when the last ``count`` - 1 merges are undone."""
    cells = tree.height * tree.width
    undone = max(cells, tree.root + 2 - count)  # and all nodes after it
    parents = np.append(tree.parents[:-1], tree.root + 1)
    labels = np.empty(cells, dtype=np.int64)
    for label, node in enumerate(np.flatnonzero(parents[:undone] >= undone)):
        start = tree.start[node]
        labels[tree.order[start : start + tree.size[node]]] = label
    return labels.reshape(tree.height, tree.width)


def _colour_and_place(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Mean Lab colour and place (h, w, 5) of the cells."""
    height, width = image.shape[:2]
    side = max(1.0, math.sqrt(height * width / CELLS))
    grid = max(1, round(height / side)), max(1, round(width / side))
    cells = cv2.resize(image, grid[::-1], interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    lab = cv2.cvtColor(cells.reshape(*grid, 3), cv2.COLOR_RGB2Lab) * COLOUR
    place = np.mgrid[: grid[0], : grid[1]].transpose(1, 2, 0) * (PLACE / max(grid))
    return np.ascontiguousarray(np.concatenate([lab, place], axis=2), dtype=np.float32)


def _best_of_each(
    values: NDArray[np.floating], owners: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Places of each region's highest value, best first; values (n,) belong to the regions ``owners`` (n,)."""
    peaks = np.full(owners.max() + 1, -np.inf, dtype=values.dtype)
    np.maximum.at(peaks, owners, values)
    highest = rng.permutation(np.flatnonzero(values == peaks[owners]))
    _, first = np.unique(owners[highest], return_index=True)
    return best_first(values, highest[first], rng)
