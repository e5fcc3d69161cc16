"""Outlines of a mask along the edges of its pixels, so that they enclose exactly its pixels.

OpenCV's contours run through pixel centres: half a pixel is lost all around, and a line one pixel wide has no area.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Loop = NDArray[np.int64]
"""Corners (n, 2) of a closed outline as (x, y), clockwise around pixels, anticlockwise around a hole."""

_EAST, _SOUTH, _WEST, _NORTH = range(4)


@dataclass(frozen=True, eq=False)
class Part:
    """An 8-connected part of a mask. ``area``: pixels; ``holes`` are 4-connected.

    ``mask``: (h, w) bool, its pixels inside its bounding box, whose first corner is ``origin`` (x, y).
    """

    area: int
    origin: tuple[int, int]
    mask: NDArray[np.bool_]
    outline: Loop
    holes: tuple[Loop, ...]


def _turns() -> NDArray[np.int64]:
    """Direction after a corner, by the pixels around it (NW 1, NE 2, SW 4, SE 8) and the direction before; -1: none.

    The mask lies to the right. Where two pixels touch at a corner only (6, 9) the outline joins them.
    """
    turns = np.full((16, 4), -1)
    for pixels, before, after in (
        (1, _SOUTH, _WEST), (2, _WEST, _NORTH), (4, _EAST, _SOUTH), (8, _NORTH, _EAST),
        (7, _WEST, _SOUTH), (11, _NORTH, _WEST), (13, _SOUTH, _EAST), (14, _EAST, _NORTH),
        (9, _SOUTH, _EAST), (9, _NORTH, _WEST), (6, _EAST, _NORTH), (6, _WEST, _SOUTH),
    ):  # fmt: skip
        turns[pixels, before] = after
    return turns


_TURNS = _turns()
_IS_CORNER = np.any(_TURNS >= 0, axis=1)


def parts(mask: NDArray[np.bool_]) -> list[Part]:
    """The parts of a mask (H, W), largest first; corners are whole numbers in [0, W] x [0, H]."""
    rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        return []
    top, left = int(rows[0]), int(cols[0])
    return _parts(mask[top : rows[-1] + 1, left : cols[-1] + 1], np.array([left, top]))


def _parts(mask: NDArray[np.bool_], origin: Loop) -> list[Part]:
    count, labels, statistics, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    outlines: list[Loop | None] = [None] * count
    holes: list[list[Loop]] = [[] for _ in range(count)]
    for loop in _loops(mask):
        part = int(labels[_pixel_beside(loop)])
        if signed_area(loop) > 0:
            outlines[part] = loop + origin
        else:
            holes[part].append(loop + origin)
    found = []
    for part, outline in enumerate(outlines):
        if outline is not None:
            x, y, width, height, area = (int(number) for number in statistics[part])
            pixels = labels[y : y + height, x : x + width] == part
            corner = (x + int(origin[0]), y + int(origin[1]))
            found.append(Part(area, corner, pixels, outline, tuple(holes[part])))
    return sorted(found, key=lambda part: -part.area)


def signed_area(loop: NDArray[np.int64] | NDArray[np.float64]) -> float:
    """Area of a loop (n, 2) by the shoelace formula; negative for the outline of a hole."""
    x, y = loop.T
    closing = x[-1] * y[0] - x[0] * y[-1]
    return float(np.dot(x[:-1], y[1:]) - np.dot(x[1:], y[:-1]) + closing) / 2


def _pixel_beside(loop: Loop) -> tuple[int, int]:
    """(row, col) of a pixel of the mask at the loop's first edge, which is horizontal."""
    (x, y), (following, _) = loop[0], loop[1]
    return (int(y), int(x)) if following > x else (int(y) - 1, int(x) - 1)


def _loops(mask: NDArray[np.bool_]) -> list[Loop]:
    """All outlines. Corners alternate between a horizontal and a vertical edge to their neighbour in row or column."""
    padded = np.pad(mask, 1).astype(np.uint8)
    height, width = padded.shape
    around = np.zeros((height - 1, width - 1), np.uint8)
    for bit, (down, right) in enumerate(((0, 0), (0, 1), (1, 0), (1, 1))):
        around += padded[down : down + height - 1, right : right + width - 1] * np.uint8(1 << bit)
    rows, cols = np.nonzero(_IS_CORNER[around])
    code = around[rows, cols]
    by_column = np.lexsort((rows, cols))
    place = np.empty_like(by_column)
    place[by_column] = np.arange(len(by_column))

    states = _horizontal_starts(code)  # 2 * corner + (0 east, 1 west)
    corner, west = states // 2, states % 2
    beside = corner + 1 - 2 * west
    vertical = _TURNS[code[beside], np.where(west, _WEST, _EAST)]
    below = by_column[place[beside] + np.where(vertical == _SOUTH, 1, -1)]
    following = 2 * below + (_TURNS[code[below], vertical] == _WEST)
    return _cycles(states, beside, following, np.stack([cols, rows], axis=1).astype(np.int64))


def _horizontal_starts(code: NDArray[np.uint8]) -> NDArray[np.int64]:
    leaves_east = np.any(_TURNS[code] == _EAST, axis=1)
    leaves_west = np.any(_TURNS[code] == _WEST, axis=1)
    return np.concatenate([2 * np.flatnonzero(leaves_east), 2 * np.flatnonzero(leaves_west) + 1])


def _cycles(
    states: NDArray[np.int64], beside: NDArray[np.int64], following: NDArray[np.int64], corners: Loop
) -> list[Loop]:
    step = dict(zip(states.tolist(), zip(beside.tolist(), following.tolist(), strict=True), strict=True))
    loops = []
    while step:
        state, (neighbour, after) = step.popitem()
        path, first = [state // 2, neighbour], state
        while after != first:
            state = after
            neighbour, after = step.pop(state)
            path += (state // 2, neighbour)
        loops.append(corners[path])
    return loops
