"""What a simulated run has asked and what was answered, image by image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from backend.learning.acquisition import Acquisition, random
from backend.learning.budgets import MOST, Over, allocate
from backend.learning.candidates import Pixels
from backend.learning.frozen_features import FrozenFeatures
from backend.learning.image_context import ImageContext
from backend.learning.selection import Selection, task_uncertainty
from backend.learning.simulated_annotator import VOID, Annotator, generator
from model_zoo.errors import BadInput
from model_zoo.learners.base import LabelledImage, Learner


@dataclass(frozen=True, eq=False)
class SimulatedImage:
    """One image and its truth, read when they are needed.

    name: unique among the images to train on; with the seed it decides the first pixels. key: as in
    ``LabelledImage``. load: uint8 (H, W, 3) RGB, read-only for learners to know it again. truth: uint8 (H, W) class
    indices, 255 (``VOID``) where no class is. size: (H, W). class_pixels: pixels whose truth is a class.
    """

    name: str
    key: str
    load: Callable[[], NDArray[np.uint8]]
    truth: Callable[[], NDArray[np.uint8]]
    size: tuple[int, int]
    class_pixels: int


@dataclass(frozen=True)
class Strategy:
    """Which pixels are asked for.

    initial: picks the first pixels with uniform noise as scores, so that ``top`` is a random choice. samples:
    stochastic passes of the learner that the acquisition averages over (MC-dropout); 1 is a plain prediction.
    ask_void: pixels of no class may be asked for, too; they cost budget and give no label. over: whether each image
    gets the same number of pixels or the queue as a whole gets as many. frozen: for selections that need features.
    """

    acquisition: Acquisition
    selection: Selection
    initial: Selection
    samples: int = 1
    ask_void: bool = False
    over: Over = "image"
    frozen: FrozenFeatures = field(default_factory=FrozenFeatures)


@dataclass(frozen=True, eq=False)
class Asked:
    """Pixels (n, 2) of one image in the order of the selection, their answers (n,), and the image's uncertainty."""

    pixels: Pixels
    answers: NDArray[np.int64]
    uncertainty: float


class Queries:
    """Asks the annotator; all choices depend on seed, image name and step alone, and on the learner's scores.

    A step is ``ask`` in every image and then ``keep``. Where the budget goes over the queue, twice as many pixels as
    usual are asked in an image first, and ``keep`` forgets those that are not its share: one prediction an image.
    """

    def __init__(
        self, images: Sequence[SimulatedImage], strategy: Strategy, annotator: Annotator, seed: int
    ) -> None:
        self._images = images
        self._strategy = strategy
        self._annotator = annotator
        self._seed = seed
        self._asked: list[Pixels] = [np.empty((0, 2), dtype=np.int64) for _ in images]
        self._answers: list[NDArray[np.int64]] = [np.empty(0, dtype=np.int64) for _ in images]

    @property
    def labels(self) -> int:
        """Answers, of all images together, that name a class."""
        return sum(int(np.count_nonzero(answers != VOID)) for answers in self._answers)

    @property
    def void_hit_rate(self) -> float:
        """Share of the queries that fell on a pixel of no class."""
        asked = sum(map(len, self._answers))
        return (asked - self.labels) / asked if asked else 0.0

    def labelled(self) -> list[LabelledImage]:
        """What is known by now; images without any label are left out."""
        found: list[LabelledImage] = []
        for image, asked, answers in zip(self._images, self._asked, self._answers, strict=True):
            known = answers != VOID
            if known.any():
                rows, cols = asked[known].T
                found.append(LabelledImage(image.key, image.load, rows, cols, answers[known]))
        return found

    def ask(self, place: int, usual: int, learner: Learner | None) -> Asked:
        """Ask in one image for the ``usual`` number of new pixels, or for twice that; nothing is kept yet.

        Without a learner the initial pixels are asked, the usual number everywhere. Raises BadInput where the
        selection does not give as many new pixels as are wanted.
        """
        image, asked = self._images[place], self._asked[place]
        truth = image.truth()
        excluded = np.zeros(truth.shape, dtype=bool) if self._strategy.ask_void else truth == VOID
        excluded[asked[:, 0], asked[:, 1]] = True
        rng = generator(self._seed, image.name, len(asked))
        wanted = usual if learner is None or self._strategy.over == "image" else MOST * usual
        beliefs, uncertainty = None, 1.0
        if learner is None:
            context = ImageContext(image.load, asked, self._strategy.frozen)
            nothing_known = np.ones((1, *truth.shape), dtype=np.float32)
            picked = self._strategy.initial(random(nothing_known, rng), wanted, rng, excluded, context)
        else:
            array = image.load()
            probs = learner.predict_proba(array, samples=self._strategy.samples)
            context = ImageContext(lambda: array, asked, self._strategy.frozen)
            scores = self._strategy.acquisition(probs, rng)
            picked = self._strategy.selection(scores, wanted, rng, excluded, context)
            learner.prepare(_unlabelled(image.key, array, picked))
            beliefs, uncertainty = _beliefs(probs, picked), task_uncertainty(probs)
        _check_picked(picked, wanted, excluded, image.name)
        return Asked(picked, self._annotator.answer(image.name, picked, truth, beliefs), uncertainty)

    def keep(self, step: Sequence[Asked], usual: int) -> None:
        """Keep each image's share of what was asked, in the order of the images: the usual number on average."""
        counts = (
            allocate([asked.uncertainty for asked in step], usual)
            if self._strategy.over == "queue"
            else np.full(len(step), usual)
        )
        for place, (asked, count) in enumerate(zip(step, counts.tolist(), strict=True)):
            self._asked[place] = np.concatenate([self._asked[place], asked.pixels[:count]])
            self._answers[place] = np.concatenate([self._answers[place], asked.answers[:count]])


def _unlabelled(key: str, image: NDArray[np.uint8], pixels: Pixels) -> LabelledImage:
    """Pixels whose features will be wanted."""
    rows, cols = pixels.T
    return LabelledImage(key, lambda: image, rows, cols, np.zeros_like(rows))


def _beliefs(probs: NDArray[np.float32], pixels: Pixels) -> NDArray[np.float32]:
    """Class probabilities (n, C) at the pixels (n, 2), of (C, H, W) or the mean of (T, C, H, W)."""
    found = probs[..., pixels[:, 0], pixels[:, 1]]
    return (found if found.ndim == 2 else found.mean(axis=0)).T


def _check_picked(picked: Pixels, wanted: int, excluded: NDArray[np.bool_], name: str) -> None:
    """BadInput unless a selection keeps its contract: without it budgets could not be compared."""
    distinct = len(np.unique(picked, axis=0))
    forbidden = int(np.count_nonzero(excluded[picked[:, 0], picked[:, 1]]))
    if distinct != wanted or len(picked) != wanted or forbidden:
        raise BadInput(
            f"the selection gave {distinct} distinct pixels for image {name!r}, {forbidden} of them not to be asked; "
            f"expected {wanted} new ones; choose another selection or other budgets"
        )
