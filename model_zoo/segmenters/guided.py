"""Edge-aware enlargement of a coarse logit map: the fast guided filter with a colour guide.

He, Sun, Tang: Guided Image Filtering, TPAMI 2013; He, Sun: Fast Guided Filter, 2015 (re-implemented from the
papers). All that depends on the image alone is computed once, in ``build``.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from model_zoo.encoders import resize
from model_zoo.segmenters.grid import enlarge

Floats = NDArray[np.float32]
MEDIAN = 3  # fine pixels


@dataclass(frozen=True, eq=False)
class Guide:
    """The image at the size of the answer (``fine``, uint8) and what the filter needs at a smaller one.

    coarse, mean: (h, w, 3) in [0, 1]. inverse: (h, w, 3, 3) of the regularised covariance.
    """

    fine: NDArray[np.uint8]
    coarse: Floats
    mean: Floats
    inverse: Floats
    radius: int

    @property
    def nbytes(self) -> int:
        return self.fine.nbytes + self.coarse.nbytes + self.mean.nbytes + self.inverse.nbytes

    def enlarge(self, logits: Floats) -> Floats:
        """Logits of any small size, aligned to the edges of the guide: (H, W) of ``fine``."""
        height, width = self.coarse.shape[:2]
        values = enlarge(logits, (height, width))
        mean = _box(values, self.radius)
        covariance = _box(self.coarse * values[..., None], self.radius) - self.mean * mean[..., None]
        slope = np.einsum("hwij,hwj->hwi", self.inverse, covariance)
        offset = mean - np.einsum("hwi,hwi->hw", slope, self.mean)
        model = _box(np.dstack([slope / 255.0, offset]).astype(np.float32), self.radius)
        fine_model = np.asarray(cv2.resize(model, self.fine.shape[1::-1]), dtype=np.float32)
        fine = (
            np.einsum("hwi,hwi->hw", fine_model[..., :3], self.fine.astype(np.float32)) + fine_model[..., 3]
        )
        # Texture leaves specks where the logit is near 0; the median takes them and keeps the edges.
        return np.asarray(cv2.medianBlur(np.asarray(fine, dtype=np.float32), MEDIAN), dtype=np.float32)


def build(
    image: NDArray[np.uint8], *, fine_side: int, coarse_side: int, radius: int, smoothing: float
) -> Guide:
    """Guide of an image; sides are upper limits of the longer side, ``radius`` is in coarse pixels."""
    longest = max(image.shape[:2])
    fine = resize(image, min(1.0, fine_side / longest))
    shrunk = resize(fine, min(1.0, coarse_side / max(fine.shape[:2])))
    coarse = np.asarray(shrunk / np.float32(255.0), dtype=np.float32)
    mean = _box(coarse, radius)
    products = (coarse[..., :, None] * coarse[..., None, :]).reshape(*coarse.shape[:2], 9)
    second = _box(products, radius).reshape(*coarse.shape[:2], 3, 3)
    covariance = second - mean[..., :, None] * mean[..., None, :] + smoothing * np.eye(3, dtype=np.float32)
    return Guide(fine, coarse, mean, np.linalg.inv(covariance).astype(np.float32), radius)


def _box(values: NDArray[np.floating], radius: int) -> Floats:
    """Mean over a square of 2 * radius + 1, the border mirrored."""
    size = 2 * radius + 1
    return np.asarray(
        cv2.boxFilter(values, -1, (size, size), borderType=cv2.BORDER_REFLECT).reshape(values.shape)
    )
