"""The use cases: what the plugin does when Label Studio calls. Knows no HTTP."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from backend import log_context
from backend.background import Background, Step
from backend.embeddings import Decoder
from backend.engines.local import LocalEngine
from backend.errors import BadRequest
from backend.images import ImageFetcher
from backend.learning.pushing import Pusher
from backend.metrics import Metrics
from backend.model_check import refuse_learners
from backend.opening import Opening, nothing, task_info
from backend.precomputed import EmbeddingFiles
from backend.readiness import Readiness
from backend.round_queue import ASKED_FOR
from backend.scrape import Scrape
from backend.segmenting import Segmenting
from backend.services import open_images, open_shared, open_studio
from backend.settings import MEGABYTE, Settings
from backend.status.watch import Watch
from backend.store import Store
from backend.studio import Studio
from backend.warming import Warming
from label_config import LabelConfigError, ProjectSchema, read_prompt, read_schema
from model_zoo.weights import WeightSource

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
SUBMISSIONS = frozenset({"ANNOTATION_CREATED", "ANNOTATIONS_CREATED"})


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
        self.metrics = Metrics()
        self.store = Store(settings.store_url)
        self.engine = LocalEngine(settings, self.store)
        self._decoder = Decoder(
            lambda: settings.torch_device,
            settings.embedding_cache_mb * MEGABYTE,
            settings.segmenter,
            source=WeightSource(settings.weights_folder),
            loaded=settings.loaded_segmenters,
            precomputed=EmbeddingFiles(
                settings.embeddings_folder, settings.precomputed_mb * MEGABYTE, open_shared(settings)
            ),
            metrics=self.metrics,
        )
        self.readiness = Readiness(self.store, self._decoder, settings.segmenter)
        self.metrics.registry.register(
            Scrape(
                self.store.overview,
                depth=lambda: self.engine.waiting,
                caches=self.cache_bytes,
                problems=self.readiness.problems,
            )
        )
        self._building = threading.Lock()
        self._built: _Parts | None = None
        self._background = Background()
        self._warming = Warming(
            settings,
            self.store,
            self.engine,
            self._decoder,
            self._background,
            images=lambda: self._parts.images,
            studio=lambda: self._parts.studio,
        )
        self._opening = Opening(
            settings,
            self.store,
            self.engine,
            self._decoder,
            self._warming,
            images=lambda: self._parts.images,
            pusher=lambda: self._parts.pusher,
            metrics=self.metrics,
        )

        self.watch = Watch(
            settings,
            self._background,
            studio=lambda: self._parts.studio,
            images=lambda: self._parts.images,
        )

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
                images = open_images(self.settings, studio, self.metrics)
                segmenting = Segmenting(self.settings, images, self._decoder, self.engine, self.metrics)
                self._built = _Parts(studio, images, segmenting, Pusher(self.settings, studio, images))
            return self._built

    def start(self) -> None:
        """In the background: warm up the default segmenter, see to rounds that were cut short, check the learners."""
        name = self.settings.segmenter
        steps = [
            Step(
                lambda: self.readiness.warm_up(lambda: self.engine.run(lambda: self._decoder.warm_up(name))),
                f"the segmenter {name} cannot be built",
                logging.ERROR,
            ),
        ]
        for project in self.store.projects():  # labels may have come while nobody listened
            steps.append(
                Step(
                    partial(self.labels_changed, project, "restart"),
                    f"project {project}: no round at the restart",
                    logging.ERROR,
                )
            )
        steps.append(Step(partial(refuse_learners, self.settings), "rounds cannot learn", logging.ERROR))
        self._background.start(steps)

    def stop(self) -> None:
        """End the training processes and what runs in the background, and close connections and the store."""
        self._background.cancel()
        self.engine.stop()
        self._background.stop()
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
        log_context.bind(project=project)
        schema = _schema(config)
        for task in tasks:
            task_info(task)  # refuses what is no task
        if context:
            request = read_prompt(schema, context)
            if request is None:
                LOG.info("project %d: the context holds no click or box of a smart control", project)
                return [nothing(None) for _ in tasks]
            if len(tasks) != 1:
                raise BadRequest(f"a context with {len(tasks)} tasks was got; expected exactly one task")
            log_context.bind(task=tasks[0]["id"])
            return [self._parts.segmenting.segment(schema, tasks[0], request)]
        self._pixel_project(project, schema)
        return self._opening.open(project, schema, tasks)

    def event(self, action: str, project: int, config: str | None) -> None:
        """A webhook: a hint that labels may have changed, or the wish for a round."""
        log_context.bind(project=project)
        schema = None if config is None else _schema(config)
        if schema is not None:
            self._pixel_project(project, schema)
        if schema is None or schema.pixel_image is not None:
            if action == "START_TRAINING":
                self.start_round(project)
            elif action in LABEL_EVENTS:
                self.labels_changed(project, action.lower())
        if schema is not None and action in SUBMISSIONS:
            self._warming.submitted(project, schema)

    # ------------------------------------------------------------------ for those who watch
    def cache_bytes(self) -> dict[str, int]:
        """Bytes in memory by cache."""
        images = 0 if self._built is None else self._built.images.nbytes
        return {"image": images, "embedding and state": self._decoder.nbytes}

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


def _schema(config: str) -> ProjectSchema:
    try:
        return read_schema(config)
    except LabelConfigError as error:
        raise BadRequest(str(error)) from error
