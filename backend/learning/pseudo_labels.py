"""What a learner says about every pixel of an image, and how sure it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from backend.learning.proposals import shrink
from model_zoo.learners.base import UNLABELLED, Learner


@dataclass(frozen=True, eq=False)
class PseudoLabels:
    """``classes``: (H, W) uint8 class indices, 255 = unsure; ``confidence``: (H, W) float32, of the likeliest class."""

    classes: NDArray[np.uint8]
    confidence: NDArray[np.float32]


def label_pixels(
    learner: Learner, image: NDArray[np.uint8], classes: Sequence[str], *, min_confidence: float
) -> PseudoLabels:
    """Labels of an image (H, W, 3), as indices into ``classes``; 255 below ``min_confidence``.

    Also 255: a class of the learner that is not among ``classes``. Large images are seen smaller, as for
    pre-annotations.
    """
    height, width = image.shape[:2]
    probabilities = learner.predict_proba(shrink(image))
    best = probabilities.argmax(axis=0)
    confidence = np.ascontiguousarray(np.take_along_axis(probabilities, best[None], axis=0)[0])
    index = {name: number for number, name in enumerate(classes)}
    known = np.array([index.get(name, UNLABELLED) for name in learner.classes], dtype=np.uint8)
    named = np.asarray(
        cv2.resize(known[best], (width, height), interpolation=cv2.INTER_NEAREST), dtype=np.uint8
    )
    sure = np.asarray(
        cv2.resize(confidence, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.float32
    )
    named[sure < min_confidence] = UNLABELLED
    return PseudoLabels(named, sure)
