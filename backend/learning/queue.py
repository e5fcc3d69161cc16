"""One project's queue, and what its version says of one task."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from backend.errors import ImageProblem
from backend.images import ImageFetcher
from backend.learning.labelled import TaskImage, image_key, image_urls
from backend.learning.proposals import Page, Recipe, drop_invalid, propose
from backend.learning.scoring import Prediction
from backend.settings import Settings
from backend.store import Version
from backend.studio import TaskInfo
from label_config import ImageSchema, PolygonForm, ProjectSchema
from model_zoo.learners.base import Learner

LOG = logging.getLogger(__name__)
Answered = Mapping[tuple[int, int | None], Sequence[tuple[int, int]]]
"""(task, item) -> pixels that a person has answered, "cannot tell" included: never asked again."""


@dataclass(frozen=True)
class Queue:
    """A labelling config, the version to push, and the learner behind it.

    ``confirm``: queries show the class that the learner expects.
    To push, what Label Studio has said of the project as well: the version that it serves, the number of its tasks,
    and of each annotated task whether it has all the annotations that it needs. ``published``: the record of the
    version, for whoever loads the learner elsewhere.
    """

    project: int
    schema: ProjectSchema
    target: ImageSchema
    version: str
    learner: Learner | None
    answered: Answered
    confirm: bool = False
    served: str = ""
    task_number: int = -1
    labelled: Mapping[int, bool] = field(default_factory=dict)
    published: Version | None = None


def answered_pixels(images: Iterable[TaskImage]) -> Answered:
    """Of these images."""
    return {
        (image.labels.task_id, image.labels.item_index): [(p.row, p.col) for p in image.labels.pixels]
        for image in images
    }


def recipe_of(settings: Settings) -> Recipe:
    """The settings that decide what a task shows."""
    return Recipe(
        acquisition=settings.acquisition,
        selection=settings.selection,
        initial=settings.initial,
        queries=settings.queries_per_task,
        polygon_over_pixels=settings.polygon_over_pixels,
        device=settings.torch_device,
        polygons=PolygonForm(settings.polygon_tolerance, settings.polygon_points),
    )


class Proposer:
    """Makes predictions of tasks, one at a time."""

    def __init__(self, settings: Settings, images: ImageFetcher) -> None:
        self._settings = settings
        self._images = images

    def proposal(
        self, queue: Queue, task: TaskInfo, mean_uncertainty: float | None = None
    ) -> Prediction | None:
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
        prediction = propose(
            pages,
            queue.target,
            queue.learner,
            queue.version,
            recipe,
            mean_uncertainty=mean,
            confirm=queue.confirm,
        )
        return {"task": task.id, **drop_invalid(prediction, queue.schema)}

    def _page(self, queue: Queue, task: int, item: int | None, url: str) -> Page:
        image = self._images.get(url, task).array
        return Page(task, item, image_key(url, task, item), image, queue.answered.get((task, item), ()))
