"""What people have labelled, read from Label Studio in full once, and after that only where it has changed.

Kept are the labels themselves, a page of tasks at a time: what Label Studio tells of them takes ten times the memory.
"""

from __future__ import annotations

import logging
import time
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from typing import Any

import numpy as np

from backend.caches import ByteLRU
from backend.learning.confirming import people_seconds
from backend.learning.labelled import TaskImage, read_labels
from backend.stored_labels import Reading
from backend.studio import Studio
from label_config import ImageSchema

LOG = logging.getLogger(__name__)
OVERLAP = timedelta(seconds=10)
"""What was changed so shortly before the newest change known is read again: Label Studio may have stored it later."""
WHOLE_SECONDS = 600.0
"""All is read again after so long: whatever no rule foresees, such as a clock that was set back, is known then.

A whole reading that takes long is believed longer: ten times as long as it took.
"""
TASK_BYTES, IMAGE_BYTES, PIXEL_BYTES = 300, 700, 130
"""About what a task, a labelled image and a labelled pixel take in memory."""
NEVER = datetime.min.replace(tzinfo=timezone.utc)


@dataclass(frozen=True)
class Annotated:
    """The annotated tasks of a project, by id.

    ``complete``: of each whether it has all the annotations that it needs. ``seconds``: that people had it open, where
    Label Studio tells. ``images``: those that are labelled. ``reading``: in which tasks they differ from the last time.
    """

    complete: Mapping[int, bool]
    seconds: Mapping[int, float]
    images: list[TaskImage]
    reading: Reading


@dataclass(frozen=True, slots=True, eq=False)
class _Task:
    """One annotated task. ``drawn``: of each image its dense labels, compressed, which ``images`` lack."""

    complete: bool
    seconds: float | None
    images: tuple[TaskImage, ...]
    drawn: tuple[bytes | None, ...]

    @property
    def nbytes(self) -> int:
        pixels = sum(len(image.labels.pixels) for image in self.images)
        drawn = sum(len(packed) for packed in self.drawn if packed is not None)
        return TASK_BYTES + IMAGE_BYTES * len(self.images) + PIXEL_BYTES * pixels + drawn


@dataclass(frozen=True)
class _Kept:
    """Tasks by number as labelled by a config, the newest of their changes, and until when they need not be read.

    ``mark``: of the reading.
    """

    target: ImageSchema
    tasks: dict[int, _Task]
    newest: datetime
    until: float
    mark: str


class AnnotatedTasks:
    """The annotated tasks of projects. Label Studio takes three seconds for a thousand, as long as a fit.

    Each change of a task's annotations moves its ``updated_at``, with one exception that the number of annotated tasks
    shows: a task that has lost its last annotation is no more among them.
    """

    def __init__(self, studio: Studio, megabytes: int) -> None:
        """megabytes: kept of all projects; those read longest ago go, and a larger one is read in full each time."""
        self._studio = studio
        self._most = megabytes << 20
        self._kept: ByteLRU[int, _Kept] = ByteLRU(self._most)

    def read(self, project: int, target: ImageSchema) -> Annotated:
        """What people have labelled in all annotated tasks of a project."""
        kept = self._kept.get(project)
        if kept is not None and kept.target == target and time.monotonic() < kept.until:
            changed, newest = _compact(
                target, self._studio.iter_annotated(project, since=kept.newest - OVERLAP)
            )
            tasks = kept.tasks | changed
            if len(tasks) == self._studio.count_annotated(project):
                reading = Reading(before=kept.mark, changed=frozenset(changed))
                newest = max(kept.newest, newest)
                self._keep(project, replace(kept, tasks=tasks, newest=newest, mark=reading.mark))
                return _unpacked(tasks, reading)
        began = time.monotonic()
        tasks, newest = _compact(target, self._studio.iter_annotated(project))
        reading = Reading()
        if tasks:
            ended = time.monotonic()
            until = ended + max(WHOLE_SECONDS, 10 * (ended - began))
            self._keep(project, _Kept(target, tasks, newest, until, reading.mark))
        return _unpacked(tasks, reading)

    def _keep(self, project: int, kept: _Kept) -> None:
        size = sum(task.nbytes for task in kept.tasks.values())
        if size > self._most:
            LOG.warning(
                "project %d: what people have labelled takes %d MB, and is read anew for each round: set "
                "CLICKPICK_ANNOTATED_MB to more than that",
                project,
                -(-size >> 20),
            )
        self._kept.put(project, kept, size)


def _compact(target: ImageSchema, tasks: Iterable[Mapping[str, Any]]) -> tuple[dict[int, _Task], datetime]:
    """The tasks by number, and when the newest of them was changed."""
    found: dict[int, _Task] = {}
    newest = NEVER
    for task in tasks:
        newest = max(newest, datetime.fromisoformat(task["updated_at"].replace("Z", "+00:00")))
        images = read_labels(target, [task])
        drawn = (image.labels.dense for image in images)
        found[int(task["id"])] = _Task(
            complete=bool(task["is_labeled"]),
            seconds=people_seconds(task),
            images=tuple(replace(image, labels=replace(image.labels, dense=None)) for image in images),
            drawn=tuple(None if dense is None else zlib.compress(dense.tobytes(), 1) for dense in drawn),
        )
    return found, newest


def _unpacked(tasks: Mapping[int, _Task], reading: Reading) -> Annotated:
    numbers = sorted(tasks)
    return Annotated(
        complete={number: tasks[number].complete for number in numbers},
        seconds={n: seconds for n in numbers if (seconds := tasks[n].seconds) is not None},
        images=[
            image if packed is None else _drawn(image, packed)
            for number in numbers
            for image, packed in zip(tasks[number].images, tasks[number].drawn, strict=True)
        ],
        reading=reading,
    )


def _drawn(image: TaskImage, packed: bytes) -> TaskImage:
    labels = image.labels
    dense = np.frombuffer(zlib.decompress(packed), np.uint8).reshape(labels.height, labels.width)
    return replace(image, labels=replace(labels, dense=dense))
