"""An annotator who knows the truth and errs at a given rate, in the same places whenever it is asked again."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from backend.learning.candidates import Pixels
from model_zoo.learners.base import UNLABELLED

VOID = UNLABELLED
"""Truth of a pixel that is of no class, and the answer there: no label."""


class Annotator:
    """Answers queries from the truth; a share ``noise`` of its labels, in [0, 1], is wrong.

    Whether an answer is wrong depends on seed, image and pixel alone. The wrong class is one of the two that the
    model finds likeliest, which are what people mix up; without a model it is any other class, evenly. A pixel of
    no class is always seen to be one.
    """

    def __init__(self, seed: int, noise: float, classes: int) -> None:
        self._seed = seed
        self._noise = noise
        self._classes = classes

    def answer(
        self,
        name: str,
        pixels: Pixels,
        truth: NDArray[np.uint8],
        beliefs: NDArray[np.floating] | None = None,
    ) -> NDArray[np.int64]:
        """Class indices int64 (n,) of the pixels (n, 2) of an image, 255 (``VOID``) where none is.

        truth: (H, W). beliefs: the model's class probabilities (n, C) at the pixels, None without a model.
        """
        answers = truth[pixels[:, 0], pixels[:, 1]].astype(np.int64)
        if not self._noise or self._classes < 2:
            return answers
        for place, (row, col) in enumerate(pixels.tolist()):
            right = int(answers[place])
            rng = generator(self._seed, name, row, col)
            if right != VOID and rng.random() < self._noise:
                belief = None if beliefs is None else beliefs[place]
                answers[place] = rng.choice(self._wrong(right, belief))
        return answers

    def _wrong(self, right: int, belief: NDArray[np.floating] | None) -> list[int]:
        """The classes that a wrong answer may name."""
        considered = (
            range(self._classes) if belief is None else np.argsort(-belief, kind="stable")[:2].tolist()
        )
        return [index for index in considered if index != right]


def generator(*parts: object) -> np.random.Generator:
    """Random numbers that depend on these parts alone: not on the order in which images or pixels come."""
    text = "/".join(map(str, parts))
    return np.random.default_rng(int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "big"))
