"""Prompts as dense maps: what a click network sees of clicks, strokes, box and earlier mask.

Disks and their radius: Sofiiuk et al., Reviving Iterative Training with Mask Guidance, 2021 (section 3.1). Strokes
are drawn as the union of disks along them; the box is its interior; coordinates are those of the map.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from model_zoo.prompt import Box, Click, Stroke

Floats = NDArray[np.float32]
RADIUS = 5
POSITIVE, NEGATIVE, PREVIOUS, INSIDE = range(4)
CHANNELS = 4


def empty_maps(height: int, width: int) -> Floats:
    """(4, height, width) zeros: positive, negative, previous probability, inside of the box."""
    return np.zeros((CHANNELS, height, width), dtype=np.float32)


def draw_click(maps: Floats, row: float, col: float, positive: bool) -> None:
    """Set the pixels whose centre lies within RADIUS of the click; a click outside may touch the edge or nothing."""
    height, width = maps.shape[1:]
    top, left = max(0, int(row - RADIUS) - 1), max(0, int(col - RADIUS) - 1)
    bottom, right = min(height, int(row + RADIUS) + 2), min(width, int(col + RADIUS) + 2)
    if top >= bottom or left >= right:
        return
    rows, cols = np.ogrid[top:bottom, left:right]
    disk = (rows + 0.5 - row) ** 2 + (cols + 0.5 - col) ** 2 <= RADIUS**2
    maps[POSITIVE if positive else NEGATIVE, top:bottom, left:right][disk] = 1.0


def draw_stroke(maps: Floats, points: Sequence[tuple[float, float]], positive: bool) -> None:
    """Draw a polyline of (row, col) points as thick as a click."""
    for row, col in points:
        draw_click(maps, row, col, positive)
    channel = np.zeros(maps.shape[1:], dtype=np.uint8)
    path = np.array([[col - 0.5, row - 0.5] for row, col in points])
    cv2.polylines(channel, [path.round().astype(np.int32)], isClosed=False, color=1, thickness=2 * RADIUS)
    maps[POSITIVE if positive else NEGATIVE][channel > 0] = 1.0


def draw_box(maps: Floats, box: Box) -> None:
    """Set the pixels inside the box, at least one row and one column of what lies within the map."""
    spans = []
    for side, edges in zip(maps.shape[1:], ((box.top, box.bottom), (box.left, box.right)), strict=True):
        if max(edges) < 0 or min(edges) > side:
            return
        first = min(max(0, round(min(edges))), side - 1)
        spans.append(slice(first, max(first + 1, round(max(edges)))))
    maps[INSIDE, spans[0], spans[1]] = 1.0


def render(
    height: int,
    width: int,
    *,
    clicks: Iterable[Click] = (),
    strokes: Iterable[Stroke] = (),
    box: Box | None = None,
    previous: Floats | None = None,
) -> Floats:
    """(4, height, width) float32 of a prompt whose coordinates are those of the map.

    previous: (height, width) probabilities of the mask before the last click, or None for none.
    """
    maps = empty_maps(height, width)
    for click in clicks:
        draw_click(maps, click.row, click.col, click.positive)
    for stroke in strokes:
        draw_stroke(maps, stroke.points, stroke.positive)
    if box is not None:
        draw_box(maps, box)
    if previous is not None:
        maps[PREVIOUS] = previous
    return maps
