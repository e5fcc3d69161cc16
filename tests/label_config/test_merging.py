"""Regions of one label become one, and nothing else of the annotation changes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from label_config import collect_labels, mask_regions, merge_regions, read_masks, read_schema, render

pytestmark = pytest.mark.unit

HEIGHT, WIDTH = 60, 90


def _blob(row: int, col: int, size: int = 12) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[row : row + size, col : col + size] = True
    return mask


def _annotation(output: Any, *drawn: tuple[np.ndarray, str], **fields: Any) -> tuple[Any, dict[str, Any]]:
    (image,) = read_schema(render("both", ["cat", "dog"], output)).images
    result: list[dict[str, Any]] = []
    for number, (mask, label) in enumerate(drawn):
        result += mask_regions(mask, image, label, region_id=f"r{number}", score=0.5)
    return image, {"id": 1, "result": [{**region, "origin": "manual", **fields} for region in result]}


@pytest.mark.parametrize("output", ["brush", "bitmask"])
def test_all_that_is_drawn_of_a_label_becomes_one_region(output: Any) -> None:
    cats, dog = [_blob(2, 2), _blob(8, 8), _blob(40, 60)], _blob(30, 30)
    image, annotation = _annotation(
        output, (cats[0], "cat"), (dog, "dog"), (cats[1], "cat"), (cats[2], "cat")
    )
    before = [dict(region) for region in annotation["result"]]
    merged = merge_regions(image, annotation)
    assert merged is not None
    assert merged.counts == {"cat": (3, 1)}
    assert [region["id"] for region in merged.result] == ["r0", "r1"]
    assert merged.result[1] == before[1]
    assert annotation["result"] == before, "what was read is left as it is"
    one, _ = read_masks(image, merged.result)
    assert np.array_equal(one.mask, np.any(cats, axis=0))
    assert (one.label, one.origin) == ("cat", "manual")
    assert merge_regions(image, {**annotation, "result": merged.result}) is None, "once is enough"
    after = {"id": 7, "annotations": [{**annotation, "result": merged.result}]}
    (labels,) = collect_labels(image, after)
    assert labels.dense is not None
    assert np.array_equal(labels.dense == 1, dog)


def test_polygons_become_one_where_they_touch() -> None:
    touching, alone = [_blob(2, 2), _blob(8, 8)], _blob(40, 60)
    image, annotation = _annotation("polygon", (touching[0], "cat"), (alone, "cat"), (touching[1], "cat"))
    merged = merge_regions(image, annotation)
    assert merged is not None
    assert merged.counts == {"cat": (3, 2)}
    assert merged.result[1] == annotation["result"][1]
    one, other = read_masks(image, merged.result)
    assert np.array_equal(one.mask, np.any(touching, axis=0))
    assert np.array_equal(other.mask, alone)


def test_polygons_apart_are_left_alone() -> None:
    image, annotation = _annotation("polygon", (_blob(2, 2), "cat"), (_blob(40, 60), "cat"))
    assert merge_regions(image, annotation) is None


@pytest.mark.parametrize("extra", ["relation", "choices", "prediction", "broken", "other label"])
def test_what_carries_more_or_is_no_persons_is_left_alone(extra: str) -> None:
    image, annotation = _annotation("brush", (_blob(2, 2), "cat"), (_blob(30, 30), "cat"))
    labels: list[str] = []
    if extra == "relation":
        annotation["result"].append({"type": "relation", "from_id": "r0", "to_id": "x"})
    elif extra == "choices":
        annotation["result"].append(
            {
                "id": "r1",
                "from_name": "kind",
                "to_name": "image",
                "type": "choices",
                "value": {"choices": ["a"]},
            }
        )
    elif extra == "prediction":
        annotation["result"][1]["origin"] = "prediction"
    elif extra == "broken":
        annotation["result"][1]["value"] = {"format": "rle", "rle": [1, 2], "brushlabels": ["cat"]}
    else:
        labels = ["dog"]
    assert merge_regions(image, annotation, labels) is None


def test_the_twin_that_label_studio_makes_of_an_accepted_mask_goes_with_it() -> None:
    image, annotation = _annotation("brush", (_blob(2, 2), "cat"), (_blob(30, 30), "cat"))
    second = annotation["result"][1]
    twin = {**second, "from_name": "click", "type": "keypointlabels"}
    annotation["result"].append(twin)
    merged = merge_regions(image, annotation)
    assert merged is not None
    assert [region["id"] for region in merged.result] == ["r0"]


def test_pages_stay_apart() -> None:
    config = render("click", ["cat"]).replace('value="$image" zoom', 'valueList="$image" zoom')
    (image,) = read_schema(config).images
    result: list[dict[str, Any]] = []
    for number, page in enumerate([0, 0, 1]):
        result += mask_regions(_blob(number * 15, 5), image, "cat", region_id=f"r{number}", item_index=page)
    merged = merge_regions(image, {"id": 1, "result": [{**region, "origin": "manual"} for region in result]})
    assert merged is not None
    assert [(region["id"], region["item_index"]) for region in merged.result] == [("r0", 0), ("r2", 1)]
