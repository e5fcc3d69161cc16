"""Features of whole images before anything is learnt: those of the encoder that comes with ClickPick."""

from __future__ import annotations

import logging
from functools import cache

import numpy as np
from numpy.typing import NDArray

from model_zoo.encoders import create_encoder
from model_zoo.errors import WeightsMissing
from model_zoo.learners.pyramid_cache import PyramidCache

LOG = logging.getLogger(__name__)
ENCODER = "efficientnet-lite0"
"""Always this one: the first pixels are the same whatever learner follows."""
STRIDE = 16
"""Of the level that is read; a cell is 8 pixels wide where the image is enlarged twice."""


class FrozenFeatures:
    """Encodes images; the encoder is loaded when the first image comes, once a process."""

    def __init__(self, device: str = "cpu", pyramids: PyramidCache | None = None) -> None:
        """pyramids: shared with a probe of the same encoder, it saves a pass an image; it changes no number."""
        self._device = device
        self._pyramids = PyramidCache(0) if pyramids is None else pyramids

    def grid(self, image: NDArray[np.uint8]) -> NDArray[np.float32] | None:
        """Features (h, w, C) of the image, uint8 (H, W, 3); None, logged once, where the weights are not at hand.

        The image is scaled as probes scale it; h and w are its sides then, over 16.
        """
        try:
            encoder = create_encoder(ENCODER, self._device)
        except WeightsMissing as missing:
            _log_missing(str(missing))
            return None
        level = self._pyramids.pyramid(encoder, image).levels[encoder.strides.index(STRIDE)]
        return np.ascontiguousarray(level.permute(1, 2, 0).cpu().numpy())


@cache
def _log_missing(message: str) -> None:
    LOG.warning("the first pixels are random ones: %s", message)
