"""Whether a new learner takes the live version's place: both are asked about the held-out labels of today.

Between learners of one kind (instant or deep) the gate holds from ``gate_labels`` held-out labels on and allows
``gate_margin``, because the new one knows more labels. Between the kinds it holds from the first held-out label on,
without a margin: a deep version is published when it is not worse, and goes when an instant one is better, not before.
Otherwise the first submit after a deep version would replace what took minutes to train.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.learning.labelled import Unreadable
from backend.learning.versions import Versions
from backend.round_queue import DEEP
from backend.settings import Settings
from backend.store import Version
from model_zoo.evaluation.metrics import class_iou, confusion_matrix, mean_iou
from model_zoo.learners.base import LabelledImage, Learner
from model_zoo.learners.features import FeatureCache

HELD_OUT = "held_out.json"
"""File of a deep version's folder: its guesses at the pixels that were held out when it was trained."""


def is_deep(version: Version) -> bool:
    """Whether a version was made by the deep learner, on its own trigger."""
    return bool(version.metrics.get("kind") == DEEP)


class Guesses:
    """The classes that one learner, not trained any more, gives to pixels; an image is predicted when it must be."""

    def __init__(self, known: dict[str, dict[tuple[int, int], int]] | None = None) -> None:
        self._known = known or {}

    def at(self, learner: Learner, image: LabelledImage) -> NDArray[np.int64]:
        """Class index (n,) int64 of each pixel of an image; raises what loading the image raises."""
        places = list(zip(image.rows.tolist(), image.cols.tolist(), strict=True))
        known = self._known.setdefault(image.key, {})
        if any(place not in known for place in places):
            classes = learner.predict_pixels(image).argmax(axis=1).tolist()
            known.update(zip(places, classes, strict=True))
        return np.array([known[place] for place in places], dtype=np.int64)

    def write(self, folder: Path) -> None:
        rows = {
            key: [[*place, guess] for place, guess in known.items()] for key, known in self._known.items()
        }
        (folder / HELD_OUT).write_text(json.dumps(rows))

    @classmethod
    def read(cls, folder: Path) -> Guesses:
        """What `write` wrote; nothing where it did not: then all is predicted."""
        try:
            rows = json.loads((folder / HELD_OUT).read_text())
            return cls({key: {(row, col): guess for row, col, guess in known} for key, known in rows.items()})
        except (OSError, ValueError, AttributeError, TypeError):
            return cls()


class Gate:
    """Measures learners on held-out labels, and remembers what the live version of each project says there."""

    def __init__(self, settings: Settings, versions: Versions, cache: FeatureCache) -> None:
        self._settings = settings
        self._versions = versions
        self._cache = cache
        self._champions: dict[int, tuple[str, Guesses]] = {}

    def measure(
        self, learner: Learner, guesses: Guesses, held: Sequence[LabelledImage], classes: Sequence[str]
    ) -> dict[str, Any]:
        """How well a learner tells the held-out labels; the mIoU is None where there are none."""
        matrix = np.zeros((len(classes), len(classes)), dtype=np.int64)
        for image in held:
            try:
                matrix += confusion_matrix(image.labels, guesses.at(learner, image), len(classes))
            except Unreadable:
                continue
        total = int(matrix.sum())
        if not total:
            return {
                "held_out_labels": 0, "held_out_accuracy": None, "held_out_miou": None,
                "held_out_iou": {}, "held_out_counts": {},
            }  # fmt: skip
        iou = {
            c: round(float(v), 4) for c, v in zip(classes, class_iou(matrix), strict=True) if not np.isnan(v)
        }
        return {
            "held_out_labels": total,
            "held_out_accuracy": round(float(np.trace(matrix)) / total, 4),
            "held_out_miou": round(mean_iou(matrix), 4),
            "held_out_iou": iou,
            "held_out_counts": _counts(matrix, classes),
        }

    def refusal(
        self,
        live: Version | None,
        learner: Learner,
        guesses: Guesses,
        held: Sequence[LabelledImage],
        *,
        deep: bool,
    ) -> str | None:
        """Why the new learner does not replace the live version, or None. Both see the same labels."""
        if live is None or not held:
            return None
        other_kind = is_deep(live) != deep
        fewest, margin = (1, 0.0) if other_kind else (self._settings.gate_labels, self._settings.gate_margin)
        if sum(len(image.labels) for image in held) < fewest:
            return None
        champion = self._versions.load(live)
        champion.use_cache(self._cache)
        theirs = self.champion(live)
        before, after = np.zeros((2, len(live.classes), len(live.classes)), dtype=np.int64)
        for image in held:
            try:
                answers = theirs.at(champion, image), guesses.at(learner, image)
            except Unreadable:  # features of the one may be kept, where the other needs the image
                continue
            before += confusion_matrix(image.labels, answers[0], len(live.classes))
            after += confusion_matrix(image.labels, answers[1], len(live.classes))
        if before.sum() < fewest:
            return None
        old, new = mean_iou(before), mean_iou(after)
        better = new > old if other_kind and not deep else new >= old - margin
        if better:
            return None
        return (
            f"the new {'deep ' if deep else ''}learner reaches {new:.3f} mIoU on {before.sum()} held-out labels and "
            f"{live.name} {old:.3f}; it was not published"
        )

    def champion(self, live: Version) -> Guesses:
        """What the live version says of held-out labels, as far as it has been asked."""
        name, guesses = self._champions.get(live.project, ("", Guesses()))
        if name != live.name:
            guesses = Guesses.read(self._versions.folder(live))
            self._champions[live.project] = live.name, guesses
        return guesses


def _counts(matrix: NDArray[np.int64], classes: Sequence[str]) -> dict[str, list[int]]:
    """Of each class that was held out or guessed: pixels in the intersection, in the union, and held out."""
    right, held, guessed = np.diag(matrix), matrix.sum(axis=1), matrix.sum(axis=0)
    union = held + guessed - right
    return {
        name: [int(right[index]), int(union[index]), int(held[index])]
        for index, name in enumerate(classes)
        if union[index]
    }
