"""What a simulated run has asked and what was answered, image by image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backend.learning.acquisition import Acquisition, random
from backend.learning.selection import Pixels, Selection
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
    ask_void: pixels of no class may be asked for, too; they cost budget and give no label.
    """

    acquisition: Acquisition
    selection: Selection
    initial: Selection
    samples: int = 1
    ask_void: bool = False


class Queries:
    """Asks the annotator; all choices depend on seed, image name and step alone, and on the learner's scores."""

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

    def ask(self, place: int, budget: int, learner: Learner | None) -> None:
        """Ask in one image until it has ``budget`` answers. Without a learner the initial pixels are asked.

        Raises BadInput where the selection does not give as many new pixels as are wanted.
        """
        image, asked = self._images[place], self._asked[place]
        truth = image.truth()
        excluded = np.zeros(truth.shape, dtype=bool) if self._strategy.ask_void else truth == VOID
        excluded[asked[:, 0], asked[:, 1]] = True
        rng = generator(self._seed, image.name, len(asked))
        wanted = budget - len(asked)
        if learner is None:
            picked = self._initial(wanted, rng, excluded)
            beliefs = None
        else:
            picked, beliefs = self._by_learner(image, wanted, rng, excluded, learner)
        _check_picked(picked, wanted, excluded, image.name)
        answers = self._annotator.answer(image.name, picked, truth, beliefs)
        self._asked[place] = np.concatenate([asked, picked])
        self._answers[place] = np.concatenate([self._answers[place], answers])

    def _initial(self, wanted: int, rng: np.random.Generator, excluded: NDArray[np.bool_]) -> Pixels:
        nothing_known = np.ones((1, *excluded.shape), dtype=np.float32)
        return self._strategy.initial(random(nothing_known, rng), wanted, rng, excluded)

    def _by_learner(
        self,
        image: SimulatedImage,
        wanted: int,
        rng: np.random.Generator,
        excluded: NDArray[np.bool_],
        learner: Learner,
    ) -> tuple[Pixels, NDArray[np.float32]]:
        """The pixels that the learner asks for, and its class probabilities there (n, C)."""
        array = image.load()
        probs = learner.predict_proba(array, samples=self._strategy.samples)
        picked = self._strategy.selection(self._strategy.acquisition(probs, rng), wanted, rng, excluded)
        rows, cols = picked.T
        learner.prepare(LabelledImage(image.key, lambda: array, rows, cols, np.zeros_like(rows)))
        beliefs = probs[..., rows, cols]
        return picked, (beliefs if beliefs.ndim == 2 else beliefs.mean(axis=0)).T


def _check_picked(picked: Pixels, wanted: int, excluded: NDArray[np.bool_], name: str) -> None:
    """BadInput unless a selection keeps its contract: without it budgets could not be compared."""
    distinct = len(np.unique(picked, axis=0))
    forbidden = int(np.count_nonzero(excluded[picked[:, 0], picked[:, 1]]))
    if distinct != wanted or len(picked) != wanted or forbidden:
        raise BadInput(
            f"the selection gave {distinct} distinct pixels for image {name!r}, {forbidden} of them not to be asked; "
            f"expected {wanted} new ones; choose another selection or other budgets"
        )
