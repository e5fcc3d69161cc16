"""From exported tasks to training data: digests, the held-out part, addresses of images."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from backend.learning.labelled import (
    TaskImage,
    classes_seen,
    count_labels,
    digest_labels,
    image_key,
    image_urls,
    read_labels,
    split,
    stored_labels,
)
from label_config import PixelLabel, TaskLabels, read_schema, render
from tests.backend.conftest import answer

pytestmark = pytest.mark.unit

CLASSES = ("sky", "grass")


def image_of(*pixels: tuple[int, int, str], task: int = 1, dense: Any = None) -> TaskImage:
    labels = TaskLabels(
        task_id=task,
        item_index=None,
        height=100,
        width=100,
        pixels=tuple(PixelLabel(*pixel) for pixel in pixels),
        dense=dense,
        conflicts=(),
    )
    return TaskImage(f"/data/upload/1/{task}.jpg", labels)


def load(_: TaskImage) -> Any:
    raise AssertionError("splitting needs no image")


def test_exported_tasks_become_labelled_images() -> None:
    schema = read_schema(render("pixel", CLASSES)).images[0]
    tasks = [
        {
            "id": 2,
            "data": {"image": "/b.jpg"},
            "annotations": [
                {"id": 9, "result": [answer(3, 4, "sky")], "completed_by": 1, "was_cancelled": False}
            ],
        },
        {
            "id": 1,
            "data": {"image": "/a.jpg"},
            "annotations": [
                {"id": 8, "result": [answer(1, 2, "void")], "completed_by": 1, "was_cancelled": False}
            ],
        },
        {"id": 3, "data": {"image": "/c.jpg"}, "annotations": []},
        {"id": 4, "data": {}, "annotations": [{"id": 7, "result": [answer(1, 2, "sky")], "completed_by": 1}]},
    ]
    found = read_labels(schema, tasks)
    assert [(x.labels.task_id, x.url) for x in found] == [(1, "/a.jpg"), (2, "/b.jpg")]
    assert [(s.task, s.row, s.col, s.label) for s in stored_labels(found)] == [
        (1, 1, 2, "void"),
        (2, 3, 4, "sky"),
    ]
    assert count_labels(found) == 1, "cannot-tell is kept but teaches nothing"
    assert classes_seen(found, CLASSES) == {"sky"}


def test_the_digest_follows_labels_classes_and_learner_and_nothing_else() -> None:
    base = [image_of((1, 1, "sky"), (2, 2, "grass"))]
    digest = digest_labels(base, CLASSES, "probe-lite0", "config")
    assert digest == digest_labels(
        [image_of((2, 2, "grass"), (1, 1, "sky"))], CLASSES, "probe-lite0", "config"
    )
    assert digest == digest_labels(
        [image_of((1, 1, "sky"), (2, 2, "grass"), (5, 5, "void"))], CLASSES, "probe-lite0", "config"
    )
    others = [
        digest_labels([image_of((1, 1, "grass"), (2, 2, "grass"))], CLASSES, "probe-lite0", "config"),
        digest_labels([image_of((1, 1, "sky"), (2, 2, "grass"), task=2)], CLASSES, "probe-lite0", "config"),
        digest_labels(base, CLASSES[::-1], "probe-lite0", "config"),
        digest_labels(base, CLASSES, "another", "config"),
        digest_labels(
            [image_of((1, 1, "sky"), (2, 2, "grass"), dense=np.zeros((100, 100), np.uint8))],
            CLASSES,
            "probe-lite0",
            "config",
        ),
    ]
    others.append(digest_labels(base, CLASSES, "probe-lite0", "another config"))
    assert len({digest, *others}) == 7


def test_a_pixel_never_changes_sides_and_about_a_tenth_is_held_out() -> None:
    pixels = [(r, c, CLASSES[r % 2]) for r in range(0, 100, 2) for c in range(0, 100, 5)]
    pixels += [(r + 1, c, CLASSES[1]) for r, c, _ in pixels]
    train, held = split([image_of(*pixels)], CLASSES, load, 10)
    out = set(zip(held[0].rows.tolist(), held[0].cols.tolist(), strict=True))
    kept = set(zip(train[0].rows.tolist(), train[0].cols.tolist(), strict=True))
    assert out.isdisjoint(kept)
    assert len(out) + len(kept) == len(pixels)
    assert 0.05 < len(out) / len(pixels) < 0.15
    half_train, half_held = split([image_of(*pixels[:1000])], CLASSES, load, 10)
    half_out = set(zip(half_held[0].rows.tolist(), half_held[0].cols.tolist(), strict=True))
    assert half_out == out & {(r, c) for r, c, _ in pixels[:1000]}
    assert half_train


def test_a_class_with_few_labels_gives_none_away() -> None:
    pixels = [(r, 0, "sky") for r in range(9)] + [(r, 1, "grass") for r in range(100)]
    train, held = split([image_of(*pixels)], CLASSES, load, 90)
    assert (train[0].labels == 0).sum() == 9
    assert (held[0].labels == 0).sum() == 0
    assert (held[0].labels == 1).sum() > 50


def test_held_out_pixels_are_hidden_in_the_drawn_mask_too() -> None:
    dense = np.ones((100, 100), np.uint8)
    pixels = [(r, c, "grass") for r in range(20) for c in range(20)]
    train, held = split([image_of(*pixels, dense=dense)], CLASSES, load, 50)
    assert train[0].dense is not None
    assert (train[0].dense[held[0].rows, held[0].cols] == 255).all()
    assert (train[0].dense == 255).sum() == len(held[0].rows)
    assert (dense == 1).all(), "the caller's mask is not touched"


def test_cannot_tell_and_foreign_labels_are_on_neither_side() -> None:
    train, held = split([image_of((1, 1, "void"), (2, 2, "water"), (3, 3, "sky"))], CLASSES, load, 0)
    assert train[0].labels.tolist() == [0]
    assert held == []


def test_addresses_of_one_image_and_of_pages() -> None:
    single = read_schema(render("pixel", CLASSES)).images[0]
    assert image_urls(single, {"image": "/a.jpg"}) == [(None, "/a.jpg")]
    assert image_urls(single, {"image": ""}) == image_urls(single, {"other": "/a.jpg"}) == []
    assert image_urls(single, {"image": 7}) == []
    config = render("pixel", CLASSES).replace('value="$image"', 'valueList="$image"')
    pages = read_schema(config).images[0]
    assert image_urls(pages, {"image": ["/a.jpg", "/b.jpg"]}) == [(0, "/a.jpg"), (1, "/b.jpg")]


def test_the_key_of_an_image_names_address_task_and_page() -> None:
    keys = {
        image_key("/a", 1, None),
        image_key("/b", 1, None),
        image_key("/a", 2, None),
        image_key("/a", 1, 0),
    }
    assert len(keys) == 4
