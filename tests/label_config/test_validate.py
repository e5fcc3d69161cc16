from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

from label_config import Query, invalid_reason, mask_regions, query_regions, read_schema, render

pytestmark = pytest.mark.unit


def _regions(output: str) -> tuple[Any, dict[str, Any]]:
    schema = read_schema(render("both", ["cat", "dog"], output))  # type: ignore[arg-type]
    (region, *_) = mask_regions(np.eye(6, 9, dtype=bool), schema.images[0], "cat", region_id="r", score=0.5)
    return schema, region


def _changed(region: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    changed = copy.deepcopy(region)
    *parents, last = path.split(".")
    place = changed
    for parent in parents:
        place = place[parent]
    place[last] = value
    return changed


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("from_name", "nobody"),
        ("from_name", None),
        ("from_name", "click"),
        ("to_name", "other"),
        ("type", "brush"),
        ("id", ""),
        ("id", 5),
        ("original_width", 0),
        ("original_width", "9"),
        ("original_height", float("nan")),
        ("image_rotation", None),
        ("score", 1.5),
        ("score", float("nan")),
        ("score", "0.5"),
        ("score", True),
        ("item_index", -1),
        ("item_index", 0.5),
        ("readonly", "true"),
        ("meta", "a note"),
        ("meta", None),
        ("meta", {"text": "a note"}),
        ("meta", {"text": [{"a": "note"}]}),
        ("value", None),
        ("value", []),
        ("value.brushlabels", "cat"),
        ("value.brushlabels", []),
        ("value.brushlabels", ["horse"]),
        ("value.brushlabels", ["cat", None]),
        ("value.brushlabels", [["cat"]]),
        ("value.format", "png"),
        ("value.rle", None),
        ("value.rle", []),
        ("value.rle", [0] * 40),
        ("value.rle", ["a"]),
        ("value.rle", [0, 0, 0, 216, 57, 35, 127, 256]),
    ],
)
def test_brush_results_that_would_break_the_editor(path: str, value: Any) -> None:
    schema, region = _regions("brush")
    assert invalid_reason(region, schema) is None
    assert invalid_reason(_changed(region, path, value), schema)


def test_brush_of_another_size() -> None:
    schema, region = _regions("brush")
    reason = invalid_reason({**region, "original_width": 10}, schema)
    assert reason is not None
    assert "10x6" in reason


@pytest.mark.parametrize(
    "points",
    [
        None,
        [],
        [[0, 0], [1, 1]],
        [[0, 0], [1, 1], [2, float("inf")]],
        [[0, 0], [1, 1], [2, 101]],
        [[0, 0], [1, 1], (2, 2)],
    ],
)
def test_polygons_that_would_break_the_editor(points: Any) -> None:
    schema, region = _regions("polygon")
    assert invalid_reason(region, schema) is None
    assert invalid_reason(_changed(region, "value.points", points), schema)


@pytest.mark.parametrize("url", [None, "", "data:image/png;base64,AAAA", 5])
def test_bitmasks_that_would_break_the_editor(url: Any) -> None:
    schema, region = _regions("bitmask")
    assert invalid_reason(region, schema) is None
    assert invalid_reason(_changed(region, "value.imageDataURL", url), schema)
    assert invalid_reason({**region, "original_height": 7}, schema)


@pytest.mark.parametrize(
    ("key", "value"), [("x", 100.1), ("y", None), ("width", "1"), ("x", float("nan")), ("y", True)]
)
def test_keypoints_that_would_break_the_editor(key: str, value: Any) -> None:
    schema = read_schema(render("pixel", ["cat"]))
    (region,) = query_regions([Query(1, 1)], schema.images[0], 10, 10)
    assert invalid_reason(region, schema) is None
    assert invalid_reason(_changed(region, f"value.{key}", value), schema)


def test_rectangles() -> None:
    schema = read_schema(render("click", ["cat"]))
    value = {"x": 1, "y": 2, "width": 3, "height": 4, "rotation": 0, "rectanglelabels": ["cat"]}
    region = {
        "id": "b", "from_name": "box", "to_name": "image", "type": "rectanglelabels",
        "original_width": 5, "original_height": 6, "value": value,
    }  # fmt: skip
    assert invalid_reason(region, schema) is None
    assert invalid_reason({**region, "value": {**value, "width": None}}, schema)
    assert invalid_reason({**region, "value": {**value, "rotation": "x"}}, schema)


@pytest.mark.parametrize("region", [None, [], "x", {}])
def test_what_is_no_result(region: Any) -> None:
    assert invalid_reason(region, read_schema(render("click", ["cat"])))
