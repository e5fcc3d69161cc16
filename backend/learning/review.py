"""Which labels look wrong: those that a model contradicts with confidence, and those on which annotators disagree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from backend.errors import ImageProblem
from backend.learning.cross_fit import FEWEST_LABELS, TIE, Load, Points, Report, collect_points, cross_fit
from backend.learning.labelled import TaskImage
from model_zoo.learners.base import Learner

ENCODING_SHARE = 0.5
"""Share of the progress bar: to look around what is in doubt, images are encoded again."""


@dataclass(frozen=True)
class Suspect:
    """A label to look at again, at (row, col) of the upright image; ``confidence``: the model's, in [0, 1].

    kind: "pixel" was given to this pixel; "mask" is all that is drawn as ``label`` in this image, and the pixel is
    where the model is surest; "tie" is a pixel that as many annotators call one thing as another, ``label`` is "".
    ``predicted`` is "" and ``confidence`` 0 where there was too little to learn.
    """

    task_id: int
    item_index: int | None
    row: int
    col: int
    kind: Literal["pixel", "mask", "tie"]
    label: str
    predicted: str
    confidence: float


@dataclass(frozen=True)
class Review:
    """Suspects, those that the model is surest of first.

    ``judged`` and ``unjudged`` count labels: pixels, and classes drawn in an image. Unjudged are those whose class has
    too few labels elsewhere. ``problem`` says why none was judged, else it is "". ``unreadable``: (task, reason) of
    images that could not be had.
    """

    suspects: tuple[Suspect, ...]
    judged: int
    unjudged: int
    problem: str
    unreadable: tuple[tuple[int, str], ...]


def review_labels(
    images: Sequence[TaskImage],
    classes: Sequence[str],
    load: Load,
    learner: Learner,
    *,
    confidence: float,
    report: Report,
) -> Review:
    """Judge every label by a model that has not learnt it; contradicted with ``confidence`` or more it is a suspect.

    confidence: in [0.5, 1], so that the label itself has less, at its pixel and all around. load: may raise
    ImageProblem, which leaves the image out. learner: its state is replaced. report: is told the share done, in
    [0, 1], and what is being done. Raises BadInput for labels outside their image.
    """
    points = collect_points(images, classes)
    unreadable = _encode(points, load, learner, report)
    points = points.take(~np.isin(points.place, list(unreadable)))

    def judging(share: float, what: str) -> None:
        report(ENCODING_SHARE + (1 - ENCODING_SHARE) * share, what)

    probabilities, fair = cross_fit(points, classes, load, learner, confidence=confidence, report=judging)
    labels = _labels(points)
    judged = [label for label in labels if fair[label].all()]
    suspects = [
        _suspect(points, classes, found, probabilities[found])
        for found in [*_contradicted(points, judged, probabilities, confidence), *_ties(points)]
    ]
    return Review(
        suspects=tuple(sorted(suspects, key=lambda x: (-x.confidence, x.task_id, x.row, x.col))),
        judged=len(judged),
        unjudged=len(labels) - len(judged),
        problem="" if judged else _why_none(points, labels, classes),
        unreadable=tuple((images[place].labels.task_id, text) for place, text in unreadable.items()),
    )


def _encode(points: Points, load: Load, learner: Learner, report: Report) -> dict[int, str]:
    """Let the learner cache what it needs of each image; place and reason of those that cannot be had."""
    unreadable: dict[int, str] = {}
    count = len(points.images)
    for place in np.unique(points.place).tolist():
        report(ENCODING_SHARE * place / count, f"encoding image {place + 1} of {count}")
        (image,) = points.take(points.place == place).labelled(load)
        try:
            learner.prepare(image)
        except ImageProblem as problem:
            unreadable[place] = str(problem)
    return unreadable


def _labels(points: Points) -> list[NDArray[np.int64]]:
    """Positions of the points of each label: one for a pixel, many for what is drawn of a class in an image."""
    single = np.flatnonzero(~points.drawn & (points.labels != TIE))
    pairs = np.stack([points.place, points.labels], axis=1)
    masks = np.unique(pairs[points.drawn], axis=0)
    drawn = [np.flatnonzero(points.drawn & (pairs == mask).all(axis=1)) for mask in masks]
    return [*np.split(single, len(single)), *drawn] if len(single) else drawn


def _ties(points: Points) -> Iterator[NDArray[np.int64]]:
    for place in np.flatnonzero(points.labels == TIE):
        yield np.array([place])


def _contradicted(
    points: Points,
    judged: Sequence[NDArray[np.int64]],
    probabilities: NDArray[np.float32],
    confidence: float,
) -> Iterator[NDArray[np.int64]]:
    """Labels for which another class has that probability, in the mean over their points."""
    for label in judged:
        mean = probabilities[label].mean(axis=0)
        if mean.argmax() != points.labels[label[0]] and mean.max() >= confidence:
            yield label


def _suspect(
    points: Points, classes: Sequence[str], label: NDArray[np.int64], probabilities: NDArray[np.float32]
) -> Suspect:
    """From the positions of a label's points and their probabilities (n, C)."""
    mean = probabilities.mean(axis=0)
    best = int(mean.argmax())
    shown = label[int(probabilities[:, best].argmax())]
    given = int(points.labels[shown])
    image = points.images[points.place[shown]].labels
    return Suspect(
        task_id=image.task_id,
        item_index=image.item_index,
        row=int(points.rows[shown]),
        col=int(points.cols[shown]),
        kind="tie" if given == TIE else "mask" if points.drawn[shown] else "pixel",
        label="" if given == TIE else classes[given],
        predicted=classes[best] if mean[best] > 0 else "",
        confidence=round(float(mean[best]), 4),
    )


def _why_none(points: Points, labels: Sequence[NDArray[np.int64]], classes: Sequence[str]) -> str:
    counts = Counter(classes[points.labels[label[0]]] for label in labels)
    told = ", ".join(f"{counts[name]} of {name}" for name in classes if counts[name]) or "none"
    return (
        f"there are too few labels to judge any ({told}); expected at least {FEWEST_LABELS + 1} of each of two "
        "classes, in several images where there are many; label more pixels"
    )
