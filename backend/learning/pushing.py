"""Score the queue with the live version and push queries, pre-annotations and scores, next tasks first."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from backend.errors import ImageProblem
from backend.images import ImageFetcher
from backend.learning.budgets import mean_uncertainty
from backend.learning.delivery import Delivery
from backend.learning.labelled import TaskImage, image_key, image_urls
from backend.learning.proposals import Page, Recipe, propose
from backend.settings import Settings
from backend.studio import Studio, TaskInfo
from label_config import ImageSchema, ProjectSchema, invalid_reason
from model_zoo.learners.base import Learner

LOG = logging.getLogger(__name__)
Answered = Mapping[tuple[int, int | None], Sequence[tuple[int, int]]]
LEAST_TASKS = 8
"""Tasks of the queue that a round tries before it gives way: more than annotators have open, which Label Studio serves
to nobody else, and enough for projects that give way to each other to get on."""


@dataclass(frozen=True)
class Queue:
    """One project's queue: its labelling config, the version to push, and the learner behind it."""

    project: int
    schema: ProjectSchema
    target: ImageSchema
    version: str
    previous: str
    learner: Learner | None
    answered: Answered


@dataclass(frozen=True)
class Pushed:
    """A sentence for people; ``complete``: no task of the queue is left."""

    message: str
    complete: bool


def recipe_of(settings: Settings) -> Recipe:
    """The settings that decide what a task shows."""
    return Recipe(
        acquisition=settings.acquisition,
        selection=settings.selection,
        initial=settings.initial,
        queries=settings.queries_per_task,
        polygon_over_pixels=settings.polygon_over_pixels,
        device=settings.torch_device,
    )


def answered_pixels(images: Iterable[TaskImage]) -> Answered:
    """(task, item) -> pixels that a person has answered, "cannot tell" included: never asked again."""
    return {
        (image.labels.task_id, image.labels.item_index): [(p.row, p.col) for p in image.labels.pixels]
        for image in images
    }


class _Turn:
    """What a round has done of the queue; a task that could not be had is tried, but not pushed."""

    def __init__(self, superseded: Callable[[], bool]) -> None:
        self._superseded = superseded
        self._over = False
        self.tried = 0
        self.pushed = 0

    def is_over(self) -> bool:
        """True once others come first, LEAST_TASKS at the earliest, and from then on."""
        self._over = self._over or (self.tried >= LEAST_TASKS and self._superseded())
        return self._over


class Pusher:
    """Works through the queue of a project."""

    def __init__(self, settings: Settings, studio: Studio, images: ImageFetcher) -> None:
        self._settings = settings
        self._studio = studio
        self._images = images
        self._given: dict[int, dict[int, float]] = {}
        """Project -> task of its queue -> latest score."""
        self._in_vain: dict[int, set[int]] = {}
        """Project -> tasks that could not be had since its queue was last complete; the next round goes on behind."""

    def push(
        self,
        queue: Queue,
        delivery: Delivery,
        report: Callable[[str, float], None],
        superseded: Callable[[], bool],
    ) -> Pushed:
        """Score and push until done, or superseded once LEAST_TASKS were tried.

        What Label Studio serves next goes first, before the whole queue is read: annotators wait for it. Older
        versions stay until the queue is complete: they are all that the tasks behind have, and to delete them takes
        seconds in which somebody waits.
        """
        delivery.flush(queue.version)
        turn = _Turn(superseded)
        self._send(queue, delivery, self._first(queue), turn)
        tasks, present = self._waiting(queue)
        if present and not turn.pushed:
            delivery.switch_to(queue.version)
        present = present or turn.pushed > 0
        first = turn.tried
        for chunk in self._chunks(tasks):
            self._send(queue, delivery, chunk, turn, switch=not present)
            present = present or turn.pushed > 0
            done = turn.tried - first
            report("push", done / len(tasks))
            if done < len(tasks) and turn.is_over():
                return Pushed(f"{turn.pushed} waiting tasks pushed, then others came first", False)
        self._in_vain.pop(queue.project, None)
        if present:
            delivery.remove_superseded(queue.version)
        return Pushed(
            f"{turn.pushed} waiting tasks pushed" if turn.tried else "all waiting tasks were up to date", True
        )

    def _send(
        self, queue: Queue, delivery: Delivery, tasks: Sequence[TaskInfo], turn: _Turn, *, switch: bool = True
    ) -> None:
        """Score and deliver tasks until the turn is over."""
        given = self._given.setdefault(queue.project, {})
        mean = mean_uncertainty(given.values())
        predictions: list[dict[str, Any]] = []
        for task in tasks:
            if turn.is_over():
                break
            turn.tried += 1
            prediction = self.proposal(queue, task, mean)
            if prediction is None:
                self._in_vain.setdefault(queue.project, set()).add(task.id)
            else:
                predictions.append(prediction)
        if not predictions:
            return
        delivery.send(queue.version, predictions)
        turn.pushed += len(predictions)
        given.update({prediction["task"]: prediction["score"] for prediction in predictions})
        if switch:
            delivery.switch_to(queue.version)

    def proposal(
        self, queue: Queue, task: TaskInfo, mean_uncertainty: float | None = None
    ) -> dict[str, Any] | None:
        """The prediction of one task; None, with a line in the log, where its image cannot be had.

        mean_uncertainty: of the queue, as far as it is known; it decides the number of queries where the budget goes
        over the queue.
        """
        try:
            pages = [
                self._page(queue, task.id, item, url) for item, url in image_urls(queue.target, task.data)
            ]
        except ImageProblem as problem:
            LOG.warning("task %d gets no queries: %s", task.id, problem)
            return None
        if not pages:
            LOG.warning("task %d gets no queries: it has no image in field %r", task.id, queue.target.field)
            return None
        mean = mean_uncertainty if self._settings.budget == "queue" else None
        recipe = recipe_of(self._settings)
        prediction = propose(pages, queue.target, queue.learner, queue.version, recipe, mean_uncertainty=mean)
        return {"task": task.id, **drop_invalid(prediction, queue.schema)}

    def _page(self, queue: Queue, task: int, item: int | None, url: str) -> Page:
        image = self._images.get(url, task).array
        return Page(task, item, image_key(url, task, item), image, queue.answered.get((task, item), ()))

    def _first(self, queue: Queue) -> Sequence[TaskInfo]:
        """What Label Studio serves next; nothing where predictions of this version are there already."""
        stored = self._studio.model_versions(queue.project)
        if queue.version in stored:
            return ()
        if queue.project not in self._given:
            # Label Studio tells scores of other versions than the one it serves only together with all their masks.
            self._given[queue.project] = dict(self._scores(queue.project, queue.previous, stored))
        return self._studio.next_tasks(queue.project, self._settings.first_push)

    def _waiting(self, queue: Queue) -> tuple[list[TaskInfo], bool]:
        """Unlabelled tasks without a prediction of this version, those that Label Studio serves next first.

        Without those that rounds of this queue have tried in vain; and whether any task has such a prediction.
        """
        have = self._scores(queue.project, queue.version, self._studio.model_versions(queue.project))
        known = {**self._given.get(queue.project, {}), **have}
        unlabelled = [task for task in self._studio.tasks(queue.project) if not task.is_labeled]
        self._given[queue.project] = {task.id: known[task.id] for task in unlabelled if task.id in known}
        in_vain = self._in_vain.get(queue.project, set())
        tasks = [task for task in unlabelled if task.id not in have and task.id not in in_vain]
        return sorted(tasks, key=lambda task: (known.get(task.id, 2.0), task.id)), bool(have)

    def _scores(self, project: int, version: str, stored: Mapping[str, int]) -> Mapping[int, float]:
        return self._studio.prediction_scores(project, version) if version in stored else {}

    def _chunks(self, tasks: Sequence[TaskInfo]) -> Iterator[Sequence[TaskInfo]]:
        """Small ones first, so that the next tasks come soon; larger ones later, which cost Label Studio less."""
        start, size = 0, self._settings.first_push
        while start < len(tasks):
            yield tasks[start : start + size]
            start, size = (
                start + size,
                min(2 * size, max(self._settings.push_chunk, self._settings.first_push)),
            )


def drop_invalid(prediction: dict[str, Any], schema: ProjectSchema) -> dict[str, Any]:
    """The prediction without regions that this labelling config cannot show; each is logged."""
    kept: list[dict[str, Any]] = []
    for region in prediction["result"]:
        reason = invalid_reason(region, schema)
        if reason is None:
            kept.append(region)
        else:
            LOG.error("a region was left out of an answer: %s", reason)
    return {**prediction, "result": kept}
