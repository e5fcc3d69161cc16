"""The engine on a Ray cluster: segmenter replicas answer, and all calls about one image go to the same of them."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Mapping
from typing import Any

from ray.exceptions import NodeDiedError, ObjectLostError, RayActorError, RayError, WorkerCrashedError
from ray.serve.exceptions import RayServeException

from backend import log_context
from backend.engines.model_queue import too_late
from backend.engines.ray_connection import UNREACHABLE, Connection
from backend.engines.ray_messages import Call, Kind, Reply
from backend.engines.ray_rounds import RayRounds
from backend.errors import ModelUnavailable
from backend.learning.labelled import image_urls
from backend.metrics import Metrics
from backend.proposing import OpenedTask
from backend.segmenting import image_url
from backend.settings import Settings
from backend.store import Store
from label_config import ProjectSchema, PromptRequest

LOG = logging.getLogger(__name__)
GRACE_SECONDS = 4.0
"""After the deadline: what a replica has begun in time is still answered."""
REPLICA_LOST = (RayActorError, NodeDiedError, ObjectLostError, WorkerCrashedError)
LOST = (
    "the segmenter replica that worked on this was lost, and so was the next one; click again, and see to the nodes of "
    "the Ray cluster if it happens again"
)


class RayEngine:
    """See `backend.engines.base.Engine`. Calls that a replica took down with it are made once more, elsewhere."""

    def __init__(self, settings: Settings, store: Store, metrics: Metrics) -> None:
        self._settings = settings
        self._metrics = metrics
        self.connection = Connection(settings)
        self.training = RayRounds(settings, store)

    def start(self) -> None:
        self.connection.start()

    def stop(self) -> None:
        self.training.stop()
        self.connection.stop()

    def segment(
        self, schema: ProjectSchema, task: Mapping[str, Any], request: PromptRequest
    ) -> dict[str, Any]:
        with self._metrics.timed("click"):
            target = schema.image(request.image)
            key = self._key(image_url(target, task, request), target.segmenter)
            short = {"id": task.get("id"), "data": task.get("data")}  # the rest may be megabytes of masks
            seconds = self._settings.answer_seconds
            return dict(self._ask("segment", (schema, short, request), key, seconds))

    def propose(self, opened: OpenedTask, deadline: float) -> dict[str, Any]:
        urls = image_urls(opened.target, opened.info.data)
        key = self._key(urls[0][1] if urls else str(opened.info.id), opened.target.segmenter)
        return dict(self._ask("propose", (opened,), key, deadline - time.monotonic()))

    def embed(self, url: str, task: int, segmenter: str) -> None:
        self._ask("embed", (url, task, segmenter), self._key(url, segmenter), self._settings.answer_seconds)

    def start_training(self) -> None:
        self.training.start()

    def problems(self) -> list[str]:
        return self.connection.problems()

    @property
    def waiting(self) -> int:
        return sum(figures.waiting for figures in self.connection.figures())

    def cache_bytes(self) -> dict[str, int]:
        total: dict[str, int] = {}
        for figures in self.connection.figures():
            for cache, size in figures.caches.items():
                total[cache] = total.get(cache, 0) + size
        return total

    def _key(self, url: str, segmenter: str | None) -> str:
        """Calls with equal keys go to one replica: an image's embedding by one segmenter is made once."""
        name = segmenter or self._settings.segmenter
        return hashlib.sha256(f"{name}\0{url}".encode()).hexdigest()

    def _ask(self, kind: Kind, arguments: tuple[Any, ...], key: str, seconds: float) -> Any:
        """The value of a call; raises what the replica raised, TooLate, and ModelUnavailable where none answers."""
        begun = time.monotonic()
        until = begun + seconds
        try:
            try:
                reply = self._send(kind, arguments, key, until)
            except REPLICA_LOST as error:
                LOG.warning(
                    "a replica was lost with a call (%s), which is made once more", type(error).__name__
                )
                reply = self._send(kind, arguments, key, until)
        except TimeoutError as error:
            raise too_late(time.monotonic() - begun) from error
        except REPLICA_LOST as error:
            raise ModelUnavailable(LOST) from error
        except (RayError, RayServeException) as error:
            LOG.error("no replica took a call: %s", error)
            raise ModelUnavailable(UNREACHABLE) from error
        reply.count(self._metrics)
        if reply.failure is not None:
            raise reply.failure.error()
        return reply.value

    def _send(self, kind: Kind, arguments: tuple[Any, ...], key: str, until: float) -> Reply:
        """What a replica replies; TimeoutError, and Ray's errors."""
        left = max(0.0, until - time.monotonic())
        handle = self.connection.handle(left).options(session_id=key)
        response = handle.remote(Call(kind, arguments, left, dict(log_context.current())))
        try:
            reply: Reply = response.result(timeout_s=left + GRACE_SECONDS)
        except TimeoutError:
            response.cancel()
            raise
        return reply
