"""From labels to a published version: fit, measure on held-out labels, compare with the live version, publish."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.errors import ImageProblem, ModelUnavailable
from backend.images import ImageFetcher
from backend.learning.labelled import TaskImage, classes_seen, count_labels, digest_labels, split
from backend.learning.versions import Versions
from backend.settings import MEGABYTE, Settings
from backend.store import Version
from model_zoo.errors import BadInput
from model_zoo.evaluation.metrics import class_iou, confusion_matrix, mean_iou
from model_zoo.learners.base import LabelledImage, Learner
from model_zoo.learners.features import FeatureCache
from model_zoo.registry import create_learner

LOG = logging.getLogger(__name__)
Report = Callable[[str, float], None]


class _Unreadable(Exception):
    """The image of one task cannot be had while fitting."""

    def __init__(self, image: TaskImage, cause: ImageProblem) -> None:
        super().__init__(str(cause))
        self.image = image


@dataclass(frozen=True)
class Fitted:
    """What came of the labels: the version to use from now on, and a sentence for people."""

    version: Version | None
    message: str


class Fitter:
    """Fits learners and publishes versions; features at labelled pixels are kept between rounds."""

    def __init__(self, settings: Settings, images: ImageFetcher, versions: Versions) -> None:
        self._settings = settings
        self._images = images
        self._versions = versions
        self._cache = FeatureCache(settings.features_folder, settings.feature_cache_mb * MEGABYTE)

    def update(
        self,
        project: int,
        images: Sequence[TaskImage],
        classes: tuple[str, ...],
        learner_name: str,
        live: Version | None,
        *,
        config_digest: str,
        force: bool,
        report: Report,
    ) -> Fitted:
        """Publish a version for these labels, unless the live one knows them or is better."""
        usable = self._usable(live, classes)
        digest = digest_labels(images, classes, learner_name, config_digest)
        labels = count_labels(images)
        if usable is not None and not force:
            if usable.digest == digest:
                return Fitted(usable, f"labels unchanged since {usable.name}")
            new = abs(labels - usable.labels)
            if new < self._settings.round_every != 1:
                wanted = self._settings.round_every
                return Fitted(usable, f"{new} new labels since {usable.name}, waiting for {wanted}")
        seen = classes_seen(images, classes)
        if len(seen) < 2:
            named = ", ".join(sorted(seen)) or "none"
            return Fitted(usable, f"labels of at least two classes are needed to learn; there are: {named}")
        try:
            learner, held, metrics = self._fit(images, classes, learner_name, report)
        except BadInput as problem:
            return Fitted(usable, f"nothing was learnt: {problem}")
        metrics |= self._measure(learner, held, classes)
        refusal = self._gate(usable, held, metrics)
        if refusal:
            LOG.warning("project %d: %s", project, refusal)
            return Fitted(usable, refusal)
        version = self._versions.publish(project, learner, digest=digest, labels=labels, metrics=metrics)
        return Fitted(version, f"published {version.name} from {labels} labels")

    def _usable(self, live: Version | None, classes: tuple[str, ...]) -> Version | None:
        """The live version, where it knows these classes and its folder is whole."""
        if live is None or live.classes != classes:
            return None
        try:
            self._versions.load(live)
        except ModelUnavailable as problem:
            LOG.error("%s", problem)
            return None
        return live

    def _fit(
        self, images: Sequence[TaskImage], classes: Sequence[str], name: str, report: Report
    ) -> tuple[Learner, list[LabelledImage], dict[str, Any]]:
        """Fit on all images that can be had; the others are left out, with a line in the log."""
        images = list(images)
        while True:
            train, held = split(images, classes, self._load, self._settings.holdout_percent)
            learner = create_learner(name, device=self._settings.torch_device)
            learner.use_cache(self._cache)
            try:
                fit = learner.fit(train, classes, progress=lambda done, _what: report("fit", 0.9 * done))
                for image in held:
                    learner.prepare(image)
                temperature = learner.calibrate(held)
            except _Unreadable as problem:
                LOG.warning("task %d is left out: %s", problem.image.labels.task_id, problem)
                images.remove(problem.image)
                continue
            facts = {"images": fit.images, "fit_seconds": round(fit.seconds, 3), "loss": round(fit.loss, 4)}
            return learner, held, {**facts, "temperature": round(temperature, 3)}

    def _load(self, image: TaskImage) -> NDArray[np.uint8]:
        """The image's pixels, as long as its labels belong to an image of this size."""
        try:
            array = self._images.get(image.url, image.labels.task_id).array
            labels = image.labels
            if array.shape[:2] != (labels.height, labels.width):
                raise ImageProblem(
                    f"its labels belong to an image of {labels.width}x{labels.height} and the image is now "
                    f"{array.shape[1]}x{array.shape[0]}; label it anew"
                )
        except ImageProblem as problem:
            raise _Unreadable(image, problem) from problem
        return array

    def _measure(
        self, learner: Learner, held: Sequence[LabelledImage], classes: Sequence[str]
    ) -> dict[str, Any]:
        """How well a learner tells the held-out labels; the mIoU is None where there are none."""
        matrix = np.zeros((len(classes), len(classes)), dtype=np.int64)
        for image in held:
            guess = learner.predict_pixels(image).argmax(axis=1)
            matrix += confusion_matrix(image.labels, guess, len(classes))
        total = int(matrix.sum())
        if not total:
            return {"held_out_labels": 0, "held_out_miou": None, "held_out_iou": {}}
        iou = {
            c: round(float(v), 4) for c, v in zip(classes, class_iou(matrix), strict=True) if not np.isnan(v)
        }
        return {"held_out_labels": total, "held_out_miou": round(mean_iou(matrix), 4), "held_out_iou": iou}

    def _gate(
        self, live: Version | None, held: Sequence[LabelledImage], metrics: dict[str, Any]
    ) -> str | None:
        """Why the new learner is worse than the live one on the held-out labels of today, or None."""
        if live is None or metrics["held_out_labels"] < self._settings.gate_labels:
            return None
        champion = self._versions.load(live)
        champion.use_cache(self._cache)
        before = self._measure(champion, held, live.classes)["held_out_miou"]
        after = metrics["held_out_miou"]
        if after >= before - self._settings.gate_margin:
            return None
        return (
            f"the new learner reaches {after:.3f} mIoU on {metrics['held_out_labels']} held-out labels and "
            f"{live.name} {before:.3f}; it was not published"
        )
