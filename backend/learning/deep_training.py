"""The deep learner's part of its rounds: read labels, train, leave the result to the next round of the project."""

from __future__ import annotations

import logging
from collections.abc import Callable

from backend.errors import ClickPickError, ModelUnavailable
from backend.images import ImageFetcher
from backend.learning.deep import deep_learner, last_deep_version
from backend.learning.deep_candidates import Candidates
from backend.learning.fitting import Fitter, Trained
from backend.learning.gate import Guesses
from backend.learning.labelled import Unreadable, classes_seen, count_labels, digest_labels, read_labels
from backend.learning.rounds import Outcome
from backend.learning.versions import Versions
from backend.round_queue import ASKED_FOR
from backend.services import open_shared
from backend.settings import Settings
from backend.store import Store, Version
from backend.studio import Studio
from label_config import read_schema
from model_zoo.errors import BadInput
from model_zoo.learners.base import Learner

LOG = logging.getLogger(__name__)
TRAINED = "deep learner trained"
"""Reason of the round that judges what was learnt."""


class DeepTrainer:
    """Trains the deep learner of any project; one object a process."""

    def __init__(
        self, settings: Settings, store: Store, studio: Studio, images: ImageFetcher, versions: Versions
    ) -> None:
        self._settings = settings
        self._store = store
        self._studio = studio
        self._versions = versions
        self._fitter = Fitter(settings, images, versions)
        self._candidates = Candidates(settings.candidates_folder, open_shared(settings))

    def run(
        self,
        project: int,
        reason: str,
        report: Callable[[str, float], None],
        _superseded: Callable[[], bool],
        _round_id: int | None = None,
    ) -> Outcome:
        """Train, and ask for the round that decides on publishing. Errors as `RoundRunner.run`."""
        report("collect", 0.0)
        schema = read_schema(self._studio.project(project).label_config)
        target = schema.pixel_image
        name = "" if target is None else deep_learner(self._settings, target)
        if target is None or not name:
            return Outcome(None, "the project has no deep learner")
        images = read_labels(target, self._studio.iter_annotated(project))
        if len(classes_seen(images, target.classes)) < 2:
            return Outcome(None, "labels of at least two classes are needed to learn")
        digest = digest_labels(images, target.classes, name, schema.digest)
        last = last_deep_version(self._store, project, name, target.classes)
        waiting = self._candidates.newest(project)
        if reason != ASKED_FOR and digest in {known.digest for known in (last, waiting) if known is not None}:
            self._store.rounds.request(project, TRAINED)  # a process died when all but this was done
            return Outcome(None, "the deep learner knows these labels")
        try:
            trained = self._fitter.fit(images, target.classes, name, report, warm_start=self._load(last))
        except BadInput as problem:
            return Outcome(None, f"nothing was learnt: {problem}")
        guesses = self._guess(trained)
        labels = count_labels(images)
        metrics = {**trained.metrics, "warm_start": last.name if last else None, "config": schema.digest}
        self._candidates.write(
            project, trained.learner, guesses, digest=digest, labels=labels, metrics=metrics
        )
        self._store.rounds.request(project, TRAINED)
        seconds = trained.metrics["fit_seconds"]
        return Outcome(
            None, f"{name} was trained on {labels} labels in {seconds:.0f} s; a round decides on it"
        )

    def _guess(self, trained: Trained) -> Guesses:
        """What the learner says of held-out labels, so that no round takes the time for it; not all is needed."""
        guesses = Guesses()
        for image in trained.held:
            try:
                guesses.at(trained.learner, image)
            except Unreadable:
                continue
            except (ClickPickError, RuntimeError) as problem:  # Label Studio is away, or memory is full
                LOG.warning("held-out labels are left to the round: %s", problem)
                break
        return guesses

    def _load(self, version: Version | None) -> Learner | None:
        if version is None:
            return None
        try:
            return self._versions.load(version)
        except ModelUnavailable as problem:
            LOG.warning("the deep learner starts from scratch: %s", problem)
            return None
