"""The use cases: what the plugin does when Label Studio calls. Knows no HTTP."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from backend.caches import SingleFlight
from backend.embeddings import Decoder
from backend.engines.local import LocalEngine
from backend.errors import BadRequest, ClickPickError
from backend.images import ImageFetcher
from backend.learning.labelled import image_urls
from backend.learning.pushing import Pusher, Queue
from backend.learning.versions import Versions, version_name
from backend.round_queue import ASKED_FOR
from backend.segmenting import Segmenting
from backend.services import open_images, open_studio
from backend.settings import MEGABYTE, Settings
from backend.store import Store
from backend.studio import Studio, TaskInfo
from label_config import ImageSchema, LabelConfigError, ProjectSchema, read_prompt, read_schema
from model_zoo.errors import ModelZooError
from model_zoo.registry import public_name

LOG = logging.getLogger(__name__)
LABEL_EVENTS = frozenset(
    {
        "ANNOTATION_CREATED",
        "ANNOTATION_UPDATED",
        "ANNOTATION_DELETED",
        "ANNOTATIONS_CREATED",
        "ANNOTATIONS_DELETED",
        "TASKS_CREATED",
        "TASKS_DELETED",
    }
)
BATCH_SECONDS = 80.0
"""Label Studio hangs up on a batch after 100 s and loses all of it; later tasks get an empty answer instead."""
WARM_UP_TASKS = 4
EMPTY = "empty-"
"""Marks what was answered in place of queries that could not be had: no round takes it for a version's answer."""


@dataclass(frozen=True)
class _Parts:
    studio: Studio
    images: ImageFetcher
    segmenting: Segmenting
    pusher: Pusher


class Service:
    """One object a process; all state is keyed by project."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.store = Store(settings.store_url)
        self.engine = LocalEngine(settings, self.store)
        self._decoder = Decoder(
            lambda: settings.torch_device, settings.embedding_cache_mb * MEGABYTE, settings.segmenter
        )
        self._versions = Versions(self.store, settings.versions_folder, lambda: settings.torch_device)
        self._building = threading.Lock()
        self._built: _Parts | None = None
        self._opening: SingleFlight[tuple[Any, ...], dict[str, Any]] = SingleFlight()

    @property
    def studio(self) -> Studio:
        return self._parts.studio

    @property
    def images(self) -> ImageFetcher:
        return self._parts.images

    @property
    def _parts(self) -> _Parts:
        """What needs a token, built at the first call that needs it."""
        with self._building:
            if self._built is None:
                studio = open_studio(self.settings)
                images = open_images(self.settings, studio)
                segmenting = Segmenting(self.settings, images, self._decoder, self.engine)
                self._built = _Parts(studio, images, segmenting, Pusher(self.settings, studio, images))
            return self._built

    def start(self) -> None:
        """In the background: warm up the default segmenter, then see to rounds that were cut short."""
        known = self.store.projects()
        threading.Thread(target=self._warm_up, args=(known,), name="warm-up", daemon=True).start()

    def stop(self) -> None:
        """End the training process, and close connections and the store."""
        self.engine.stop()
        if self._built is not None:
            self._built.images.close()
            self._built.studio.close()
        self.store.close()

    # ------------------------------------------------------------------ Label Studio calls
    def setup(self, project: int, config: str) -> str | None:
        """A page of the project was opened: note its config, and return the version that it serves."""
        schema = _schema(config)
        self._pixel_project(project, schema)
        if schema.pixel_image is not None:
            self.engine.start_training_process()
        return self.model_version(project)

    def predict(
        self, project: int, config: str, tasks: Sequence[Mapping[str, Any]], context: Any
    ) -> list[dict[str, Any]]:
        """One prediction a task. With a context: the mask of its clicks; without: queries and pre-annotation."""
        schema = _schema(config)
        for task in tasks:
            _task_info(task)  # refuses what is no task
        if context:
            request = read_prompt(schema, context)
            if request is None:
                LOG.info("project %d: the context holds no click or box of a smart control", project)
                return [_nothing(None) for _ in tasks]
            if len(tasks) != 1:
                raise BadRequest(f"a context with {len(tasks)} tasks was got; expected exactly one task")
            return [self._parts.segmenting.segment(schema, tasks[0], request)]
        self._pixel_project(project, schema)
        return self._open_tasks(project, schema, tasks)

    def event(self, action: str, project: int, config: str | None) -> None:
        """A webhook: a hint that labels may have changed, or the wish for a round."""
        schema = None if config is None else _schema(config)
        if schema is not None:
            self._pixel_project(project, schema)
            if schema.pixel_image is None:
                return
        if action == "START_TRAINING":
            self.start_round(project)
        elif action in LABEL_EVENTS:
            self.labels_changed(project, action.lower())

    # ------------------------------------------------------------------ the learning loop
    def labels_changed(self, project: int, reason: str) -> None:
        """Start a round soon: further calls put it off a little, so that a burst causes one."""
        settings = self.settings
        self.store.rounds.request(
            project, reason, delay=settings.debounce_seconds, limit=settings.debounce_limit_seconds
        )
        self.engine.start_training_process()

    def start_round(self, project: int) -> int:
        """Start a round at once, changed labels or not; returns its number."""
        number = self.store.rounds.request(project, ASKED_FOR)
        self.engine.start_training_process()
        return number

    def model_version(self, project: int) -> str | None:
        """Name of the live version, None before the first."""
        live = self.store.live_version(project)
        return live.name if live else None

    def version_names(self, project: int) -> list[str]:
        """All versions of a project, newest first."""
        return [version.name for version in self.store.versions(project)]

    # ------------------------------------------------------------------ inside
    def _pixel_project(self, project: int, schema: ProjectSchema) -> None:
        """Note a project with a query control; where its config is new, its first queries are on their way."""
        if schema.pixel_image is not None and self.store.remember_project(project, schema.digest):
            self.labels_changed(project, "labelling config")

    def _open_tasks(
        self, project: int, schema: ProjectSchema, tasks: Sequence[Mapping[str, Any]]
    ) -> list[dict[str, Any]]:
        self._warm_tasks(schema, tasks[:WARM_UP_TASKS])
        target = schema.pixel_image
        if target is None:
            return [_nothing(public_name(self.settings.segmenter)) for _ in tasks]
        deadline = time.monotonic() + BATCH_SECONDS
        answers = []
        for task in tasks:
            if time.monotonic() > deadline:
                answers.append(_nothing(version_name(project, 0, EMPTY)))
                continue
            answers.append(self._open_task(project, schema, target, task))
        return answers

    def _open_task(
        self, project: int, schema: ProjectSchema, target: ImageSchema, task: Mapping[str, Any]
    ) -> dict[str, Any]:
        live = self.store.live_version(project)
        if live is not None and live.classes != target.classes:
            live = None
        version = live.name if live else version_name(project, 0, schema.digest)
        info = _task_info(task)

        def propose() -> dict[str, Any]:
            answered: dict[tuple[int, int | None], list[tuple[int, int]]] = {}
            for label in self.store.labels(project, info.id):
                item = label.item if target.multi_page else None
                answered.setdefault((label.task, item), []).append((label.row, label.col))
            learner = self._versions.load(live) if live else None
            queue = Queue(project, schema, target, version, version, learner, answered)
            return self._parts.pusher.proposal(queue, info) or _nothing(version_name(project, 0, EMPTY))

        key = (project, info.id, version, schema.digest)
        try:
            for _, url in image_urls(target, info.data):
                self.images.get(url, info.id)  # here, so that no click waits for the network
            return self._opening.do(key, lambda: self.engine.submit(propose).result())
        except (ClickPickError, ModelZooError) as problem:
            LOG.warning("task %d opens without queries: %s", info.id, problem)
            return _nothing(version_name(project, 0, EMPTY))

    def _warm_tasks(self, schema: ProjectSchema, tasks: Sequence[Mapping[str, Any]]) -> None:
        """Embed the images of tasks that have just been opened, so that their first click is a quick one."""
        places = [
            (url, _task_info(task).id, image.segmenter)
            for task in tasks
            for image in schema.click_images
            for _, url in image_urls(image, task.get("data") or {})[:1]
        ]
        if self.settings.token and places:
            threading.Thread(target=self._warm_images, args=(places,), daemon=True).start()

    def _warm_images(self, places: Sequence[tuple[str, int, str | None]]) -> None:
        for url, task, segmenter in places:
            try:
                image = self.images.get(url, task)
                name = segmenter or self.settings.segmenter
                self.engine.submit(lambda n=name, i=image: self._decoder.embed(n, i)).result()  # type: ignore[misc]
            except (ClickPickError, ModelZooError) as problem:
                LOG.info("task %d was not warmed up: %s", task, problem)

    def _warm_up(self, known_projects: Sequence[int]) -> None:
        try:
            self.engine.submit(lambda: self._decoder.warm_up(self.settings.segmenter)).result()
        except (ClickPickError, ModelZooError) as problem:
            LOG.error("the segmenter %s cannot be built: %s", self.settings.segmenter, problem)
        for project in known_projects:
            self.labels_changed(project, "restart")  # what came while nobody listened


def _schema(config: str) -> ProjectSchema:
    try:
        return read_schema(config)
    except LabelConfigError as error:
        raise BadRequest(str(error)) from error


def _task_info(task: Mapping[str, Any]) -> TaskInfo:
    number, data = task.get("id"), task.get("data")
    if not isinstance(number, int) or not 0 <= number < 1 << 31 or not isinstance(data, Mapping):
        raise BadRequest(
            "a task without a numeric id or without data was got; expected Label Studio's task JSON"
        )
    return TaskInfo(number, dict(data), bool(task.get("is_labeled")))


def _nothing(version: str | None) -> dict[str, Any]:
    """A valid prediction that shows nothing."""
    answer: dict[str, Any] = {"result": [], "score": 0.0}
    return answer if version is None else {**answer, "model_version": version}
