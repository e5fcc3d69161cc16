"""The use cases: what the plugin does when Label Studio calls. Knows no HTTP."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from backend import log_context
from backend.background import Background, Step
from backend.engines.choose import open_engine
from backend.errors import BadRequest
from backend.metrics import Metrics
from backend.model_check import refuse_learners
from backend.opening import Opening, task_info
from backend.proposing import nothing
from backend.readiness import Readiness
from backend.round_queue import ASKED_FOR
from backend.scrape import Scrape
from backend.services import Sources
from backend.settings import Settings
from backend.status.watch import Watch
from backend.store import Store
from backend.warming import Warming
from label_config import LabelConfigError, ProjectSchema, read_prompt, read_schema
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
SUBMISSIONS = frozenset({"ANNOTATION_CREATED", "ANNOTATIONS_CREATED"})


MOST_CLICK_PROJECTS = 10_000


class Service:
    """One object a process; all state is keyed by project."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.click_projects: set[int] = set()
        """Projects without queries that somebody has opened since the start."""
        self.store = Store(settings.store_url)
        self.sources = Sources(settings, self.metrics)
        self.engine = open_engine(settings, self.store, self.sources, self.metrics)
        self._background = Background()
        self.readiness = Readiness(self.store, self.engine.problems, self._background)
        self.metrics.registry.register(
            Scrape(
                self.store.overview,
                depth=lambda: self.engine.waiting,
                caches=self.engine.cache_bytes,
                problems=self.readiness.problems,
            )
        )
        self._warming = Warming(
            settings,
            self.store,
            self._background,
            embed=self.engine.embed,
            studio=lambda: self.sources.studio,
        )
        self._opening = Opening(self.store, self.engine, self.metrics)
        self.watch = Watch(
            settings,
            self._background,
            studio=lambda: self.sources.studio,
            images=lambda: self.sources.images,
        )

    def start(self) -> None:
        """In the background: warm up, see to rounds that were cut short, check the learners."""
        steps = [Step(self.engine.start, "clicks cannot be answered", logging.ERROR)]
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
        """End the engine and what runs in the background, and close connections and the store."""
        self._background.cancel()
        self.engine.stop()
        self._background.stop()
        self.sources.close()
        self.store.close()

    # ------------------------------------------------------------------ Label Studio calls
    def setup(self, project: int, config: str) -> str | None:
        """A page of the project was opened: note its config, and return the version that it serves."""
        schema = _schema(config)
        self._note(project, schema)
        if schema.pixel_image is not None:
            self.engine.start_training()
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
            return [self.engine.segment(schema, tasks[0], request)]
        self._note(project, schema)
        self._warming.opened(project, schema, tasks)
        if schema.pixel_image is None:
            return [nothing(public_name(self.settings.segmenter)) for _ in tasks]
        return self._opening.open(project, schema, schema.pixel_image, tasks)

    def event(self, action: str, project: int, config: str | None) -> None:
        """A webhook: a hint that labels may have changed, or the wish for a round."""
        log_context.bind(project=project)
        schema = None if config is None else _schema(config)
        if schema is not None:
            self._note(project, schema)
        if schema is None or schema.pixel_image is not None:
            if action == "START_TRAINING":
                self.start_round(project)
            elif action in LABEL_EVENTS:
                self.labels_changed(project, action.lower())
        if schema is not None and action in SUBMISSIONS:
            self._warming.submitted(project, schema)

    # ------------------------------------------------------------------ the learning loop
    def labels_changed(self, project: int, reason: str) -> None:
        """Start a round soon: further calls put it off a little, so that a burst causes one."""
        settings = self.settings
        self.store.rounds.request(
            project, reason, delay=settings.debounce_seconds, limit=settings.debounce_limit_seconds
        )
        self.engine.start_training()

    def start_round(self, project: int) -> int:
        """Start a round at once, changed labels or not; returns its number."""
        number = self.store.rounds.request(project, ASKED_FOR)
        self.engine.start_training()
        return number

    def model_version(self, project: int) -> str | None:
        """Name of the live version, None before the first."""
        live = self.store.live_version(project)
        return live.name if live else None

    def version_names(self, project: int) -> list[str]:
        """All versions of a project, newest first."""
        return [version.name for version in self.store.versions(project)]

    # ------------------------------------------------------------------ inside
    def _note(self, project: int, schema: ProjectSchema) -> None:
        """Note a project; where one with a query control has a new config, its first queries are on their way."""
        if schema.pixel_image is None:
            if len(self.click_projects) < MOST_CLICK_PROJECTS:
                self.click_projects.add(project)
        elif self.store.remember_project(project, schema.digest):
            self.labels_changed(project, "labelling config")


def _schema(config: str) -> ProjectSchema:
    try:
        return read_schema(config)
    except LabelConfigError as error:
        raise BadRequest(str(error)) from error
