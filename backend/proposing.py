"""Queries and pre-annotation of an opened task at once, while the clicks to come are prepared for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from backend.caches import SingleFlight
from backend.engines.model_queue import Urgency
from backend.engines.model_threads import ModelThreads
from backend.engines.out_of_memory import with_room
from backend.images import ImageFetcher
from backend.learning.confirming import shows_classes
from backend.learning.labelled import image_urls
from backend.learning.queue import Answered, Proposer, Queue
from backend.learning.versions import VersionLoader, version_name
from backend.settings import Settings
from backend.store import Version
from backend.studio import TaskInfo
from label_config import ImageSchema, ProjectSchema

EMPTY = "empty-"
"""Marks what was answered in place of queries that could not be had: no round takes it for a version's answer."""


@dataclass(frozen=True)
class OpenedTask:
    """A task with all that the database knows of it: whoever answers it needs no database.

    ``version``: what the answer says it is of, also where ``live``, the version that its project serves, is None.
    """

    project: int
    schema: ProjectSchema
    target: ImageSchema
    info: TaskInfo
    version: str
    live: Version | None
    answered: Answered


class Proposing:
    """Asks the live versions of projects. make_room: forget what caches hold on the device."""

    def __init__(
        self,
        settings: Settings,
        images: ImageFetcher,
        proposer: Proposer,
        *,
        versions: VersionLoader,
        models: ModelThreads,
        make_room: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._images = images
        self._proposer = proposer
        self._versions = versions
        self._models = models
        self._make_room = make_room
        self._flights: SingleFlight[tuple[Any, ...], dict[str, Any]] = SingleFlight()

    def propose(self, opened: OpenedTask, deadline: float) -> dict[str, Any]:
        """The prediction of a task; an empty one where there is nothing to ask. deadline: of time.monotonic.

        Raises ClickPickError or ModelZooError where the image or the version cannot be had.
        """

        def with_room_for_it() -> dict[str, Any]:
            return with_room(lambda: self._propose(opened), self._make_room, f"version {opened.version}")

        for _, url in image_urls(opened.target, opened.info.data):
            self._images.get(url, opened.info.id)  # here, so that no click waits for the network
        if opened.live is not None:
            self._versions.fetch(opened.live)
        key = (opened.project, opened.info.id, opened.version, opened.schema.digest)
        return self._flights.do(key, lambda: self._models.run(with_room_for_it, Urgency.OPENING, deadline))

    def _propose(self, opened: OpenedTask) -> dict[str, Any]:
        learner = self._versions.load(opened.live) if opened.live else None
        queue = Queue(
            opened.project,
            opened.schema,
            opened.target,
            opened.version,
            learner,
            opened.answered,
            shows_classes(opened.live, opened.target, self._settings),
        )
        return self._proposer.proposal(queue, opened.info) or nothing(version_name(opened.project, 0, EMPTY))


def nothing(version: str | None) -> dict[str, Any]:
    """A valid prediction that shows nothing."""
    answer: dict[str, Any] = {"result": [], "score": 0.0}
    return answer if version is None else {**answer, "model_version": version}
