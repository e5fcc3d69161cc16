"""Score the queue with the live version and push queries, pre-annotations and scores, next tasks first."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from backend.errors import ImageProblem
from backend.images import ImageFetcher
from backend.learning.budgets import RunningMean
from backend.learning.delivery import Delivery
from backend.learning.labelled import TaskImage, image_key, image_urls
from backend.learning.proposals import Page, Recipe, propose
from backend.settings import Settings
from backend.studio import Studio, TaskInfo
from label_config import ImageSchema, ProjectSchema, invalid_reason
from model_zoo.learners.base import Learner

LOG = logging.getLogger(__name__)
Answered = Mapping[tuple[int, int | None], Sequence[tuple[int, int]]]


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


class Pusher:
    """Works through the queue of a project."""

    def __init__(self, settings: Settings, studio: Studio, images: ImageFetcher) -> None:
        self._settings = settings
        self._studio = studio
        self._images = images
        self._given: dict[int, dict[int, float]] = {}

    def push(
        self,
        queue: Queue,
        delivery: Delivery,
        report: Callable[[str, float], None],
        superseded: Callable[[], bool],
    ) -> Pushed:
        """Score and push until done or superseded.

        What Label Studio serves next goes first, before the whole queue is read: annotators wait for it.
        """
        delivery.flush(queue.version)
        uncertainty = RunningMean()
        pushed = self._send(queue, delivery, self._first(queue), uncertainty)
        if pushed and superseded():
            delivery.remove_versions_except(queue.version, queue.previous)
            return Pushed(f"{pushed} waiting tasks pushed, then others came first", False)
        tasks, present = self._waiting(queue)
        if present and not pushed:
            delivery.switch_to(queue.version)
        present = present or pushed > 0
        done = 0
        for chunk in self._chunks(tasks):
            sent = self._send(queue, delivery, chunk, uncertainty, switch=not present, until=superseded)
            present = present or sent > 0
            pushed += sent
            done += len(chunk)
            report("push", done / len(tasks))
            if superseded() and (done < len(tasks) or sent < len(chunk)):
                delivery.remove_versions_except(queue.version, queue.previous)
                return Pushed(f"{pushed} waiting tasks pushed, then others came first", False)
        if present:
            delivery.remove_versions_except(queue.version)
        return Pushed(
            f"{pushed} waiting tasks pushed" if pushed or tasks else "all waiting tasks were up to date", True
        )

    def _send(
        self,
        queue: Queue,
        delivery: Delivery,
        tasks: Sequence[TaskInfo],
        uncertainty: RunningMean,
        *,
        switch: bool = True,
        until: Callable[[], bool] = lambda: False,
    ) -> int:
        """Score and deliver tasks, ``until`` something else is more urgent; how many were delivered."""
        mean = uncertainty.value
        predictions: list[dict[str, Any]] = []
        for task in tasks:
            if predictions and until():
                break
            prediction = self.proposal(queue, task, mean)
            if prediction is not None:
                predictions.append(prediction)
        if not predictions:
            return 0
        scores = {prediction["task"]: prediction["score"] for prediction in predictions}
        uncertainty.add(1.0 - score for score in scores.values())
        delivery.send(queue.version, predictions)
        self._given.setdefault(queue.project, {}).update(scores)
        if switch:
            delivery.switch_to(queue.version)
        return len(predictions)

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
        if queue.version in self._studio.model_versions(queue.project):
            return ()
        return self._studio.next_tasks(queue.project, self._settings.first_push)

    def _waiting(self, queue: Queue) -> tuple[list[TaskInfo], bool]:
        """Unlabelled tasks without a prediction of this version, those that Label Studio serves next first."""
        stored = self._studio.model_versions(queue.project)
        have = self._scores(queue.project, queue.version, stored)
        # Label Studio tells scores of other versions than the one it serves only together with all their masks.
        order = {
            **(self._given.get(queue.project) or self._scores(queue.project, queue.previous, stored)),
            **have,
        }
        tasks = [t for t in self._studio.tasks(queue.project) if not t.is_labeled and t.id not in have]
        return sorted(tasks, key=lambda task: (order.get(task.id, 2.0), task.id)), bool(have)

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
