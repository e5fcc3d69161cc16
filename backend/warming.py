"""Embeddings made before anybody clicks: of tasks that are opened, and of those that Label Studio serves next."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from backend.background import Background, Step
from backend.learning.labelled import image_urls
from backend.settings import Settings
from backend.store import Store
from backend.studio import Studio
from label_config import ProjectSchema

OPENED_TASKS = 4
NEXT_TASKS = 8
LOOK_SECONDS = 5.0
"""A project's queue is asked for at most this often: that is a tenth of a second of Label Studio's."""
ROUND_SECONDS = 60.0
"""So long a round is waited for, because it changes what is served next."""


class Warming:
    """Works in the background. ``studio`` raises ConfigProblem; ``embed`` encodes (address, task, segmenter)."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        background: Background,
        *,
        embed: Callable[[str, int, str], object],
        studio: Callable[[], Studio],
    ) -> None:
        self._settings = settings
        self._store = store
        self._background = background
        self._embed = embed
        self._studio = studio
        self._looked: dict[int, float] = {}  # by project, when its queue was asked for
        self._lock = threading.Lock()

    def opened(self, project: int, schema: ProjectSchema, tasks: Sequence[Mapping[str, Any]]) -> None:
        """Of these tasks, and, where it is one, as when a person opens it, of the next ones."""
        found = [(int(task["id"]), task.get("data") or {}) for task in tasks[:OPENED_TASKS]]
        steps = list(self._steps(schema, found))
        if steps and len(tasks) == 1:
            steps.append(self._look(project, schema, after_round=False))
        self._start(steps)

    def submitted(self, project: int, schema: ProjectSchema) -> None:
        """Of the next tasks, in the order that the round has left which this submission starts."""
        if schema.click_images:
            self._start([self._look(project, schema, after_round=schema.pixel_image is not None)])

    def _start(self, steps: Sequence[Step]) -> None:
        if self._settings.token and steps:
            self._background.start(steps)

    def _steps(self, schema: ProjectSchema, tasks: Sequence[tuple[int, Mapping[str, Any]]]) -> Iterator[Step]:
        for number, data in tasks:
            for image in schema.click_images:
                for _, url in image_urls(image, data)[:1]:
                    segmenter = image.segmenter or self._settings.segmenter
                    embed = partial(self._embed, url, number, segmenter)
                    yield Step(embed, f"task {number} was not warmed up")

    def _look(self, project: int, schema: ProjectSchema, *, after_round: bool) -> Step:
        def look() -> None:
            if not self._may_look(project):
                return
            until = time.monotonic() + ROUND_SECONDS
            while after_round and self._store.rounds.has_work(project) and time.monotonic() < until:
                if self._background.pause(0.5):
                    return
            tasks = self._studio().next_tasks(project, NEXT_TASKS)
            self._start(list(self._steps(schema, [(task.id, task.data) for task in tasks])))

        return Step(look, f"project {project}: the next tasks were not warmed up")

    def _may_look(self, project: int) -> bool:
        now = time.monotonic()
        with self._lock:
            if now - self._looked.get(project, -LOOK_SECONDS) < LOOK_SECONDS:
                return False
            self._looked[project] = now
            return True
