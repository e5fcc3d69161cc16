"""Class probabilities of labelled pixels from models that have not learnt these pixels.

A model repeats the wrong labels that it was taught. So the labels are dealt into folds, and each fold is judged by a
model that has learnt the others alone (cross-fitting, as in Northcutt et al., Confident Learning, JAIR 2021). The
same labels are always dealt out alike.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from backend.learning.labelled import TaskImage
from model_zoo.learners.base import LabelledImage, Learner
from model_zoo.learners.labels import dense_budget, training_pixels

FOLDS = 5
IMAGES_TO_DEAL = 2 * FOLDS
"""From this many labelled images on, each lies in one fold as a whole; of fewer, none could be spared."""
FEWEST_LABELS = 3
"""A model knows a class from so many labels on; it neither judges labels of other classes nor argues for these."""
NEARBY = 0.015
"""Of the image's longer side: how far from a border between classes a label is still given the benefit of the doubt.
On 800 CamVid labels, 5 % of them wrong, 67 % instead of 46 % of what was listed was wrong, and 70 % instead of 74 % of
what was wrong was listed."""
TIE = -1

Load = Callable[[TaskImage], NDArray[np.uint8]]
Report = Callable[[float, str], None]


@dataclass(frozen=True, eq=False)
class Points:
    """Pixels of ``images`` as arrays (n,).

    place: int64, which image; rows, cols: int64, pixel of the upright image; labels: int64, class index, or TIE where
    annotators disagree; drawn: bool, a mask says so.
    """

    images: Sequence[TaskImage]
    place: NDArray[np.int64]
    rows: NDArray[np.int64]
    cols: NDArray[np.int64]
    labels: NDArray[np.int64]
    drawn: NDArray[np.bool_]

    def take(self, chosen: NDArray[np.bool_]) -> Points:
        """Those points of the same images."""
        names = ("place", "rows", "cols", "labels", "drawn")
        return replace(self, **{name: getattr(self, name)[chosen] for name in names})

    def labelled(self, load: Load) -> list[LabelledImage]:
        """The points as a learner wants them, one entry an image, in their order; ties count as class 0."""
        return [self._labelled(place, load) for place in np.unique(self.place).tolist()]

    def _labelled(self, place: int, load: Load) -> LabelledImage:
        here, image = self.place == place, self.images[place]
        labels = np.maximum(self.labels[here], 0)
        return LabelledImage(image.key, lambda: load(image), self.rows[here], self.cols[here], labels)


def collect_points(images: Sequence[TaskImage], classes: Sequence[str]) -> Points:
    """All pixel labels and ties, and of each mask the part that a learner takes; no label is what is no class."""
    index = {label: number for number, label in enumerate(classes)}
    whole = [_with_mask(image, index) for image in images]
    budget = dense_budget(whole)
    parts: list[NDArray[np.int64]] = [np.empty((0, 5), dtype=np.int64)]
    for place, (image, labelled) in enumerate(zip(images, whole, strict=True)):
        chosen = training_pixels(labelled, len(classes), budget)
        drawn = np.arange(len(chosen.labels)) >= len(labelled.rows)
        parts.append(_columns(place, chosen.pixels, chosen.labels, drawn))
        ties = np.array(image.labels.conflicts, dtype=np.int64).reshape(-1, 2)
        parts.append(_columns(place, ties, np.full(len(ties), TIE), np.zeros(len(ties))))
    place_, rows, cols, labels, drawn_ = np.concatenate(parts).T
    return Points(images, place_, rows, cols, labels, drawn_.astype(np.bool_))


def cross_fit(
    points: Points,
    classes: Sequence[str],
    load: Load,
    learner: Learner,
    *,
    confidence: float,
    report: Report,
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Probabilities (n, C), 0 for classes that the model does not know; and (n,) whether it knows the point's class.

    Where another class has ``confidence``, they are those of the pixel nearby that speaks most for the label: beside a
    border between classes, people and models are both a few pixels off. Where there is too little to learn, all
    are 0. The learner's state is replaced. ``report`` is told the share done, in [0, 1], and what is being done.
    """
    probabilities = np.zeros((len(points.labels), len(classes)), dtype=np.float32)
    fair = np.zeros(len(points.labels), dtype=np.bool_)
    folds = deal(points)
    for fold in range(FOLDS):
        asked, taught = folds == fold, (folds != fold) & (points.labels != TIE)
        known = np.bincount(points.labels[taught], minlength=len(classes)) >= FEWEST_LABELS
        if not asked.any() or known.sum() < 2:
            continue
        learner.fit(points.take(taught).labelled(load), classes)
        places = np.unique(points.place[asked]).tolist()
        for done, place in enumerate(places):
            report((fold + done / len(places)) / FOLDS, f"judging part {fold + 1} of {FOLDS}")
            here = asked & (points.place == place)
            found = _ask(learner, points.take(here), load) * known
            doubted = _contradicted(found, points.labels[here], confidence)
            if doubted.any():
                found[doubted] = _kindest(learner, points.take(here).take(doubted), load, known)
            probabilities[here] = found
        fair[asked] = known[points.labels[asked]] & (points.labels[asked] != TIE)
    return probabilities, fair


def _ask(learner: Learner, points: Points, load: Load) -> NDArray[np.float32]:
    """Probabilities (n, C) of points of one image."""
    (image,) = points.labelled(load)
    return learner.predict_pixels(image)


def _contradicted(
    found: NDArray[np.float32], labels: NDArray[np.int64], confidence: float
) -> NDArray[np.bool_]:
    wrong = (found.argmax(axis=1) != labels) & (labels != TIE) & (found.max(axis=1) >= confidence)
    return np.asarray(wrong, dtype=np.bool_)


def _kindest(learner: Learner, points: Points, load: Load, known: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Probabilities (n, C) of the pixel near each point, or of itself, that speaks most for its label; one image."""
    size = points.images[points.place[0]].labels
    radius = NEARBY * max(size.height, size.width)
    steps = np.array([(0, 0), *_ring(radius / 2), *_ring(radius)])
    rows = np.clip(points.rows[:, None] + steps[:, 0], 0, size.height - 1).ravel()
    cols = np.clip(points.cols[:, None] + steps[:, 1], 0, size.width - 1).ravel()
    (image,) = points.labelled(load)
    around = replace(image, rows=rows, cols=cols, labels=np.zeros(len(rows), dtype=np.int64))
    near = (learner.predict_pixels(around) * known).reshape(len(points.rows), len(steps), -1)
    each = np.arange(len(near))
    found: NDArray[np.float32] = near[each, near[each, :, points.labels].argmax(axis=1)]
    return found


def _ring(radius: float) -> list[tuple[int, int]]:
    """Steps (rows, columns) to the eight neighbours at a distance, in pixels."""
    far = max(1, round(radius))
    return [(row * far, col * far) for row in (-1, 0, 1) for col in (-1, 0, 1) if row or col]


def deal(points: Points) -> NDArray[np.int64]:
    """The fold of each point. Of few images, pixel labels are dealt out one by one, evenly from each class."""
    places = sorted(np.unique(points.place).tolist(), key=lambda place: points.images[place].key)
    rank = np.zeros(len(points.images), dtype=np.int64)
    rank[places] = np.arange(len(places))
    folds = rank[points.place] % FOLDS
    if len(places) >= IMAGES_TO_DEAL:
        return folds
    for label in np.unique(points.labels[points.labels != TIE]):
        alike = np.flatnonzero((points.labels == label) & ~points.drawn)
        lots = [_lot(points, int(point)) for point in alike]
        folds[alike[np.argsort(lots)]] = np.arange(len(alike)) % FOLDS
    return folds


def _with_mask(image: TaskImage, index: Mapping[str, int]) -> LabelledImage:
    """The labels alone: to choose among them takes no image."""
    given = [(p.row, p.col, index[p.label]) for p in image.labels.pixels if p.label in index]
    rows, cols, labels = np.array(given, dtype=np.int64).reshape(-1, 3).T
    return LabelledImage(image.key, _no_image, rows, cols, labels, image.labels.dense)


def _no_image() -> NDArray[np.uint8]:
    raise NotImplementedError("labels are chosen without their image")


def _columns(
    place: int, pixels: NDArray[np.int64], labels: NDArray[np.int64], drawn: NDArray[np.generic]
) -> NDArray[np.int64]:
    rows, cols = pixels.T
    return np.stack([np.full(len(labels), place), rows, cols, labels, drawn.astype(np.int64)], axis=1)


def _lot(points: Points, point: int) -> str:
    image = points.images[points.place[point]]
    text = f"{image.key}/{points.rows[point]}/{points.cols[point]}"
    return hashlib.sha256(text.encode()).hexdigest()
