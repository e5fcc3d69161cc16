"""Learners and images for simulations that take no time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from backend.learning.frozen_features import FrozenFeatures
from backend.learning.simulated_annotator import VOID
from backend.learning.simulated_queries import SimulatedImage
from model_zoo.learners.base import FitReport, LabelledImage, Learner, Progress
from tests.model_zoo.learners.learner_pictures import CLASSES, COLOURS, stripes

__all__ = ["CLASSES", "ColourGrid", "Reporting", "Seeing", "picture"]


class ColourGrid(FrozenFeatures):
    """Colours in place of an encoder's features, at every second pixel; remembers how many images it saw."""

    def __init__(self) -> None:
        super().__init__()
        self.images = 0

    def grid(self, image: np.ndarray) -> np.ndarray | None:
        self.images += 1
        return image[::2, ::2].astype(np.float32)


def picture(name: str, *, void: int = 0, size: tuple[int, int] = (24, 36), seed: int = 0) -> SimulatedImage:
    """Stripes of three colours; the ``void`` leftmost columns are of no class."""
    image, truth = stripes(*size, seed=seed)
    truth = truth.copy()
    truth[:, :void] = VOID
    image.setflags(write=False)
    known = int(np.count_nonzero(truth != VOID))
    return SimulatedImage(name, f"key-{name}", lambda: image, lambda: truth, size, known)


class Seeing(Learner):
    """Knows the classes by their colours and is the surer, the nearer a pixel is to the right edge."""

    name = "seeing"

    def __init__(self) -> None:
        self.classes: tuple[str, ...] = ()
        self.seen: list[LabelledImage] = []
        self.seeds: list[int] = []
        self.samples: list[int] = []
        self.prepared: list[LabelledImage] = []

    def fit(
        self,
        labelled: Sequence[LabelledImage],
        classes: Sequence[str],
        *,
        warm_start: Learner | None = None,  # noqa: ARG002
        progress: Progress | None = None,
        seed: int = 0,
    ) -> FitReport:
        self.seen, self.classes = list(labelled), tuple(classes)
        self.seeds.append(seed)
        if progress is not None:
            progress(0.5, "half")
        return FitReport(len(labelled), sum(len(image.labels) for image in labelled), 0.0, 0.0, 0.0)

    def predict_proba(self, image: np.ndarray, samples: int = 1) -> np.ndarray:
        self.samples.append(samples)
        distance = np.abs(image[None].astype(int) - COLOURS[:, None, None]).sum(axis=-1)
        best = distance.argmin(axis=0)
        sure = np.linspace(0.5, 0.9, image.shape[1])
        probs = np.broadcast_to((1 - sure) / 2, (3, *best.shape)).copy()
        np.put_along_axis(probs, best[None], np.broadcast_to(sure, best.shape)[None], axis=0)
        answer = probs.astype(np.float32)
        return answer if samples == 1 else np.stack([answer] * samples)

    def prepare(self, image: LabelledImage) -> None:
        self.prepared.append(image)

    def save(self, directory: Path) -> None:
        raise NotImplementedError

    def load(self, directory: Path) -> None:
        raise NotImplementedError


class Reporting(Seeing):
    """Sees in its middle epoch only: before and after, everything is of the first class."""

    on_epoch: Callable[[int, Learner], None] | None = None

    def __init__(self) -> None:
        super().__init__()
        self.epoch = 0

    def fit(self, labelled: Sequence[LabelledImage], classes: Sequence[str], **others: object) -> FitReport:
        report = super().fit(labelled, classes, **others)  # type: ignore[arg-type]
        for self.epoch in range(3):
            if self.on_epoch is not None:
                self.on_epoch(self.epoch, self)
        return report

    def predict_proba(self, image: np.ndarray, samples: int = 1) -> np.ndarray:
        probs = super().predict_proba(image, samples)
        return probs if self.epoch == 1 else np.sort(probs, axis=-3)[..., ::-1, :, :]
