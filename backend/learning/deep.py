"""What a round does about the deep learner: judges what it has learnt, and says when it trains again."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from backend.errors import Overtaken, SharedUnavailable, StoreUnavailable, StudioUnavailable, is_disk_full
from backend.learning.deep_candidates import MOST_TRIES, Candidate, Candidates
from backend.learning.fitting import Fitter
from backend.learning.gate import Guesses, is_deep
from backend.learning.labelled import TaskImage, classes_seen, count_labels
from backend.learning.versions import Versions
from backend.round_queue import ASKED_FOR, DEEP
from backend.services import open_shared
from backend.settings import Settings
from backend.store import Store, Version
from label_config import ImageSchema
from model_zoo.errors import ModelZooError
from model_zoo.learners.base import Learner
from model_zoo.registry import create_learner

LOG = logging.getLogger(__name__)
AGAIN = (StudioUnavailable, SharedUnavailable, StoreUnavailable, Overtaken)


@dataclass(frozen=True)
class Judged:
    """The version that is live from now on, and a sentence for people; "" where nothing was judged."""

    live: Version | None
    message: str = ""


def deep_learner(settings: Settings, target: ImageSchema) -> str:
    """Name of the learner that a project has trained beside its rounds; "" where there is none."""
    name = settings.deep_learner_name
    return "" if name == (target.learner or settings.learner) else name


def last_deep_version(store: Store, project: int, name: str, classes: Sequence[str]) -> Version | None:
    """The newest version of the deep learner for these classes, whether it was ever live or kept aside."""
    for version in store.versions(project):
        if is_deep(version) and version.learner == name and version.classes == tuple(classes):
            return version
    return None


class Deep:
    """The deep learner as rounds see it."""

    def __init__(self, settings: Settings, store: Store, versions: Versions, fitter: Fitter) -> None:
        self._settings = settings
        self._store = store
        self._versions = versions
        self._fitter = fitter
        self._candidates = Candidates(settings.candidates_folder, open_shared(settings))
        self._asked: dict[tuple[int, str, tuple[str, ...]], int] = {}
        self._asked_in: dict[int, int] = {}

    def judge(
        self, project: int, images: Sequence[TaskImage], classes: tuple[str, ...], live: Version | None
    ) -> Judged:
        """Publish the newest candidate unless it is worse than the live version; else keep it aside.

        One that cannot be judged is dropped, so that the round goes on. StudioUnavailable, SharedUnavailable,
        StoreUnavailable, Overtaken and a full disk pass through, and it waits for the next try.
        """
        candidate = self._candidates.newest(project)
        if candidate is None:
            return Judged(live)
        judged = Judged(live)
        try:
            if self._candidates.begin(candidate):
                judged = self._decide(project, candidate, images, classes, live)
            else:
                LOG.error(
                    "project %d: judging what %s learnt failed %d times; it is dropped",
                    project,
                    candidate.learner,
                    MOST_TRIES,
                )
        except Exception as error:
            if isinstance(error, AGAIN) or is_disk_full(error):
                with contextlib.suppress(OSError, SharedUnavailable):  # it would take the error's place
                    self._candidates.begin_anew(candidate)
                raise
            LOG.exception(
                "project %d: what %s learnt cannot be judged; it is dropped", project, candidate.learner
            )
        self._candidates.remove(project, candidate)
        return judged

    def _decide(
        self,
        project: int,
        candidate: Candidate,
        images: Sequence[TaskImage],
        classes: tuple[str, ...],
        live: Version | None,
    ) -> Judged:
        learner = self._load(project, candidate)
        if learner is None:
            return Judged(live)
        guesses = Guesses.read(candidate.folder)
        metrics = {**candidate.metrics, "kind": DEEP, "candidate": candidate.number}
        refusal: str | None = "the classes have changed since the deep learner began; it was not published"
        if candidate.classes == classes:
            held = self._fitter.held_out(images, classes)
            metrics |= self._fitter.gate.measure(learner, guesses, held, classes)
            usable = self._fitter.usable(live, classes)
            refusal = self._fitter.gate.refusal(usable, learner, guesses, held, deep=True)
        version = self._versions.publish(
            project,
            learner,
            digest=candidate.digest,
            labels=candidate.labels,
            metrics=metrics if refusal is None else {**metrics, "aside": refusal},
            live=refusal is None,
            also=guesses.write,
        )
        if refusal is not None:
            LOG.warning("project %d: %s; kept aside as %s", project, refusal, version.name)
            return Judged(live, refusal)
        return Judged(version, f"published {version.name} of {candidate.learner}")

    def ask(
        self,
        project: int,
        reason: str,
        images: Sequence[TaskImage],
        target: ImageSchema,
        round_id: int | None = None,
    ) -> str:
        """Queue a training where enough labels have come since the last, or a person asked; a sentence, or "".

        A person's round that is tried again (same ``round_id``) asks once.
        """
        name = deep_learner(self._settings, target)
        if not name or len(classes_seen(images, target.classes)) < 2:
            return ""
        rounds = self._store.rounds
        labels = count_labels(images)
        key = project, name, target.classes
        if reason != ASKED_FOR:
            if rounds.has_work(project, DEEP):
                return ""
            last = last_deep_version(self._store, project, name, target.classes)
            before = self._asked.get(key, last.labels if last else 0)
            if abs(labels - before) < self._settings.deep_every:
                return ""
        elif round_id is not None and self._asked_in.get(project) == round_id:
            return ""
        rounds.request(project, reason, kind=DEEP)
        if round_id is not None:
            self._asked_in[project] = round_id
        self._asked[key] = labels  # so that a training that fails is not asked for again at every round
        return f"{name} trains on {labels} labels in the background"

    def _load(self, project: int, candidate: Candidate) -> Learner | None:
        """What a candidate has learnt; None where it was judged before, or cannot be loaded."""
        known = {version.metrics.get("candidate") for version in self._store.versions(project)}
        if candidate.number in known:  # by a process that died before it removed the candidate
            return None
        try:
            learner = create_learner(candidate.learner, device=self._settings.torch_device)
            learner.load(candidate.folder)
        except (ModelZooError, OSError, ValueError, KeyError) as problem:
            LOG.error("project %d: what %s learnt cannot be loaded: %s", project, candidate.learner, problem)
            return None
        return learner
