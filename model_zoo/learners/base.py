"""What every learner is: a semantic-segmentation model trained on pixel labels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model_zoo.learners.features import FeatureCache

UNLABELLED = 255
"""Value of a pixel that nobody labelled, in ``LabelledImage.dense`` and ``LabelledImage.labels``."""

Progress = Callable[[float, str], None]
"""Called with the share done, in [0, 1], and what is being done."""


@dataclass(frozen=True, eq=False)
class LabelledImage:
    """One image and what people said about its pixels.

    key: digest of the image's content; equal keys mean equal pixels, so features may be cached under it.
    load: returns the upright image, uint8 (H, W, 3) RGB. It is called only when features are not cached.
    rows, cols, labels: int64 (n,); pixel indices and class indices. Where a pixel is also labelled in ``dense``
    these win. dense: uint8 (H, W) class indices, or None. 255 is unlabelled in both.
    """

    key: str
    load: Callable[[], NDArray[np.uint8]]
    rows: NDArray[np.int64]
    cols: NDArray[np.int64]
    labels: NDArray[np.int64]
    dense: NDArray[np.uint8] | None = None


@dataclass(frozen=True)
class FitReport:
    """What a fit saw and cost. ``labels``: pixels trained on; ``seconds`` includes ``encode_seconds``."""

    images: int
    labels: int
    seconds: float
    encode_seconds: float
    loss: float


class Learner(ABC):
    """Pixel labels in, class probabilities out. ``classes`` is () before ``fit`` or ``load``.

    ``fit`` and ``load`` replace the learner's state and are not for concurrent use; ``predict_proba`` may be
    called from many threads at once.
    """

    name: str
    classes: tuple[str, ...]

    @abstractmethod
    def fit(
        self,
        labelled: Sequence[LabelledImage],
        classes: Sequence[str],
        *,
        warm_start: Learner | None = None,
        progress: Progress | None = None,
        seed: int = 0,
    ) -> FitReport:
        """Train on the labelled pixels; the same labels and seed give the same learner.

        Raises BadInput when there is nothing to tell apart, or when a label lies outside its image or classes.
        """

    @abstractmethod
    def predict_proba(self, image: NDArray[np.uint8], samples: int = 1) -> NDArray[np.float32]:
        """Class probabilities (C, H, W) that sum to 1, or (T, C, H, W) from ``samples`` = T > 1 stochastic passes.

        image: uint8 (H, W, 3) RGB of any size.
        """

    def predict_pixels(self, image: LabelledImage) -> NDArray[np.float32]:
        """Class probabilities (n, C) at ``image.rows`` and ``image.cols``, in their order, whatever their labels."""
        return np.ascontiguousarray(self.predict_proba(image.load())[:, image.rows, image.cols].T)

    def calibrate(self, held: Sequence[LabelledImage]) -> float:  # noqa: ARG002 (a hook, as below)
        """Scale the sureness of a fitted learner to labels that it was not trained on; returns the temperature.

        No decision changes. Learners that do not do it answer 1.
        """
        return 1.0

    def use_cache(self, cache: FeatureCache) -> None:  # noqa: B027 (as below)
        """Keep what is worth keeping between fits there. Learners that reuse nothing ignore it."""

    def prepare(self, image: LabelledImage) -> None:  # noqa: B027 (a hook that need not do anything)
        """Do ahead of time what ``fit`` will need of these pixels, whatever their labels turn out to be.

        Called for queries when they are chosen, it lets the round after their answers start at once.
        """

    @abstractmethod
    def save(self, directory: Path) -> None:
        """Write the state into an existing directory as safetensors and JSON."""

    @abstractmethod
    def load(self, directory: Path) -> None:
        """Read what ``save`` wrote; raises BadInput when it belongs to another model, encoder or format."""
