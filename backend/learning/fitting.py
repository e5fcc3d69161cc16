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
from backend.learning.gate import Gate, Guesses, is_deep
from backend.learning.labelled import (
    TaskImage,
    Unreadable,
    classes_seen,
    count_labels,
    digest_labels,
    split,
)
from backend.learning.versions import Versions
from backend.settings import MEGABYTE, Settings
from backend.store import Version
from model_zoo.errors import BadInput
from model_zoo.learners.base import LabelledImage, Learner
from model_zoo.learners.features import FeatureCache
from model_zoo.registry import create_learner

LOG = logging.getLogger(__name__)
Report = Callable[[str, float], None]


@dataclass(frozen=True)
class Fitted:
    """What came of the labels: the version to use from now on, and a sentence for people."""

    version: Version | None
    message: str


@dataclass(frozen=True)
class Trained:
    """A fitted learner, the labels that it has not seen, and what the fit saw and cost."""

    learner: Learner
    held: list[LabelledImage]
    metrics: dict[str, Any]


class Fitter:
    """Fits learners and publishes versions; features at labelled pixels are kept between rounds."""

    def __init__(self, settings: Settings, images: ImageFetcher, versions: Versions) -> None:
        self._settings = settings
        self._images = images
        self._versions = versions
        self._cache = FeatureCache(settings.features_folder, settings.feature_cache_mb * MEGABYTE)
        self.gate = Gate(settings, versions, self._cache)
        self._refused: dict[int, tuple[str, str, str]] = {}

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
        usable = self.usable(live, classes)
        digest = digest_labels(images, classes, learner_name, config_digest)
        labels = count_labels(images)
        if usable is not None and not force:
            maker = usable.learner if is_deep(usable) else learner_name
            same = digest_labels(images, classes, maker, config_digest)
            if nothing_to_do := self._nothing_to_do(usable, same, digest, labels):
                return Fitted(usable, nothing_to_do)
        seen = classes_seen(images, classes)
        if len(seen) < 2:
            named = ", ".join(sorted(seen)) or "none"
            return Fitted(usable, f"labels of at least two classes are needed to learn; there are: {named}")
        try:
            trained = self.fit(images, classes, learner_name, report)
        except BadInput as problem:
            return Fitted(usable, f"nothing was learnt: {problem}")
        learner, held, guesses = trained.learner, trained.held, Guesses()
        metrics = trained.metrics | self.gate.measure(learner, guesses, held, classes)
        metrics["config"] = config_digest
        refusal = self.gate.refusal(usable, learner, guesses, held, deep=False)
        if refusal and usable:
            LOG.warning("project %d: %s", project, refusal)
            if usable.metrics.get("config", config_digest) != config_digest:
                usable = self._rename(usable, config_digest)
            self._refused[project] = usable.name, digest, refusal
            return Fitted(usable, refusal)
        report("publish", 1.0)
        version = self._versions.publish(project, learner, digest=digest, labels=labels, metrics=metrics)
        return Fitted(version, f"published {version.name} from {labels} labels")

    def _rename(self, live: Version, config_digest: str) -> Version:
        """Publish the live version again: after a change of the labelling config all is pushed anew, by another name.

        It keeps the digest and number of the labels that it has learnt.
        """
        return self._versions.publish(
            live.project,
            self._versions.load(live),
            digest=live.digest,
            labels=live.labels,
            metrics={**live.metrics, "config": config_digest},
            also=self.gate.champion(live).write,
        )

    def _nothing_to_do(self, live: Version, same: str, digest: str, labels: int) -> str:
        """Why these labels need no fit, or "". ``same``: the digest that the live version would have of them."""
        if live.digest == same:
            return f"labels unchanged since {live.name}"
        name, refused, why = self._refused.get(live.project, ("", "", ""))
        if (name, refused) == (live.name, digest):
            return why
        new = abs(labels - live.labels)
        if new < self._settings.round_every != 1:
            return f"{new} new labels since {live.name}, waiting for {self._settings.round_every}"
        return ""

    def usable(self, live: Version | None, classes: tuple[str, ...]) -> Version | None:
        """The live version, where it knows these classes and its folder is whole."""
        if live is None or live.classes != classes:
            return None
        try:
            self._versions.load(live)
        except ModelUnavailable as problem:
            LOG.error("%s", problem)
            return None
        return live

    def held_out(self, images: Sequence[TaskImage], classes: Sequence[str]) -> list[LabelledImage]:
        """The labels that no learner is trained on; loading their images raises Unreadable where they cannot be had."""
        return split(images, classes, self._load, self._settings.holdout_percent)[1]

    def fit(
        self,
        images: Sequence[TaskImage],
        classes: Sequence[str],
        name: str,
        report: Report,
        *,
        warm_start: Learner | None = None,
    ) -> Trained:
        """Fit on all images that can be had; the others are left out, with a line in the log."""
        images = list(images)
        while True:
            train, held = split(images, classes, self._load, self._settings.holdout_percent)
            learner = create_learner(name, device=self._settings.torch_device)
            learner.use_cache(self._cache)
            try:
                fit = learner.fit(
                    train,
                    classes,
                    warm_start=warm_start,
                    progress=lambda done, _what: report("fit", 0.9 * done),
                )
                for image in held:
                    learner.prepare(image)
                temperature = learner.calibrate(held)
            except Unreadable as problem:
                LOG.warning("task %d is left out: %s", problem.image.labels.task_id, problem)
                images.remove(problem.image)
                continue
            facts = {"images": fit.images, "fit_seconds": round(fit.seconds, 3), "loss": round(fit.loss, 4)}
            return Trained(learner, held, {**facts, "temperature": round(temperature, 3)})

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
            raise Unreadable(image, problem) from problem
        return array
