"""Tasks that are opened, one by one or in a batch: each is answered, and late ones with nothing."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any

from backend import log_context
from backend.engines.base import Engine
from backend.errors import BadRequest, ClickPickError
from backend.learning.versions import version_name
from backend.metrics import Metrics
from backend.proposing import EMPTY, OpenedTask, nothing
from backend.store import Store, Version
from backend.studio import TaskInfo
from label_config import ImageSchema, ProjectSchema
from model_zoo.errors import ModelZooError

LOG = logging.getLogger(__name__)
MOST_VERSIONS = 3
"""Asked for one task, where each is superseded before its answer is there."""
BATCH_SECONDS = 80.0
"""Label Studio hangs up on a batch after 100 s and loses all of it; later tasks get an empty answer instead."""


class Opening:
    """Asks the engine for the predictions of opened tasks."""

    def __init__(self, store: Store, engine: Engine, metrics: Metrics) -> None:
        self._store = store
        self._engine = engine
        self._metrics = metrics

    def open(
        self,
        project: int,
        schema: ProjectSchema,
        target: ImageSchema,
        tasks: Sequence[Mapping[str, Any]],
    ) -> list[dict[str, Any]]:
        """One prediction a task; an empty one where there is nothing to ask, or no time or no image to ask about."""
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
                answers[key] = self._open(project, schema, target, task_info(task), deadline)
        return [answers[key] for key in keys]

    def _open(
        self, project: int, schema: ProjectSchema, target: ImageSchema, info: TaskInfo, deadline: float
    ) -> dict[str, Any]:
        """Of the version that is live when the answer is there: it may have waited while another one was published."""
        try:
            for _ in range(MOST_VERSIONS):
                live = self._live(project, target)
                answer = self._propose(project, schema, target, info, live=live, deadline=deadline)
                if self._live(project, target) == live:
                    break
            return answer
        except (ClickPickError, ModelZooError) as problem:
            LOG.warning("task %d opens without queries: %s", info.id, problem)
            return nothing(version_name(project, 0, EMPTY))

    def _propose(
        self,
        project: int,
        schema: ProjectSchema,
        target: ImageSchema,
        info: TaskInfo,
        *,
        live: Version | None,
        deadline: float,
    ) -> dict[str, Any]:
        version = live.name if live else version_name(project, 0, schema.digest)
        log_context.bind(task=info.id, version=version)
        answered: dict[tuple[int, int | None], list[tuple[int, int]]] = {}
        for label in self._store.labels(project, info.id):
            item = label.item if target.multi_page else None
            answered.setdefault((label.task, item), []).append((label.row, label.col))
        opened = OpenedTask(project, schema, target, info, version, live, answered)
        return self._engine.propose(opened, deadline)

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
