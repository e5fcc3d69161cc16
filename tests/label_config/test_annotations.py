"""Which annotations count, and which of their masks a person made."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from label_config import (
    ImageSchema,
    Source,
    collect_labels,
    latest_annotations,
    mask_regions,
    masks_by_person,
)
from label_config.annotations import source_of

pytestmark = pytest.mark.unit


def _annotation(number: int, user: Any, updated: str, **fields: Any) -> dict[str, Any]:
    return {"id": number, "completed_by": user, "updated_at": updated, "result": [], **fields}


def _region(image: ImageSchema, number: int, **fields: Any) -> dict[str, Any]:
    mask = np.zeros((20, 30), bool)
    mask[number : number + 4, 2:9] = True
    (region,) = mask_regions(mask, image, "cat", region_id=f"r{number}")
    return {**region, **fields}


def test_the_latest_of_each_person_counts_and_cancelled_ones_never() -> None:
    annotations = [
        _annotation(1, 7, "2024-05-01T10:00:00Z"),
        _annotation(2, {"id": 7, "email": "x@example.com"}, "2024-05-01T12:00:00+00:00"),
        _annotation(3, 8, "2024-05-01T09:00:00.5Z"),
        _annotation(4, 8, "2024-05-03T09:00:00Z", was_cancelled=True),
        _annotation(5, None, "no date"),
        _annotation(6, None, ""),
    ]
    found = latest_annotations({"annotations": annotations})
    assert sorted(annotation["id"] for annotation in found) == [2, 3, 5, 6]


def test_masks_are_those_that_a_person_made(image: ImageSchema) -> None:
    regions = [
        _region(image, 0, origin="manual"),
        _region(image, 1, origin="prediction"),
        _region(image, 2, origin="prediction-changed"),
        _region(image, 3),
        _region(image, 4, origin="manual", value={"rle": [1], "format": "rle", "brushlabels": ["cat"]}),
    ]
    plain = _annotation(1, 7, "", result=regions)
    assert [mask.region_id for mask in masks_by_person(image, plain)] == ["r0", "r2", "r3"]
    of_prediction = {**plain, "parent_prediction": 3}
    assert [mask.region_id for mask in masks_by_person(image, of_prediction)] == ["r0", "r2"]


def test_labels_say_whose_they_are(image: ImageSchema) -> None:
    annotations = [
        _annotation(1, 7, "2024-05-01T10:00:00Z", lead_time=2.5, result=[_region(image, 0, origin="manual")]),
        _annotation(2, 8, "2024-05-01T10:00:00Z", result=[_region(image, 0, origin="prediction")]),
    ]
    (labels,) = collect_labels(image, {"id": 5, "annotations": annotations})
    assert labels.sources == (Source(1, 7, "2024-05-01T10:00:00Z", 2.5),)
    assert source_of(_annotation(3, None, "", lead_time="long")) == Source(3, None, "", None)
