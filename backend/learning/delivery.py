"""Hands predictions to Label Studio through the outbox, each exactly once, and switches the queue to a version."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

from backend.errors import StudioRefused
from backend.learning.versions import is_ours, version_number
from backend.store import Parcel, Store
from backend.studio import Studio

LOG = logging.getLogger(__name__)
SAMPLING = "Uncertainty sampling"
OPEN_SECONDS = 900.0
"""A superseded version's predictions stay so long: whoever has opened a task with one of them cannot submit it any more
once the prediction is deleted. Label Studio 1.23 then answers 400, parent_prediction "object does not exist"."""
WHOLE_PREDICTIONS = 1000
"""As many predictions Label Studio deletes in one request, in five seconds on SQLite; of more, some tasks at a time."""
STEP_TASKS = 10
UNDER_WAY_SECONDS = 10.0
"""Label Studio goes on with a request whose sender has died, and stores its predictions at the end: it gets so long."""
TOO_LARGE = 413
"""Answer of a proxy whose limit of a request's size is below Label Studio's."""
PARTLY_STORED = 201
DATA_REFUSED = frozenset({PARTLY_STORED, 400})
"""Answers that concern the predictions themselves: sending them again would be refused again."""


class Delivery:
    """What one project receives. Label Studio away = StudioUnavailable, and the parcels stay in the outbox.

    After each bulk Label Studio has as long for others as it took for it: however quickly tasks are scored, they take
    at most half of its time.
    """

    def __init__(self, store: Store, studio: Studio, project: int) -> None:
        self._store = store
        self._studio = studio
        self._project = project
        self._rest_until = 0.0

    def send(self, version: str, predictions: Sequence[dict[str, Any]]) -> None:
        """Post predictions of a version, and deliver all that waits."""
        if predictions:
            self._store.post(self._project, version, predictions)
        self.flush(version)

    def flush(self, version: str) -> None:
        """Deliver what waits; parcels of other versions have been superseded and are dropped."""
        for parcel in self._store.parcels(self._project):
            if parcel.version == version:
                self._deliver(parcel)
            self._store.drop_parcel(parcel.id)

    def switch_to(self, version: str) -> None:
        """Make Label Studio serve this version's predictions, least certain task first."""
        self._studio.update_project(self._project, model_version=version, sampling=SAMPLING)

    def remove_superseded(self, live: str, is_over: Callable[[], bool] = lambda: False) -> bool:
        """Delete our predictions of versions that another one took the place of OPEN_SECONDS ago or earlier.

        Of many predictions STEP_TASKS tasks at a time. False where others came first, one step at the earliest: the
        next call goes on there.
        """
        until = time.time() - OPEN_SECONDS
        replacing = [
            version.number
            for version in self._store.versions(self._project)
            if version.created <= until and "aside" not in version.metrics
        ]
        for name, stored in self._studio.model_versions(self._project).items():
            replaced = any(number > version_number(name) for number in replacing)
            if not is_ours(name, self._project) or name == live or not replaced:
                continue
            left = stored
            while left > WHOLE_PREDICTIONS:
                deleted = self._studio.delete_some_predictions(self._project, name, STEP_TASKS)
                left = left - deleted if deleted else 0
                if is_over():
                    return False
            self._studio.delete_model_version(self._project, name)
        return True

    def _deliver(self, parcel: Parcel) -> None:
        predictions = parcel.predictions
        if (
            parcel.attempts
        ):  # an earlier attempt may have arrived without our hearing of it, or still be under way
            time.sleep(UNDER_WAY_SECONDS)
            tasks = [p["task"] for p in predictions]
            arrived = self._studio.predicted(self._project, parcel.version, tasks)
            predictions = [p for p in predictions if p["task"] not in arrived]
        self._store.parcel_tried(parcel.id)
        try:
            self._import(predictions)
        except StudioRefused as refusal:
            if refusal.studio_status not in DATA_REFUSED:
                raise
            self._import_what_is_left(predictions, refusal)

    def _import_what_is_left(self, predictions: Sequence[dict[str, Any]], refusal: StudioRefused) -> None:
        """Without the tasks that were deleted meanwhile; what Label Studio still refuses is lost, and logged."""
        tasks = [p["task"] for p in predictions]
        alive = {task.id for task in self._studio.chosen_tasks(self._project, tasks)}
        remaining = [p for p in predictions if p["task"] in alive]
        if refusal.studio_status == PARTLY_STORED or len(remaining) == len(predictions):
            LOG.error("project %d: %s", self._project, refusal)
            return
        LOG.info("%d tasks were deleted meanwhile", len(predictions) - len(remaining))
        self._import(remaining)

    def _import(self, predictions: Sequence[dict[str, Any]]) -> None:
        if not predictions:
            return
        time.sleep(max(0.0, self._rest_until - time.monotonic()))
        began = time.monotonic()
        try:
            self._studio.import_predictions(self._project, list(predictions))
        except StudioRefused as refusal:
            if refusal.studio_status != TOO_LARGE:
                raise
            if len(predictions) == 1:
                LOG.error("task %s gets no queries: %s", predictions[0]["task"], refusal)
                return
            half = len(predictions) // 2
            self._import(predictions[:half])
            self._import(predictions[half:])
        else:
            ended = time.monotonic()
            self._rest_until = ended + (ended - began)
