"""Figures of semantic segmentation, from one confusion matrix over a whole data set."""

from __future__ import annotations

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
