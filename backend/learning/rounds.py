"""One round: collect labels, fit, check, publish, score the queue, choose queries, push them to Label Studio.

Every step can be repeated: labels are replaced by what Label Studio says, a version is not made twice for the
same labels, and tasks that have predictions of the live version are not scored again. A round that was cut
short is simply run again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from backend.errors import StudioRefused
from backend.images import ImageFetcher
from backend.learning.annotated import AnnotatedTasks
from backend.learning.confirming import seconds_per_pixel, shows_classes
from backend.learning.deep import Deep
from backend.learning.delivery import Delivery
from backend.learning.fitting import Fitter
from backend.learning.labelled import TaskImage, stored_labels
from backend.learning.pushing import Pusher
from backend.learning.queue import Proposer, Queue, answered_pixels
from backend.learning.rollback import Rollback
from backend.learning.scoring import Scoring
from backend.learning.versions import Versions, version_name
from backend.round_queue import ASKED_FOR
from backend.settings import Settings
from backend.store import Store, Version
from backend.studio import Studio
from label_config import ImageSchema, ProjectSchema, read_schema

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """How a round ended: the version that Label Studio serves now, and a sentence for people.

    ``complete`` False: it made way for another round before the whole queue was pushed.
    """

    version: str | None
    message: str
    complete: bool = True


class RoundRunner:
    """Runs rounds of any project; one object a process."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        studio: Studio,
        images: ImageFetcher,
        versions: Versions,
        *,
        scoring: Scoring | None = None,
    ) -> None:
        """scoring: of the tasks behind those that annotators see next; by default in this process."""
        self._settings = settings
        self._store = store
        self._studio = studio
        self._versions = versions
        self._annotated = AnnotatedTasks(studio, settings.annotated_mb)
        self._fitter = Fitter(settings, images, versions)
        self._rollback = Rollback(store, versions, self._fitter.gate)
        self._deep = Deep(settings, store, versions, self._fitter)
        self._pusher = Pusher(settings, studio, Proposer(settings, images), scoring)

    def run(
        self,
        project: int,
        reason: str,
        report: Callable[[str, float], None],
        superseded: Callable[[], bool],
        round_id: int | None = None,
    ) -> Outcome:
        """Run one round. ``superseded`` says between tasks whether another round waits.

        Raises StudioUnavailable where trying again later helps, and other ClickPickErrors where it does not.
        """
        try:
            return self._run(project, reason, report, superseded, round_id)
        except StudioRefused as refusal:
            if refusal.studio_status == 404 and not self._exists(project):
                self._store.forget_project(project)
                return Outcome(None, f"project {project} does not exist in Label Studio any more")
            raise

    def _run(
        self,
        project: int,
        reason: str,
        report: Callable[[str, float], None],
        superseded: Callable[[], bool],
        round_id: int | None,
    ) -> Outcome:
        report("collect", 0.0)
        info = self._studio.project(project)
        schema = read_schema(info.label_config)
        target = schema.pixel_image
        if target is None:
            return Outcome(None, "the labelling config has no query control, so there is nothing to learn")
        self._store.remember_project(project, schema.digest)
        annotated = self._annotated.read(project, target)
        labelled = annotated.images
        self._store.replace_labels(project, stored_labels(labelled), annotated.reading)
        pace = seconds_per_pixel(annotated.seconds, labelled)
        self._store.note_pace(project, pace)
        before = self._store.live_version(project)
        live, learnt = self._learn(
            project,
            reason=reason,
            schema=schema,
            target=target,
            labelled=labelled,
            before=before,
            report=report,
        )
        asked = self._deep.ask(project, reason, labelled, target, round_id)
        queue = replace(
            self._queue(project, schema, target, live),
            answered=answered_pixels(
                image for image in labelled if not annotated.complete[image.labels.task_id]
            ),
            served=info.model_version,
            task_number=info.task_number,
            labelled=annotated.complete,
        )
        delivery = Delivery(self._store, self._studio, project)
        pushed = self._pusher.push(queue, delivery, report, superseded)
        said = (
            *learnt,
            asked,
            pushed.message,
            _confirming(queue),
            "" if pace is None else f"{pace:.1f} s of people a pixel",
            _disagreements(labelled),
        )
        message = "; ".join(filter(None, said))
        return Outcome(queue.version, message, pushed.complete)

    def _learn(
        self,
        project: int,
        *,
        reason: str,
        schema: ProjectSchema,
        target: ImageSchema,
        labelled: Sequence[TaskImage],
        before: Version | None,
        report: Callable[[str, float], None],
    ) -> tuple[Version | None, tuple[str, ...]]:
        """The version that is live from now on, and sentences for people."""
        learner = target.learner or self._settings.learner
        back = self._rollback.carry_out(project, labelled, target.classes, learner, schema.digest)
        if back.version is not None:
            return back.version, (back.message,)
        judged = self._deep.judge(project, labelled, target.classes, before)
        fitted = self._fitter.update(
            project,
            labelled,
            target.classes,
            learner,
            judged.live,
            config_digest=schema.digest,
            force=reason == ASKED_FOR,
            report=report,
        )
        return fitted.version, (back.message, judged.message, fitted.message)

    def _queue(self, project: int, schema: ProjectSchema, target: ImageSchema, live: Version | None) -> Queue:
        """The queue of a version, as far as it does not depend on what has been labelled."""
        return Queue(
            project=project,
            schema=schema,
            target=target,
            version=live.name if live else version_name(project, 0, schema.digest),
            learner=self._versions.load(live) if live else None,
            answered={},
            confirm=shows_classes(live, target, self._settings),
            published=live,
        )

    def _exists(self, project: int) -> bool:
        try:
            self._studio.project(project)
        except StudioRefused as refusal:
            return refusal.studio_status != 404
        return True


def _confirming(queue: Queue) -> str:
    return "queries show classes to confirm" if queue.confirm else ""


def _disagreements(images: Sequence[TaskImage]) -> str:
    """Pixels that are no labels because as many annotators say one thing as another, for review."""
    tasks = {image.labels.task_id: len(image.labels.conflicts) for image in images if image.labels.conflicts}
    if not tasks:
        return ""
    named = ", ".join(str(task) for task in sorted(tasks)[:10]) + (", ..." if len(tasks) > 10 else "")
    return f"annotators disagree on {sum(tasks.values())} pixels, of tasks {named}: please review"
