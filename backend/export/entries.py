"""The images of a project, one by one, with the annotations that count."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from backend.learning.labelled import image_urls
from label_config import ImageSchema, TaskLabels, collect_labels, latest_annotations


class TaskEntry:
    """A task as Label Studio lists it; its labels are read when they are asked for."""

    def __init__(self, task: Mapping[str, Any], schema: ImageSchema) -> None:
        self.id = int(task["id"])
        self.schema = schema
        self.annotations = latest_annotations(task)
        self._task = task

    @cached_property
    def labels(self) -> dict[int | None, TaskLabels]:
        """By page."""
        return {labels.item_index: labels for labels in collect_labels(self.schema, self._task)}


@dataclass(frozen=True, eq=False)
class ImageEntry:
    """One image of a task. ``name`` tells it from all others of the project, in any export."""

    name: str
    task: TaskEntry
    page: int | None
    url: str

    @property
    def labels(self) -> TaskLabels | None:
        """What people said about it."""
        return self.task.labels.get(self.page)

    @property
    def stated(self) -> list[Any]:
        """What the labels follow from, as Label Studio told it: cheap to compare."""
        told = ("id", "updated_at", "created_at", "completed_by", "lead_time", "parent_prediction", "result")
        return [self.url, [[annotation.get(key) for key in told] for annotation in self.task.annotations]]


def image_entries(schema: ImageSchema, tasks: Iterable[Mapping[str, Any]]) -> Iterator[ImageEntry]:
    """The images of tasks, in their order; tasks without an image are left out."""
    for task in tasks:
        entry = TaskEntry(task, schema)
        for page, url in image_urls(schema, task.get("data") or {}):
            name = f"task-{entry.id}" if page is None else f"task-{entry.id}-page-{page + 1}"
            yield ImageEntry(name, entry, page, url)
