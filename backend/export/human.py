"""What people said about one image: its mask, its objects, and who they were."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.export.coco import coco_object
from backend.export.entries import ImageEntry
from backend.export.plan import VOID
from label_config import RegionMask, TaskLabels, masks_by_person


def human_mask(labels: TaskLabels, classes: Sequence[str]) -> NDArray[np.uint8]:
    """(H, W) class indices; VOID where nobody answered or drew, or nobody could tell. Pixel labels win over masks."""
    size = (labels.height, labels.width)
    mask = np.full(size, VOID, np.uint8) if labels.dense is None else labels.dense.copy()
    index = {name: number for number, name in enumerate(classes)}
    for pixel in labels.pixels:
        mask[pixel.row, pixel.col] = index.get(pixel.label, VOID)
    return mask


def human_facts(labels: TaskLabels) -> dict[str, Any]:
    """Who said it and when, and what was said pixel by pixel."""
    return {
        "sources": [asdict(source) for source in labels.sources],
        "pixels": [[pixel.row, pixel.col, pixel.label] for pixel in labels.pixels],
        "ties": len(labels.conflicts),
    }


def human_objects(entry: ImageEntry, classes: Sequence[str], *, merge: bool) -> list[dict[str, Any]]:
    """Objects of what people drew; pixel labels are none.

    merge: what is drawn of one label is one object, and several annotators are counted pixel by pixel. Else each region
    is one, where a single annotator drew; objects of several cannot be counted, so that they are merged all the same.
    """
    labels = entry.labels
    if labels is None or labels.dense is None:
        return []
    people = {
        "annotations": [source.annotation for source in labels.sources],
        "annotators": [source.annotator for source in labels.sources],
    }
    if merge or len(labels.sources) > 1:
        indices = [int(index) for index in np.unique(labels.dense) if index < len(classes)]
        return [coco_object(labels.dense == index, index, **people) for index in indices]
    (drawn,) = (found for found in entry.task.annotations if found.get("id") == labels.sources[0].annotation)
    masks = [mask for mask in masks_by_person(entry.task.schema, drawn) if _belongs(mask, entry, labels)]
    return [
        coco_object(mask, classes.index(label), **people, regions=regions)
        for label, mask, regions in _objects(masks, classes)
    ]


def _belongs(mask: RegionMask, entry: ImageEntry, labels: TaskLabels) -> bool:
    same_page = entry.page is None or (mask.item_index or 0) == entry.page
    return same_page and mask.mask.shape == (labels.height, labels.width) and bool(mask.mask.any())


def _objects(
    masks: Sequence[RegionMask], classes: Sequence[str]
) -> list[tuple[str, NDArray[np.bool_], list[str]]]:
    """(label, mask, regions) of each object: polygons that are the parts of one mask belong together."""
    names = {(mask.region_id, mask.label) for mask in masks}
    groups: dict[tuple[str, str], list[RegionMask]] = defaultdict(list)
    for mask in masks:
        whole, _, part = mask.region_id.rpartition("-")
        is_part = part.isdigit() and (whole, mask.label) in names
        if mask.label is not None and mask.label in classes:
            groups[mask.label, whole if is_part else mask.region_id].append(mask)
    return [
        (label, np.any([mask.mask for mask in group], axis=0), [mask.region_id for mask in group])
        for (label, _), group in groups.items()
    ]
