"""Masks <-> polygons in percent of the image, as Label Studio's polygon regions hold them.

Label Studio's polygons have no holes: a hole is joined to its outline by a bridge of no width, passed once in each
direction. A pixel belongs to a polygon when the polygon winds around its centre (the browser's nonzero rule).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from label_config.contours import Loop, Part, parts, signed_area

SPECK = 4
"""Parts and holes of fewer pixels are noise that an annotator cannot see; they are left out."""

MAX_POINTS = 99
"""Label Studio's editor stays quick below a hundred points."""

_COARSER = 1.4
_LIKENESS = 0.9
_SMOOTH = 1.0
"""Pixels along the outline over which the steps of pixels are evened out; a smaller tolerance evens out less."""
_CORNER = 4
"""Pixels; a corner between two straight sides of so many is no step but a corner."""
_SHORT = 16
"""Outlines of fewer pixels are left as they are: there would be little left of them."""

Polygon = list[list[float]]
Points = NDArray[np.float64]
"""(n, 2) as (x, y) in pixels."""


@dataclass(frozen=True)
class PolygonForm:
    """How outlines become polygons. ``tolerance``: pixels by which one may be off its mask, 0: none at all."""

    tolerance: float = 1.0
    max_points: int = MAX_POINTS


DEFAULT_FORM = PolygonForm()


def mask_to_polygons(
    mask: NDArray[np.bool_],
    *,
    tolerance: float = DEFAULT_FORM.tolerance,
    max_points: int = MAX_POINTS,
    speck: int = SPECK,
) -> list[Polygon]:
    """One polygon of (x, y) percent points for each 8-connected part of a mask (H, W), largest first.

    Outlines are smoothed, and simplified by ``tolerance`` pixels, or by more when they would have more than
    ``max_points``; a part that so few points cannot show (IoU below 0.9: thin, winding) gets more.
    ``tolerance=0, speck=0`` keeps every pixel.
    Parts below ``speck`` pixels are left out, but never all of them; [] for an empty mask.
    """
    height, width = mask.shape
    found = parts(mask)
    kept = [part for part in found if part.area >= speck] or found[:1]
    scale = np.array([100 / width, 100 / height])
    return [np.round(_polygon(part, tolerance, max_points, speck) * scale, 7).tolist() for part in kept]


def polygons_to_mask(
    polygons: Sequence[Sequence[Sequence[float]]], height: int, width: int
) -> NDArray[np.bool_]:
    """Union (height, width) of polygons of (x, y) percent points."""
    mask = np.zeros((height, width), bool)
    for polygon in polygons:
        _fill(mask, np.asarray(polygon, np.float64) * [width / 100, height / 100])
    return mask


def _polygon(part: Part, tolerance: float, max_points: int, speck: int) -> NDArray[np.float64]:
    """The part as one outline: as coarse as ``max_points`` needs, as fine as its likeness needs."""
    holes = [hole for hole in part.holes if -signed_area(hole) >= speck]
    best = None
    while True:
        polygon = _join(_simplify(part.outline, tolerance), [_simplify(hole, tolerance) for hole in holes])
        if tolerance > 0 and _likeness(part, polygon) < _LIKENESS:
            break
        best = polygon
        if len(polygon) <= max_points or tolerance == 0:
            return best
        tolerance *= _COARSER
    return (
        best
        if best is not None
        else _polygon(part, tolerance / 2 if tolerance > 0.3 else 0, max_points, speck)
    )


def _likeness(part: Part, polygon: NDArray[np.float64]) -> float:
    """Intersection over union of the part and the polygon's pixels in the part's bounding box."""
    filled = np.zeros_like(part.mask)
    _fill(filled, polygon - part.origin)
    return float((filled & part.mask).sum() / (filled | part.mask).sum())


def _simplify(loop: Loop, tolerance: float) -> Points:
    """Douglas-Peucker; every dropped point of the smoothed loop is within ``tolerance`` pixels of the result."""
    if tolerance == 0:
        return loop.astype(np.float64)
    smooth = _smooth(loop, min(tolerance, _SMOOTH)).astype(np.float32)
    return np.asarray(cv2.approxPolyDP(smooth, tolerance, True)[:, 0], np.float64)


def _smooth(loop: Loop, width: float) -> Points:
    """The middles of its pixel edges, averaged along the loop by a Gaussian of that many pixels; corners stay sharp."""
    sides = np.roll(loop, -1, axis=0) - loop
    lengths = np.abs(sides).sum(axis=1)
    steps = np.repeat(np.sign(sides), lengths, axis=0)
    if len(steps) < _SHORT:
        return loop.astype(np.float64)
    middles = loop[0] + np.cumsum(steps, axis=0) - steps / 2
    smooth = gaussian_filter1d(middles, width, axis=0, mode="wrap")
    sharp = np.flatnonzero(np.minimum(lengths, np.roll(lengths, 1)) >= _CORNER)
    return np.insert(smooth, (np.cumsum(lengths) - lengths)[sharp], loop[sharp], axis=0)


def _join(outline: Points, holes: Sequence[Points]) -> Points:
    """One outline out of an outline and its holes, each bridged at the closest pair of corners."""
    joined = outline
    for hole in sorted(holes, key=signed_area):
        if len(hole) < 3:
            continue
        gaps = ((joined[:, None] - hole[None]) ** 2).sum(axis=2)
        start, entry = np.unravel_index(np.argmin(gaps), gaps.shape)
        around = np.roll(hole, -int(entry), axis=0)
        joined = np.concatenate([joined[: start + 1], around, around[:1], joined[start:]])
    return joined


def _fill(mask: NDArray[np.bool_], points: NDArray[np.float64]) -> None:
    """Set the pixels whose centres a closed outline (n, 2) of (x, y) pixels winds around."""
    height, width = mask.shape
    following = np.roll(points, -1, axis=0)
    down = following[:, 1] > points[:, 1]
    # From the upper end always: a bridge must give the same crossings in both directions, to the last bit.
    (x, y), (low_x, low_y) = (
        np.where(down[:, None], points, following).T,
        np.where(down[:, None], following, points).T,
    )
    first = np.clip(np.ceil(y - 0.5), 0, height).astype(np.int64)
    counts = np.clip(np.ceil(low_y - 0.5), 0, height).astype(np.int64) - first
    if not counts.any():
        return
    edge = np.repeat(np.arange(len(x)), counts)
    row = np.arange(len(edge)) - np.repeat(np.cumsum(counts) - counts, counts) + first[edge]
    crossing = x[edge] + (row + 0.5 - y[edge]) * ((low_x - x)[edge] / (low_y - y)[edge])
    col = np.clip(np.ceil(crossing - 0.5), 0, width).astype(np.int64)
    top, bottom = int(row.min()), int(row.max()) + 1
    winding = np.zeros((bottom - top, width + 1), np.int32)
    np.add.at(winding, (row - top, col), np.where(down, 1, -1)[edge])
    mask[top:bottom] |= np.cumsum(winding, axis=1)[:, :-1] != 0
