"""Tasks that are opened: queries and pre-annotation at once, while the clicks to come are prepared for."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from backend import log_context
from backend.caches import SingleFlight
from backend.embeddings import Decoder
from backend.engines.local import LocalEngine
from backend.engines.model_queue import Urgency
from backend.engines.out_of_memory import with_room
from backend.errors import BadRequest, ClickPickError
from backend.images import ImageFetcher
from backend.learning.confirming import shows_classes
from backend.learning.labelled import image_urls
from backend.learning.pushing import Pusher, Queue
from backend.learning.versions import Versions, version_name
from backend.metrics import Metrics
from backend.services import open_shared
from backend.settings import Settings
from backend.store import Store, Version
from backend.studio import TaskInfo
from backend.warming import Warming
from label_config import ImageSchema, ProjectSchema
from model_zoo.errors import ModelZooError
from model_zoo.registry import public_name

LOG = logging.getLogger(__name__)
BATCH_SECONDS = 80.0
"""Label Studio hangs up on a batch after 100 s and loses all of it; later tasks get an empty answer instead."""
EMPTY = "empty-"
"""Marks what was answered in place of queries that could not be had: no round takes it for a version's answer."""


class Opening:
    """Answers requests without clicks. ``images`` and ``pusher`` raise ConfigProblem where there is no token."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        engine: LocalEngine,
        decoder: Decoder,
        warming: Warming,
        *,
        images: Callable[[], ImageFetcher],
        pusher: Callable[[], Pusher],
        metrics: Metrics | None = None,
    ) -> None:
        self._metrics = metrics or Metrics()
        self.versions = Versions(
            store, settings.versions_folder, lambda: settings.torch_device, storage=open_shared(settings)
        )
        self._settings = settings
        self._store = store
        self._engine = engine
        self._decoder = decoder
        self._warming = warming
        self._images = images
        self._pusher = pusher
        self._flights: SingleFlight[tuple[Any, ...], dict[str, Any]] = SingleFlight()

    def open(
        self, project: int, schema: ProjectSchema, tasks: Sequence[Mapping[str, Any]]
    ) -> list[dict[str, Any]]:
        """One prediction a task; an empty one where there is nothing to ask, or no time or no image to ask about."""
        self._warming.opened(project, schema, tasks)
        target = schema.pixel_image
        if target is None:
            return [nothing(public_name(self._settings.segmenter)) for _ in tasks]
        deadline = time.monotonic() + BATCH_SECONDS
        answers: dict[str, dict[str, Any]] = {}
        keys = [json.dumps(task, sort_keys=True) for task in tasks]
        for key, task in zip(keys, tasks, strict=True):
            if key in answers:  # repeated; once is enough
                continue
            if time.monotonic() > deadline:
                answers[key] = nothing(version_name(project, 0, EMPTY))
                continue
            with self._metrics.timed("opening"):
                answers[key] = self._open_task(project, schema, target, task, deadline)
        return [answers[key] for key in keys]

    def _open_task(
        self,
        project: int,
        schema: ProjectSchema,
        target: ImageSchema,
        task: Mapping[str, Any],
        deadline: float,
    ) -> dict[str, Any]:
        live = self._live(project, target)
        version = live.name if live else version_name(project, 0, schema.digest)
        info = task_info(task)
        log_context.bind(task=info.id, version=version)

        def propose() -> dict[str, Any]:
            live = self._live(project, target)  # another one, maybe, by the time that the model is free
            version = live.name if live else version_name(project, 0, schema.digest)
            answered: dict[tuple[int, int | None], list[tuple[int, int]]] = {}
            for label in self._store.labels(project, info.id):
                item = label.item if target.multi_page else None
                answered.setdefault((label.task, item), []).append((label.row, label.col))
            learner = self.versions.load(live) if live else None
            confirm = shows_classes(live, target, self._settings)
            queue = Queue(project, schema, target, version, learner, answered, confirm)
            return self._pusher().proposal(queue, info) or nothing(version_name(project, 0, EMPTY))

        def with_room_for_it() -> dict[str, Any]:
            return with_room(propose, self._decoder.make_room, f"version {version}")

        key = (project, info.id, version, schema.digest)
        try:
            for _, url in image_urls(target, info.data):
                self._images().get(url, info.id)  # here, so that no click waits for the network
            return self._flights.do(
                key, lambda: self._engine.run(with_room_for_it, Urgency.OPENING, deadline)
            )
        except (ClickPickError, ModelZooError) as problem:
            LOG.warning("task %d opens without queries: %s", info.id, problem)
            return nothing(version_name(project, 0, EMPTY))

    def _live(self, project: int, target: ImageSchema) -> Version | None:
        """The live version, where it knows these classes."""
        live = self._store.live_version(project)
        return live if live is not None and live.classes == target.classes else None


def task_info(task: Mapping[str, Any]) -> TaskInfo:
    """The task of a request; raises BadRequest for what is none."""
    number, data = task.get("id"), task.get("data")
    if not isinstance(number, int) or not 0 <= number < 1 << 31 or not isinstance(data, Mapping):
        raise BadRequest(
            "a task without a numeric id or without data was got; expected Label Studio's task JSON"
        )
    return TaskInfo(number, dict(data), bool(task.get("is_labeled")))


def nothing(version: str | None) -> dict[str, Any]:
    """A valid prediction that shows nothing."""
    answer: dict[str, Any] = {"result": [], "score": 0.0}
    return answer if version is None else {**answer, "model_version": version}
