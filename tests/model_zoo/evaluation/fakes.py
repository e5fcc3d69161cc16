"""Segmenters whose every answer is known, for the tests of what measures them."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from model_zoo.prompt import Prompt
from model_zoo.segmenters.base import Embedding, Mask, Segmenter


class Growing(Segmenter):
    """Shows so many columns more of a known object with each click; columns that it does not reach stay out."""

    name = "growing"
    fingerprint = "growing"

    def __init__(self, truth: NDArray[np.uint8], columns: int = 1) -> None:
        self.truth = truth
        self.columns = columns
        self.encoded = 0

    def encode(self, image: NDArray[np.uint8]) -> Embedding:
        self.encoded += 1
        return Embedding(image.shape[0], image.shape[1], 0, None)

    def decode(self, embedding: Embedding, prompt: Prompt, state: Any = None) -> Mask:  # noqa: ARG002
        first = int(np.nonzero(self.truth == 1)[1].min())
        region = self.truth == 1
        region[:, first + self.columns * len(prompt.clicks) :] = False
        return Mask(np.where(region, 1.0, -1.0).astype(np.float32), 1.0)


class Remembering(Growing):
    """Counts the clicks in its state and nowhere else: without it, every click is the first."""

    stateful: ClassVar[bool] = True

    def decode(self, embedding: Embedding, prompt: Prompt, state: Any = None) -> Mask:
        seen = (state or 0) + 1
        mask = super().decode(embedding, Prompt(clicks=prompt.clicks[:1] * seen))
        return Mask(mask.logits, mask.score, state=seen)


class Stubborn(Growing):
    """Says that nothing is object, whatever is clicked."""

    name = "stubborn"
    fingerprint = "stubborn"

    def decode(self, embedding: Embedding, prompt: Prompt, state: Any = None) -> Mask:  # noqa: ARG002
        return Mask(np.full((embedding.height, embedding.width), -1.0, dtype=np.float32), 0.0)


def bar(length: int = 10) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """An image and its truth: a bar, 5 rows by ``length`` columns, two pixels from the edge of the image."""
    truth = np.zeros((9, length + 4), dtype=np.uint8)
    truth[2:7, 2 : 2 + length] = 1
    return np.zeros((*truth.shape, 3), dtype=np.uint8), truth
