"""What an annotator gave for one object: ordered clicks, at most one box, strokes, a mask to start from.

Coordinates are (row, col) in pixels of the upright image; the centre of pixel (r, c) is (r + 0.5, c + 0.5).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from model_zoo.errors import BadInput


@dataclass(frozen=True)
class Click:
    """One positive (object) or negative (background) point."""

    row: float
    col: float
    positive: bool = True

    def pixel(self, height: int, width: int) -> tuple[int, int]:
        """Index of the pixel under the click, clamped to the image."""
        return min(max(int(self.row), 0), height - 1), min(max(int(self.col), 0), width - 1)


@dataclass(frozen=True)
class Box:
    """An axis-aligned box around the object, in pixels; bottom and right are exclusive edges."""

    top: float
    left: float
    bottom: float
    right: float


@dataclass(frozen=True)
class Stroke:
    """A scribble: (row, col) points joined by lines of the given radius in pixels."""

    points: tuple[tuple[float, float], ...]
    positive: bool
    radius: float


@dataclass(frozen=True)
class Prompt:
    """Everything known about one object. ``mask``: (H, W) bool, the mask to start from."""

    clicks: tuple[Click, ...] = ()
    box: Box | None = None
    strokes: tuple[Stroke, ...] = ()
    mask: NDArray[np.bool_] | None = field(default=None, compare=False)

    @property
    def is_empty(self) -> bool:
        """Whether nothing at all is known; a mask without a pixel says nothing."""
        started = self.mask is not None and bool(self.mask.any())
        return not (self.clicks or self.box is not None or self.strokes or started)

    def check_mask(self, height: int, width: int) -> None:
        """Raise BadInput unless the mask, where there is one, is bool of the image's shape."""
        mask = self.mask
        if mask is not None and (mask.shape != (height, width) or mask.dtype != np.bool_):
            raise BadInput(
                f"the mask to start from is {mask.dtype} of shape {mask.shape} and the image {(height, width)}; "
                "expected bool of the image's shape; give a mask of the upright image, True on the object"
            )

    def prefixes(self) -> Iterator[Prompt]:
        """The prompts that led here, one click more each time; the last one is this prompt."""
        for count in range(1, len(self.clicks)):
            yield replace(self, clicks=self.clicks[:count])
        yield self

    def before_last_click(self) -> Prompt | None:
        """The prompt one click ago, or None when this is the first."""
        return replace(self, clicks=self.clicks[:-1]) if len(self.clicks) > 1 else None

    def key(self) -> str:
        """Digest that identifies the prompt, its mask included."""
        digest = hashlib.sha256(repr((self.clicks, self.box, self.strokes)).encode())
        if self.mask is not None:
            digest.update(repr(self.mask.shape).encode())
            digest.update(np.packbits(self.mask).tobytes())
        return digest.hexdigest()
