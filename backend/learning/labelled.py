"""The labels of a project as a learner wants them: one entry an image, a digest, and a stable held-out part."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.stored_labels import StoredLabel
from label_config import VOID, ImageSchema, TaskLabels, collect_labels
from model_zoo.learners.base import LabelledImage

MIN_LABELS_TO_HOLD_OUT = 10
"""A class gives up held-out labels only from this many on: a first answer must teach the model something."""

UNLABELLED = 255


@dataclass(frozen=True, eq=False)
class TaskImage:
    """One labelled image of a task and where it lies."""

    url: str
    labels: TaskLabels

    @property
    def key(self) -> str:
        return image_key(self.url, self.labels.task_id, self.labels.item_index)


class Unreadable(Exception):
    """The image of one task cannot be had while a learner is fitted or measured."""

    def __init__(self, image: TaskImage, cause: Exception) -> None:
        super().__init__(str(cause))
        self.image = image


def image_key(url: str, task: int, item: int | None) -> str:
    """Identity of an image for feature caches; Label Studio never reuses an address for another upload."""
    return hashlib.sha256(f"{task}/{item}/{url}".encode()).hexdigest()


def image_urls(schema: ImageSchema, data: Mapping[str, Any]) -> list[tuple[int | None, str]]:
    """(item index or None, address) of each image of a task; empty when the task has none in that field."""
    value = data.get(schema.field)
    if schema.multi_page and isinstance(value, list):
        return [(index, url) for index, url in enumerate(value) if isinstance(url, str) and url]
    return [(None, value)] if isinstance(value, str) and value else []


def read_labels(schema: ImageSchema, tasks: Iterable[Mapping[str, Any]]) -> list[TaskImage]:
    """What people have labelled in exported tasks; tasks without labels or without an image are left out."""
    found: list[TaskImage] = []
    for task in tasks:
        urls = dict(image_urls(schema, task.get("data") or {}))
        for labels in collect_labels(schema, task):
            url = urls.get(labels.item_index)
            if url is not None and (labels.pixels or labels.conflicts or labels.dense is not None):
                found.append(TaskImage(url, labels))
    return sorted(found, key=lambda x: (x.labels.task_id, x.labels.item_index or 0))


def stored_labels(images: Iterable[TaskImage]) -> Iterator[StoredLabel]:
    """The pixel labels as rows of the store, in the order of the images."""
    for image in images:
        labels = image.labels
        for pixel in labels.pixels:
            yield StoredLabel(labels.task_id, labels.item_index or 0, pixel.row, pixel.col, pixel.label)


def count_labels(images: Sequence[TaskImage]) -> int:
    """Labelled pixels given one by one, plus one for each image with a drawn mask; void does not count."""
    pixels = sum(pixel.label != VOID for image in images for pixel in image.labels.pixels)
    return pixels + sum(image.labels.dense is not None for image in images)


def digest_labels(
    images: Sequence[TaskImage], classes: Sequence[str], learner: str, config_digest: str
) -> str:
    """Digest of everything that decides what a learner becomes and how it is shown."""
    digest = hashlib.sha256(repr((learner, tuple(classes), config_digest)).encode())
    for image in images:
        pixels = [(p.row, p.col, p.label) for p in image.labels.pixels if p.label != VOID]
        digest.update(repr((image.key, sorted(pixels))).encode())
        if image.labels.dense is not None:
            digest.update(image.labels.dense.tobytes())
    return digest.hexdigest()


def classes_seen(images: Sequence[TaskImage], classes: Sequence[str]) -> set[str]:
    """The classes that have at least one label."""
    seen = {pixel.label for image in images for pixel in image.labels.pixels} & set(classes)
    for image in images:
        if image.labels.dense is not None:
            seen |= {classes[i] for i in np.unique(image.labels.dense) if i < len(classes)}
    return seen


def split(
    images: Sequence[TaskImage],
    classes: Sequence[str],
    load: Callable[[TaskImage], NDArray[np.uint8]],
    holdout_percent: int,
) -> tuple[list[LabelledImage], list[LabelledImage]]:
    """(to train on, held out). A pixel's side depends on its task and place alone, once its class has enough."""
    index = {label: i for i, label in enumerate(classes)}
    counts = Counter(pixel.label for image in images for pixel in image.labels.pixels)
    train: list[LabelledImage] = []
    held: list[LabelledImage] = []
    for image in images:
        sides: tuple[list[tuple[int, int, int]], list[tuple[int, int, int]]] = ([], [])
        for pixel in image.labels.pixels:
            if pixel.label not in index:
                continue
            enough = counts[pixel.label] >= MIN_LABELS_TO_HOLD_OUT
            out = enough and _percentile(image, pixel.row, pixel.col) < holdout_percent
            sides[out].append((pixel.row, pixel.col, index[pixel.label]))
        dense = image.labels.dense
        if dense is not None and sides[True]:
            dense = _without(dense, sides[True])
        if sides[False] or dense is not None:
            train.append(_labelled(image, sides[False], dense, load))
        if sides[True]:
            held.append(_labelled(image, sides[True], None, load))
    return train, held


def _labelled(
    image: TaskImage,
    pixels: Sequence[tuple[int, int, int]],
    dense: NDArray[np.uint8] | None,
    load: Callable[[TaskImage], NDArray[np.uint8]],
) -> LabelledImage:
    rows, cols, labels = np.array(pixels, dtype=np.int64).reshape(-1, 3).T
    return LabelledImage(
        key=image.key, load=lambda: load(image), rows=rows, cols=cols, labels=labels, dense=dense
    )


def _without(dense: NDArray[np.uint8], pixels: Sequence[tuple[int, int, int]]) -> NDArray[np.uint8]:
    hidden = dense.copy()
    for row, col, _ in pixels:
        hidden[row, col] = UNLABELLED
    return hidden


def _percentile(image: TaskImage, row: int, col: int) -> int:
    text = f"{image.labels.task_id}/{image.labels.item_index}/{row}/{col}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") % 100
