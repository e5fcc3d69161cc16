"""Label Studio's percent <-> pixels of the upright image: the only place where the two meet.

Percent runs from 0 at the left (top) edge to 100 at the right (bottom) edge; pixel c has its centre at c + 0.5.
"""

from __future__ import annotations

import math
from typing import Any


def to_pixels(percent: float, size: int) -> float:
    """Distance from the edge in pixels, a float in [0, size] for a percent in [0, 100]."""
    return percent / 100 * size


def to_index(percent: float, size: int) -> int:
    """Index of the pixel that holds the position, clamped to the image."""
    return min(max(math.floor(to_pixels(percent, size)), 0), size - 1)


def centre(index: int, size: int) -> float:
    """Percent of the centre of a pixel; ``to_index`` gives the index back exactly."""
    return (index + 0.5) / size * 100


def is_number(value: Any) -> bool:
    """True for a finite int or float; JSON's true and false are none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def is_percent(value: Any) -> bool:
    """True for a number from 0 to 100."""
    return is_number(value) and 0 <= value <= 100
