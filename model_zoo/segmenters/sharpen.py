"""Boundary refinement: logits of a small view, enlarged so that they follow the edges of the full photograph.

Fast guided filter with a grey guide (He, Sun: Fast Guided Filter, 2015, re-implemented from the paper), for what is
wanted at every click: only the crop that was looked at is touched.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
RADIUS = 3  # pixels of the view
MEDIAN = 3  # pixels of the photograph
SMOOTHING = 1e-4  # variance of grey, in [0, 1], that counts as flat


def sharpen(logits: Floats, crop: NDArray[np.uint8], guide: NDArray[np.uint8]) -> Floats:
    """Logits at the size of the crop.

    logits: (h, w) float32. crop: (H, W, 3) uint8, the same part of the photograph. guide: (height, width) uint8, the
    crop in grey at the resolution at which the filter is fitted, which lasts as long as the view does. Large maps are
    written over, because fresh memory costs more than what is computed.
    """
    height, width = crop.shape[:2]
    view = guide.shape[0], guide.shape[1]
    grey = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)
    light = guide.astype(np.float32) / np.float32(255.0)
    values = _resize(logits, view)
    mean, light_mean = _box(values), _box(light)
    slope = (_box(light * values) - light_mean * mean) / (_box(light * light) - light_mean**2 + SMOOTHING)
    offset = mean - slope * light_mean
    fine, rest = (_resize(_box(part), (height, width)) for part in (slope, offset))
    cv2.multiply(fine, grey, dst=fine, scale=1 / 255.0, dtype=cv2.CV_32F)
    cv2.add(fine, rest, dst=fine)
    # Texture leaves specks where the logit is near 0; the median takes them and keeps the edges.
    return np.asarray(cv2.medianBlur(fine, MEDIAN, dst=rest), dtype=np.float32).reshape(height, width)


def _box(values: Floats) -> Floats:
    size = 2 * RADIUS + 1
    return np.asarray(cv2.boxFilter(values, -1, (size, size), borderType=cv2.BORDER_REFLECT))


def _resize(values: Floats, size: tuple[int, int]) -> Floats:
    resized = cv2.resize(values, size[::-1], interpolation=cv2.INTER_LINEAR)
    return np.asarray(resized, dtype=np.float32).reshape(size)
