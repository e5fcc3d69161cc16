"""The default engine: models on a few threads of this process, rounds in a training process on this machine."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from backend.engines.answering import Answering
from backend.engines.model_threads import ModelThreads
from backend.engines.training import TrainingProcesses
from backend.metrics import Metrics
from backend.proposing import OpenedTask
from backend.services import Sources
from backend.settings import Settings
from backend.store import Store
from label_config import ProjectSchema, PromptRequest


class LocalEngine:
    """See `backend.engines.base.Engine`."""

    def __init__(self, settings: Settings, store: Store, sources: Sources, metrics: Metrics) -> None:
        self._settings = settings
        self.models = ModelThreads(settings)
        self.answering = Answering(settings, sources, self.models, metrics)
        self.training = TrainingProcesses(settings, store)

    def start(self) -> None:
        self.answering.warm_up()

    def stop(self) -> None:
        self.training.stop()
        self.models.stop()

    def segment(
        self, schema: ProjectSchema, task: Mapping[str, Any], request: PromptRequest
    ) -> dict[str, Any]:
        return self.answering.segment(schema, task, request, time.monotonic() + self._settings.answer_seconds)

    def propose(self, opened: OpenedTask, deadline: float) -> dict[str, Any]:
        return self.answering.propose(opened, deadline)

    def embed(self, url: str, task: int, segmenter: str) -> None:
        self.answering.embed(url, task, segmenter)

    def start_training(self) -> None:
        self.training.start()

    def problems(self) -> list[str]:
        return self.answering.problems()

    @property
    def waiting(self) -> int:
        return self.models.waiting

    def cache_bytes(self) -> dict[str, int]:
        return self.answering.cache_bytes()
