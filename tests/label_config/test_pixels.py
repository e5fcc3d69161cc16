from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from label_studio_sdk.label_interface.interface import LabelInterface

from label_config import (
    ImageSchema,
    LabelConfigError,
    PixelLabel,
    ProjectSchema,
    Query,
    invalid_reason,
    query_regions,
    read_pixel,
    read_schema,
    render,
)

pytestmark = pytest.mark.unit

sizes = st.tuples(st.integers(1, 9000), st.integers(1, 9000))
places = sizes.flatmap(
    lambda size: st.tuples(
        st.integers(0, size[0] - 1), st.integers(0, size[1] - 1), st.just(size[0]), st.just(size[1])
    )
)


def _answer(region: dict[str, Any], label: str) -> dict[str, Any]:
    return {**region, "origin": "prediction-changed", "value": {**region["value"], "keypointlabels": [label]}}


@given(places)
def test_a_query_comes_back_as_the_same_pixel(place: tuple[int, int, int, int]) -> None:
    row, col, height, width = place
    image = read_schema(render("pixel", ["road"])).images[0]
    (region,) = query_regions([Query(row, col)], image, height, width)
    stored = json.loads(json.dumps(region))
    assert read_pixel(image, _answer(stored, "road")) == PixelLabel(row, col, "road")


def test_queries_are_hollow_rings_that_label_studio_accepts(both: ProjectSchema, image: ImageSchema) -> None:
    regions = query_regions([Query(3, 4, score=0.25), Query(0, 9, "dog")], image, 10, 20)
    assert regions[0] == {
        "id": "q3-4",
        "type": "keypointlabels",
        "from_name": "query",
        "to_name": "image",
        "original_width": 20,
        "original_height": 10,
        "image_rotation": 0,
        "score": 0.25,
        "value": {"x": 22.5, "y": 35.0, "width": 0.8, "keypointlabels": ["?"]},
    }
    assert regions[1]["value"]["keypointlabels"] == ["dog"]
    assert all(invalid_reason(region, both) is None for region in regions)
    config = render("both", ["cat", "dog"])
    assert LabelInterface(config).validate_prediction({"score": 0.5, "result": regions, "model_version": "v"})


def test_ids_are_stable_and_tell_pixel_and_page(image: ImageSchema) -> None:
    one = query_regions([Query(1, 23), Query(12, 3)], image, 50, 50)
    paged = query_regions([Query(1, 23)], image, 50, 50, item_index=1)
    other = query_regions([Query(1, 23)], image, 50, 50, item_index=12)
    assert len({region["id"] for region in (*one, *paged, *other)}) == 4
    assert one[0]["id"] == query_regions([Query(1, 23)], image, 50, 50)[0]["id"]
    assert paged[0]["item_index"] == 1


@pytest.mark.parametrize("query", [Query(10, 0), Query(0, 20), Query(-1, 0), Query(0, 0, "horse")])
def test_queries_that_cannot_be_shown_are_refused(image: ImageSchema, query: Query) -> None:
    with pytest.raises(LabelConfigError):
        query_regions([query], image, 10, 20)


def test_a_project_without_a_query_control_has_no_queries() -> None:
    image = read_schema(render("click", ["cat"])).images[0]
    with pytest.raises(LabelConfigError, match="add one"):
        query_regions([Query(0, 0)], image, 10, 20)
    assert read_pixel(image, {}) is None


def test_void_is_an_answer_and_the_question_is_none(image: ImageSchema) -> None:
    (region,) = query_regions([Query(2, 2)], image, 10, 20)
    assert read_pixel(image, region) is None
    assert read_pixel(image, _answer(region, "void")) == PixelLabel(2, 2, "void")
    assert read_pixel(image, _answer(region, "horse")) is None


@pytest.mark.parametrize(
    "change",
    [
        {"is_positive": True},
        {"is_positive": False},
        {"type": "brushlabels"},
        {"from_name": "click"},
        {"value": None},
        {"value": {"x": 1, "y": 1, "keypointlabels": []}},
        {"value": {"x": 1, "y": 1}},
    ],
)
def test_prompts_and_twins_are_no_pixel_labels(image: ImageSchema, change: dict[str, Any]) -> None:
    (region,) = query_regions([Query(2, 2)], image, 10, 20)
    assert read_pixel(image, {**_answer(region, "cat"), **change}) is None


@pytest.mark.parametrize(
    "value", [{"x": 101, "y": 1}, {"x": "1", "y": 1}, {"y": 1}, {"x": float("nan"), "y": 1}]
)
def test_a_position_that_is_none_is_said(image: ImageSchema, value: dict[str, Any]) -> None:
    (region,) = query_regions([Query(2, 2)], image, 10, 20)
    with pytest.raises(LabelConfigError, match="percent"):
        read_pixel(image, {**region, "value": {**value, "keypointlabels": ["cat"]}})
