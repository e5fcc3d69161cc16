"""The PixelPick loop on images whose truth is known: how good a learner gets with so many labelled pixels an image.

Shin et al., All you need are a few pixels, ICCV 2021 workshop: random pixels first; then, step by step, a learner
trained from scratch on all answers so far chooses the same number of new pixels in every image. The queries that
would follow the last budget are not computed. Where a budget goes over the queue, the new pixels of a step are as many
in all, and uncertain images get more of them than others.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from backend.learning.budgets import MOST, Over
from backend.learning.simulated_annotator import VOID, Annotator
from backend.learning.simulated_queries import Queries, SimulatedImage, Strategy
from model_zoo.errors import BadInput
from model_zoo.evaluation.metrics import class_iou, confusion_matrix, mean_iou
from model_zoo.learners.base import Learner, Progress


@dataclass(frozen=True)
class Plan:
    """How one run goes.

    budgets: pixels asked for in each image, cumulative and increasing. noise: share of wrong answers, in [0, 1],
    see ``Annotator``. best_epoch: measure after every epoch of learners that report them.
    """

    budgets: tuple[int, ...]
    seed: int = 0
    noise: float = 0.0
    best_epoch: bool = True


@dataclass(frozen=True)
class BudgetResult:
    """What one budget came to, on the images to test on.

    miou: of the learner at the end of its training; NaN where no test pixel has a class. miou_best: the best
    epoch's, None for learners without epochs. per_class: IoU by class, None for one in neither truth nor prediction.
    labels: labelled pixels of all images together. void_hit_rate: share of all queries so far that fell on a pixel
    of no class; 0 where those are hidden. Seconds are totals over all images of this step: acquire_seconds chooses
    its new pixels (prediction included), fit_seconds trains, the measuring of epochs not included, test_seconds
    measures at the end.
    """

    budget: int
    seed: int
    miou: float
    miou_best: float | None
    per_class: dict[str, float | None]
    labels: int
    void_hit_rate: float
    fit_seconds: float
    acquire_seconds: float
    test_seconds: float


@runtime_checkable
class ReportsEpochs(Protocol):
    """A learner that calls ``on_epoch`` with the number of the epoch that has ended and itself."""

    on_epoch: Callable[[int, Learner], None] | None


def simulate(
    train: Sequence[SimulatedImage],
    test: Sequence[SimulatedImage],
    classes: Sequence[str],
    create: Callable[[], Learner],
    *,
    strategy: Strategy,
    plan: Plan,
    progress: Progress | None = None,
) -> Iterator[BudgetResult]:
    """One result a budget, as soon as it is known; the same plan and strategy ask for the same pixels.

    create: builds the untrained learner of each step. Raises BadInput where an image has fewer pixels to ask for
    than the largest budget, where the selection gives another number, and as ``Learner.fit`` does.
    """
    for image in train:
        check_candidates(image, plan.budgets[-1], strategy.ask_void, strategy.over)
    meter = _Meter(progress, len(plan.budgets) * (2 * len(train) + len(test)))
    queries = Queries(train, strategy, Annotator(plan.seed, plan.noise, len(classes)), plan.seed)
    learner: Learner | None = None
    for before, budget in pairwise((0, *plan.budgets)):
        acquire_seconds = _ask(queries, train, (before, budget), learner, meter)
        learner = create()
        fit_seconds, best = _fit(learner, queries, test, classes, plan=plan, progress=meter.part(len(train)))
        started = time.perf_counter()
        confusion = measure(learner, test, len(classes), meter)
        miou = mean_iou(confusion)
        yield BudgetResult(
            budget=budget,
            seed=plan.seed,
            miou=miou,
            miou_best=None if best is None else max(best, miou),
            per_class=_per_class(confusion, classes),
            labels=queries.labels,
            void_hit_rate=queries.void_hit_rate,
            fit_seconds=fit_seconds,
            acquire_seconds=acquire_seconds,
            test_seconds=time.perf_counter() - started,
        )


def check_candidates(image: SimulatedImage, budget: int, ask_void: bool, over: Over = "image") -> None:
    """BadInput unless the largest budget can be asked for in the image, or twice that where it goes over the queue."""
    candidates = image.size[0] * image.size[1] if ask_void else image.class_pixels
    needed, what = (MOST * budget, "twice the") if over == "queue" else (budget, "the")
    if candidates < needed:
        raise BadInput(
            f"image {image.name!r} has {candidates} pixels to ask for; expected at least {what} largest budget, "
            f"{needed}; leave the image out or lower the budgets"
        )


def _ask(
    queries: Queries,
    train: Sequence[SimulatedImage],
    budgets: tuple[int, int],
    learner: Learner | None,
    meter: _Meter,
) -> float:
    """Ask in every image, from one budget to the next; returns seconds."""
    started = time.perf_counter()
    usual = budgets[1] - budgets[0]
    step = []
    for place in range(len(train)):
        meter.tell(f"{budgets[1]} px an image: asking")
        step.append(queries.ask(place, usual, learner))
        meter.done += 1
    queries.keep(step, usual)
    return time.perf_counter() - started


def _fit(
    learner: Learner,
    queries: Queries,
    test: Sequence[SimulatedImage],
    classes: Sequence[str],
    *,
    plan: Plan,
    progress: Progress,
) -> tuple[float, float | None]:
    """Train on all answers: seconds without those of measuring epochs, and the mIoU of the best epoch or None."""
    epochs: list[float] = []
    measuring = 0.0

    def after_epoch(_epoch: int, trained: Learner) -> None:
        nonlocal measuring
        begun = time.perf_counter()
        epochs.append(mean_iou(measure(trained, test, len(classes))))
        measuring += time.perf_counter() - begun

    reporting = learner if plan.best_epoch and isinstance(learner, ReportsEpochs) else None
    if reporting is not None:
        reporting.on_epoch = after_epoch
    started = time.perf_counter()
    learner.fit(queries.labelled(), classes, seed=plan.seed, progress=progress)
    seconds = time.perf_counter() - started - measuring
    if reporting is not None:
        reporting.on_epoch = None
    progress(1.0, "trained")
    return seconds, max(epochs, default=None)


def measure(
    learner: Learner, images: Sequence[SimulatedImage], classes: int, meter: _Meter | None = None
) -> NDArray[np.int64]:
    """The confusion matrix (C, C) of all images together, of which one is predicted at a time."""
    total = np.zeros((classes, classes), dtype=np.int64)
    for image in images:
        predicted = learner.predict_proba(image.load()).argmax(axis=0)
        total += confusion_matrix(image.truth(), predicted, classes, ignore=VOID)
        if meter is not None:
            meter.done += 1
            meter.tell("measuring")
    return total


def _per_class(confusion: NDArray[np.int64], classes: Sequence[str]) -> dict[str, float | None]:
    ious = zip(classes, class_iou(confusion).tolist(), strict=True)
    return {name: None if np.isnan(value) else value for name, value in ious}


class _Meter:
    """How far a run is; a unit is one image asked in, trained on or measured."""

    def __init__(self, progress: Progress | None, units: int) -> None:
        self._progress = progress
        self._units = units
        self.done = 0.0

    def tell(self, what: str) -> None:
        if self._progress is not None:
            self._progress(self.done / self._units, what)

    def part(self, units: int) -> Progress:
        """The progress of the next ``units`` units."""
        start = self.done

        def tell(share: float, what: str) -> None:
            self.done = start + share * units
            self.tell(what)

        return tell
