"""Figures of semantic segmentation, from one confusion matrix over a whole data set, and of one object's mask."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from model_zoo.errors import BadInput


def confusion_matrix(
    truth: NDArray[np.integer], predicted: NDArray[np.integer], classes: int, ignore: int = 255
) -> NDArray[np.int64]:
    """Counts (C, C) of pixels by true class (row) and predicted class (column); add up those of several images.

    truth, predicted: class indices of any equal shape; pixels whose truth is ``ignore`` are left out.
    """
    if truth.shape != predicted.shape:
        raise BadInput(
            f"truth has shape {truth.shape} and the prediction {predicted.shape}; expected equal shapes"
        )
    counted = truth != ignore
    rows = truth[counted].astype(np.int64)
    columns = predicted[counted].astype(np.int64)
    for name, values in (("truth", rows), ("prediction", columns)):
        if values.size and not 0 <= values.min() <= values.max() < classes:
            raise BadInput(
                f"{name} has classes {values.min()} to {values.max()}; expected 0 to {classes - 1} (or {ignore})"
            )
    counts = np.bincount(rows * classes + columns, minlength=classes * classes)
    return counts.reshape(classes, classes).astype(np.int64)


def class_iou(confusion: NDArray[np.int64]) -> NDArray[np.float64]:
    """Intersection over union of each class (C,); NaN for one in neither truth nor prediction."""
    hits = np.diag(confusion).astype(np.float64)
    union = confusion.sum(axis=0) + confusion.sum(axis=1) - hits
    return np.where(union > 0, hits / np.maximum(union, 1), np.nan)


def mean_iou(confusion: NDArray[np.int64]) -> float:
    """Mean of ``class_iou`` over the classes that occur; NaN when no pixel was counted."""
    values = class_iou(confusion)
    seen = ~np.isnan(values)
    return float(values[seen].mean()) if seen.any() else float("nan")


def expected_calibration_error(
    probabilities: NDArray[np.floating], labels: NDArray[np.integer], bins: int = 15
) -> float:
    """Mean gap between how sure and how right the decisions are, over bins of equal width; NaN without labels.

    probabilities: (n, C), labels: (n,) class indices. Source: Guo et al., ICML 2017, equation 3.
    """
    if not len(labels):
        return float("nan")
    sure, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    place = np.minimum((sure * bins).astype(np.int64), bins - 1)
    gaps = np.bincount(place, sure - right, minlength=bins)
    return float(np.abs(gaps).sum() / len(labels))


def iou(truth: NDArray[np.uint8], mask: NDArray[np.bool_], ignore: int = 255) -> float:
    """Intersection over union of one object, where the truth is 1, with a mask; 1 when both are empty.

    truth: (H, W), pixels of value ``ignore`` are left out. mask: (H, W).
    """
    common, either, _ = _overlap(truth == 1, mask, _counted(truth, mask, ignore))
    return common / either if either else 1.0


def dice(truth: NDArray[np.uint8], mask: NDArray[np.bool_], ignore: int = 255) -> float:
    """Twice the intersection over the sum of both areas; arguments and empty case as ``iou``."""
    common, _, areas = _overlap(truth == 1, mask, _counted(truth, mask, ignore))
    return 2 * common / areas if areas else 1.0


def boundary_iou(
    truth: NDArray[np.uint8], mask: NDArray[np.bool_], ignore: int = 255, share: float = 0.02
) -> float:
    """IoU of the two inner rims: pixels of each region within ``share`` of the image's diagonal of its contour.

    Arguments and empty case as ``iou``. Distances are chessboard distances, at least 1 pixel; the edge of the image
    is a contour. Ignored pixels take the mask's side before rims are drawn, so that a contour which nobody knows
    is no error. Source: Cheng et al., Boundary IoU, CVPR 2021.
    """
    counted = _counted(truth, mask, ignore)
    width = max(1, round(share * math.hypot(*truth.shape)))
    expected = np.where(counted, truth == 1, mask)
    common, either, _ = _overlap(_rim(expected, width), _rim(mask, width), counted)
    return common / either if either else 1.0


def _counted(truth: NDArray[np.uint8], mask: NDArray[np.bool_], ignore: int) -> NDArray[np.bool_]:
    """(H, W) which pixels count; BadInput when the shapes differ."""
    if truth.shape != mask.shape:
        raise BadInput(f"truth has shape {truth.shape} and the mask {mask.shape}; expected equal shapes")
    return np.asarray(truth != ignore)


def _overlap(
    one: NDArray[np.bool_], other: NDArray[np.bool_], counted: NDArray[np.bool_]
) -> tuple[int, int, int]:
    """Pixels in both, in either, and the sum of both areas."""
    common = int(np.count_nonzero(one & other & counted))
    areas = int(np.count_nonzero(one & counted)) + int(np.count_nonzero(other & counted))
    return common, areas - common, areas


def _rim(region: NDArray[np.bool_], width: int) -> NDArray[np.bool_]:
    """Pixels of a region within ``width`` (chessboard) of a pixel outside it."""
    depth = cv2.distanceTransform(np.pad(region, 1).astype(np.uint8), cv2.DIST_C, 3)[1:-1, 1:-1]
    return np.asarray(region & (depth <= width))
