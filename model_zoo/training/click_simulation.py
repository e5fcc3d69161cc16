"""Clicks as annotators place them, for training: a first guess, then corrections of the largest error.

Sampling of first clicks and of iterative corrections follows RITM (2102.06583, section 3.3).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from model_zoo.prompt import Box, Click

Bools = NDArray[np.bool_]
DEPTHS = (0.0, 0.4, 0.7, 0.9, 0.95)
"""Of a first click, at least, as shares of the object's largest depth: most annotators aim at the middle."""


@dataclass(frozen=True)
class ClickPolicy:
    """How prompts start: chances and decays per sample."""

    single: float = 0.6  # share of samples that start with one positive click
    positive_decay: float = 0.7  # chance of each further positive, of the others
    negative_decay: float = 0.7
    most: int = 12  # a sign
    boxes: float = 0.1  # share of samples that start with a box; half of them have no click
    strokes: float = 0.1  # share of samples whose first positive is a stroke


def inner_distance(region: Bools) -> NDArray[np.float32]:
    """Euclidean distance of each pixel to the outside of the region; the outside of the image is outside."""
    padded = np.pad(region.astype(np.uint8), 1)
    distance = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_5)
    return np.asarray(distance[1:-1, 1:-1], dtype=np.float32)


def inner_pixel(distance: NDArray[np.float32], rng: np.random.Generator, share: float = 0.5) -> Click | None:
    """A random pixel deeper than a share of the largest depth, or None where there is nothing."""
    deepest = float(distance.max())
    if deepest <= 0:
        return None
    return _pick(distance > share * deepest, rng)


def _pick(where: Bools, rng: np.random.Generator, positive: bool = True) -> Click | None:
    places = np.flatnonzero(where)
    if not len(places):
        return None
    row, col = divmod(int(places[rng.integers(len(places))]), where.shape[1])
    return Click(row + 0.5, col + 0.5, positive)


def correction(predicted: Bools, truth: Bools, valid: Bools, rng: np.random.Generator) -> Click | None:
    """A click in the inner half of the larger error, missed object or false object; None when all is right."""
    missed, false = inner_distance(truth & ~predicted & valid), inner_distance(~truth & predicted & valid)
    positive = float(missed.max()) > float(false.max())
    click = inner_pixel(missed if positive else false, rng)
    return None if click is None else Click(click.row, click.col, positive)


def first_clicks(
    truth: Bools, valid: Bools, policy: ClickPolicy, rng: np.random.Generator
) -> tuple[Click, ...]:
    """Positive clicks on the object, and negative ones near its border or anywhere outside."""
    distance = inner_distance(truth)
    start = inner_pixel(distance, rng, share=rng.choice(DEPTHS))
    clicks = [] if start is None else [start]
    if rng.random() < policy.single or not clicks:
        return tuple(clicks)
    eroded = truth & (distance > 3)
    for _ in range(_geometric(policy.positive_decay, policy.most - 1, rng)):
        clicks.append(_pick(eroded, rng) or clicks[0])
    reach = max(3, int(0.1 * np.sqrt(truth.sum())))
    kernel = np.ones((2 * reach + 1, 2 * reach + 1), dtype=np.uint8)
    near = cv2.dilate(truth.astype(np.uint8), kernel).astype(bool) & ~truth & valid
    for _ in range(_geometric(policy.negative_decay, policy.most, rng)):
        click = _pick(near if rng.random() < 0.6 else ~truth & valid, rng, positive=False)
        if click is not None:
            clicks.append(click)
    return tuple(clicks)


def _geometric(decay: float, most: int, rng: np.random.Generator) -> int:
    """k in 0..most with probability proportional to decay^k."""
    weights = decay ** np.arange(most + 1)
    return int(rng.choice(most + 1, p=weights / weights.sum()))


def loose_box(truth: Bools, rng: np.random.Generator) -> Box:
    """The bounding box with each edge moved by up to a tenth of its side."""
    rows, cols = np.flatnonzero(truth.any(axis=1)), np.flatnonzero(truth.any(axis=0))
    top, bottom, left, right = rows[0], rows[-1] + 1, cols[0], cols[-1] + 1
    height, width = bottom - top, right - left
    moved = rng.uniform(-0.1, 0.1, size=4) * (height, width, height, width)
    return Box(*(float(edge) for edge in np.array([top, left, bottom, right]) + moved))


def stroke_points(truth: Bools, rng: np.random.Generator) -> tuple[tuple[float, float], ...]:
    """A short straight line from one inner pixel towards another, as far as it stays on the object."""
    distance = inner_distance(truth)
    start, end = inner_pixel(distance, rng), inner_pixel(distance, rng, share=0.0)
    if start is None or end is None:
        return ()
    steps = np.linspace(0.0, 1.0, 16)[:, None]
    path = np.array([start.row, start.col]) * (1 - steps) + np.array([end.row, end.col]) * steps
    inside = truth[path[:, 0].astype(int), path[:, 1].astype(int)]
    length = len(path) if inside.all() else max(1, int(np.argmin(inside)))
    return tuple((float(row), float(col)) for row, col in path[:length])
