"""Does a mask look like one object? Its area, parts, holes and outline against limits; for warnings, never refusals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import pi
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

Bool = NDArray[np.bool_]
Kind = Literal["area", "parts", "holes", "compactness"]
LOOK = 768
"""Pixels of the longer side from which on the box around a mask is looked at reduced to this."""


@dataclass(frozen=True)
class QualityLimits:
    """What is usual; of 2,497 true masks of objects (GrabCut, COCO, ECSSD) 0.8 % lie outside, see docs/segmenters.md.

    min_area: in pixels, 0 for any. max_share: of the image's area, 1 for any. max_parts: 8-connected ones, 0 for any
    number. max_holes: area of the holes as a share of the mask's with its holes filled, 1 for any. min_compactness: of
    the largest part, 4 pi area / perimeter^2 with its holes filled, 1 for a disk and near 0 for threads, 0 for any.
    """

    min_area: int = 16
    max_share: float = 0.995
    max_parts: int = 10
    max_holes: float = 0.2
    min_compactness: float = 0.05


@dataclass(frozen=True)
class QualityWarning:
    """value: what was found: pixels, number of parts, share, compactness. message: for the annotator, of "it"."""

    kind: Kind
    value: float
    message: str


def check_mask(mask: Bool, limits: QualityLimits) -> tuple[QualityWarning, ...]:
    """What is unusual about a mask (H, W) bool, in the order of the limits; () for an empty one.

    Parts, holes and outlines of large masks are those of the mask reduced to ``LOOK`` pixels.
    """
    top, left, height, width = _box(mask)
    if not height:
        return ()
    touched, covered = _reduced(mask[top : top + height, left : left + width])
    outlines = _outlines(touched)
    found = (
        _check_area(mask, limits),
        _check_parts(len(outlines), limits),
        _check_holes(_holes(covered), limits),
        _check_compactness(_compactness(outlines), limits),
    )
    return tuple(warning for warning in found if warning is not None)


def _check_area(mask: Bool, limits: QualityLimits) -> QualityWarning | None:
    area = int(np.count_nonzero(mask))
    share = area / mask.size
    if area < limits.min_area:
        text = f"it has only {area} pixels (usual: {limits.min_area} or more), perhaps the click missed the object"
        return QualityWarning("area", float(area), text)
    if share > limits.max_share:
        usual = f"at most {limits.max_share:.1%}"
        text = f"it covers {share:.1%} of the image (usual: {usual}), click away what is not the object"
        return QualityWarning("area", float(area), text)
    return None


def _check_parts(parts: int, limits: QualityLimits) -> QualityWarning | None:
    if not 0 < limits.max_parts < parts:
        return None
    text = (
        f"it has {parts} parts (usual: at most {limits.max_parts}), click away those that are not the object"
    )
    return QualityWarning("parts", float(parts), text)


def _check_holes(share: float, limits: QualityLimits) -> QualityWarning | None:
    if share <= limits.max_holes:
        return None
    usual = f"at most {limits.max_holes:.0%}"
    text = f"holes make up {share:.0%} of it (usual: {usual}), click into those that are the object"
    return QualityWarning("holes", share, text)


def _check_compactness(compactness: float, limits: QualityLimits) -> QualityWarning | None:
    if compactness >= limits.min_compactness:
        return None
    usual = f"{limits.min_compactness:g} or more"
    text = f"its outline is frayed or threadlike (compactness {compactness:.3f}, usual: {usual}), look at its edge"
    return QualityWarning("compactness", compactness, text)


def _box(mask: Bool) -> tuple[int, int, int, int]:
    """Top, left, height and width of what is set; height 0 for nothing."""
    left, top, width, height = cv2.boundingRect(np.ascontiguousarray(mask).view(np.uint8))
    return top, left, height, width


def _reduced(mask: Bool) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Two (h, w) of 0 and 1, the mask itself unless it is large: where it touches, and where it covers half or more.

    The first keeps thin things in one part, the second keeps holes.
    """
    longest = max(mask.shape)
    if longest <= LOOK:
        same = np.ascontiguousarray(mask).view(np.uint8)
        return same, same
    step = longest // (2 * LOOK) or 1
    pixels = np.ascontiguousarray(mask[::step, ::step]).view(np.uint8) * np.uint8(254)
    size = max(1, round(mask.shape[1] * LOOK / longest)), max(1, round(mask.shape[0] * LOOK / longest))
    shares = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    return (shares > 0).view(np.uint8), (shares >= 127).view(np.uint8)


def _outlines(mask: NDArray[np.uint8]) -> list[NDArray[np.int32]]:
    """Of each 8-connected part the outermost pixels, without those on straight lines: (n, 1, 2) int32 x, y."""
    found, hierarchy = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    parents = np.asarray(hierarchy)[0, :, 3]  # holes have one, parts have none
    return [np.asarray(found[number]) for number in np.flatnonzero(parents < 0)]


def _holes(mask: NDArray[np.uint8]) -> float:
    """Share of the filled mask that is background without a 4-connected way out."""
    framed = np.pad(mask, 1)
    outside, *_ = cv2.floodFill(framed, None, (0, 0), 2, flags=4)
    covered = int(np.count_nonzero(mask))
    holes = framed.size - outside - covered
    return holes / max(1, covered + holes)


def _compactness(outlines: Sequence[NDArray[np.int32]]) -> float:
    """4 pi area / perimeter^2 of the largest of some parts, its holes filled.

    Both are those of the polygon through the outermost pixels' centres, moved outwards by half a pixel (Steiner's
    formulas), so that one pixel has 1 and no outline is shorter than its pixels show.
    """
    largest = max(outlines, key=cv2.contourArea)
    length, area = cv2.arcLength(largest, closed=True), cv2.contourArea(largest)
    return float(4 * pi * (area + length / 2 + pi / 4) / (length + pi) ** 2)
