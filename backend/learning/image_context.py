"""What a selection may know of an image beyond its scores."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from backend.learning.candidates import Pixels
from backend.learning.frozen_features import FrozenFeatures


def _none() -> Pixels:
    return np.empty((0, 2), dtype=np.int64)


@dataclass(frozen=True, eq=False)
class ImageContext:
    """One image, read and encoded only when a selection asks for it.

    load: returns the image that the scores belong to, uint8 (h, w, 3) RGB; scores may be coarser or finer than it.
    asked: pixels (n, 2) of the scores that were asked before. They are among the excluded ones, which are more:
    void, for instance, is excluded and was not asked.
    """

    load: Callable[[], NDArray[np.uint8]]
    asked: Pixels = field(default_factory=_none)
    frozen: FrozenFeatures = field(default_factory=FrozenFeatures)

    def features(self) -> NDArray[np.float32] | None:
        """Features (h, w, C) on a coarse grid over the image; None where the encoder's weights are not at hand."""
        return self.frozen.grid(self.load())


def required(context: ImageContext | None, selection: str) -> ImageContext:
    """The context; ValueError where a selection that needs the image got none."""
    if context is None:
        raise ValueError(f"selection {selection!r} got scores only; expected a context with the image, too")
    return context
