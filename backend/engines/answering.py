"""What a process that holds models answers: clicks, opened tasks, and embeddings before anybody asks."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from backend.embeddings import Decoder
from backend.engines.model_queue import Urgency
from backend.engines.model_threads import ModelThreads
from backend.learning.queue import Proposer
from backend.learning.versions import VersionLoader
from backend.metrics import Metrics
from backend.precomputed import EmbeddingFiles
from backend.proposing import OpenedTask, Proposing
from backend.segmenting import Segmenting
from backend.services import Sources, open_shared
from backend.settings import MEGABYTE, Settings
from label_config import ProjectSchema, PromptRequest
from model_zoo.weights import WeightSource


@dataclass(frozen=True)
class _Parts:
    segmenting: Segmenting
    proposing: Proposing


class Answering:
    """One object a process: its segmenters with their caches, around the model threads. Thread-safe."""

    def __init__(self, settings: Settings, sources: Sources, models: ModelThreads, metrics: Metrics) -> None:
        self._settings = settings
        self._sources = sources
        self._models = models
        self._metrics = metrics
        self.decoder = Decoder(
            lambda: settings.torch_device,
            settings.embedding_cache_mb * MEGABYTE,
            settings.segmenter,
            source=WeightSource(settings.weights_folder),
            loaded=settings.loaded_segmenters,
            precomputed=EmbeddingFiles(
                settings.embeddings_folder, settings.precomputed_mb * MEGABYTE, open_shared(settings)
            ),
            metrics=metrics,
        )
        self.versions = VersionLoader(
            settings.versions_folder, lambda: settings.torch_device, storage=open_shared(settings)
        )
        self._warm_up_failed = False
        self._building = threading.Lock()
        self._built: _Parts | None = None

    @property
    def _parts(self) -> _Parts:
        """What needs a token, built at the first call that needs it; ConfigProblem without one."""
        with self._building:
            if self._built is None:
                settings, images, models = self._settings, self._sources.images, self._models
                self._built = _Parts(
                    Segmenting(settings, images, self.decoder, models, self._metrics),
                    Proposing(
                        settings,
                        images,
                        Proposer(settings, images),
                        versions=self.versions,
                        models=models,
                        make_room=self.decoder.make_room,
                    ),
                )
            return self._built

    def warm_up(self) -> None:
        """Build the default segmenter and run it; remember whether that failed, and raise what it raises."""
        try:
            self._models.run(lambda: self.decoder.warm_up(self._settings.segmenter))
        except Exception:
            self._warm_up_failed = True
            raise
        self._warm_up_failed = False

    def problems(self) -> list[str]:
        """Why clicks cannot be answered now. The reasons name no model, host or file: anybody may ask."""
        if self.decoder.has_built(self._settings.segmenter):
            return []
        if self._warm_up_failed:
            return ["the default segmenter cannot be built; the log says why, and so does `clickpick doctor`"]
        return ["the default segmenter is being built; ask again in a few seconds"]

    def segment(
        self, schema: ProjectSchema, task: Mapping[str, Any], request: PromptRequest, deadline: float
    ) -> dict[str, Any]:
        """The prediction for one object, see `Segmenting.segment`. deadline: of time.monotonic."""
        return self._parts.segmenting.segment(schema, task, request, deadline)

    def propose(self, opened: OpenedTask, deadline: float) -> dict[str, Any]:
        """Queries and pre-annotation of a task, see `Proposing.propose`. deadline: of time.monotonic."""
        return self._parts.proposing.propose(opened, deadline)

    def embed(self, url: str, task: int, segmenter: str) -> None:
        """Keep the embedding of a task's image; clicks and openings go first."""
        image = self._sources.images.get(url, task)
        self._models.run(lambda: self.decoder.embed(segmenter, image), Urgency.BACKGROUND)

    def cache_bytes(self) -> dict[str, int]:
        """Bytes in memory by cache."""
        return {"image": self._sources.image_bytes, "embedding and state": self.decoder.nbytes}
