from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from label_config import ProjectSchema, RequestMalformed, read_prompt, read_schema
from model_zoo.prompt import Box, Click

pytestmark = pytest.mark.unit


def click(x: float, y: float, positive: Any = True, label: str = "cat", **more: Any) -> dict[str, Any]:
    """A click as Label Studio 1.23 sends it."""
    return {
        "original_width": 1280,
        "original_height": 960,
        "image_rotation": 0,
        "value": {"x": x, "y": y, "width": 0.2064, "labels": [label], "keypointlabels": [label]},
        "is_positive": positive,
        "id": f"id{x}",
        "from_name": "click",
        "to_name": "image",
        "type": "keypointlabels",
        "origin": "manual",
        **more,
    }


def box(x: float, y: float, width: float, height: float, rotation: float = 0) -> dict[str, Any]:
    value = {
        "x": x,
        "y": y,
        "width": width,
        "height": height,
        "rotation": rotation,
        "rectanglelabels": ["dog"],
    }
    return {"id": "b", "from_name": "box", "to_name": "image", "type": "rectanglelabels", "value": value}


def test_clicks_come_in_order_with_their_signs(both: ProjectSchema) -> None:
    request = read_prompt(both, {"result": [click(50, 25), click(10, 90, False), click(0, 100)]})
    assert request is not None
    assert (request.image, request.label, request.item_index, request.control.name) == (
        "image",
        "cat",
        None,
        "click",
    )
    prompt = request.prompt(960, 1280)
    assert prompt.clicks == (Click(240, 640), Click(864, 128, False), Click(960, 0))
    assert prompt.clicks[2].pixel(960, 1280) == (959, 0)
    assert prompt.box is None


@given(
    st.lists(st.tuples(st.floats(0, 100), st.floats(0, 100), st.booleans()), min_size=1, max_size=8),
    st.integers(1, 6000),
    st.integers(1, 6000),
)
def test_every_click_is_kept_inside_the_image(
    points: list[tuple[float, float, bool]], height: int, width: int
) -> None:
    from label_config import render

    request = read_prompt(
        read_schema(render("click", ["cat"])), {"result": [click(*point) for point in points]}
    )
    assert request is not None
    clicks = request.prompt(height, width).clicks
    assert [at.positive for at in clicks] == [positive for _, _, positive in points]
    for at in clicks:
        row, col = at.pixel(height, width)
        assert 0 <= row < height
        assert 0 <= col < width


@pytest.mark.parametrize(
    ("region", "positive"),
    [
        (click(1, 1, True), True),
        (click(1, 1, False), False),
        (click(1, 1, None), True),
        ({key: value for key, value in click(1, 1).items() if key != "is_positive"}, True),
        (click(1, 1, None, value={"x": 1, "y": 1, "positive": False}), False),
        (click(1, 1, None, value={"x": 1, "y": 1, "positive": True}), True),
    ],
)
def test_a_missing_sign_is_positive(both: ProjectSchema, region: dict[str, Any], positive: bool) -> None:
    request = read_prompt(both, {"result": [region]})
    assert request is not None
    assert request.prompt(10, 10).clicks[0].positive is positive


def test_the_last_box_counts_together_with_the_clicks(both: ProjectSchema) -> None:
    request = read_prompt(both, {"result": [box(0, 0, 10, 10), click(50, 50), box(25, 50, 50, 25)]})
    assert request is not None
    assert request.prompt(400, 200).box == Box(200, 50, 300, 150)
    assert len(request.clicks) == 1
    assert (request.label, request.control.name) == ("dog", "box")


def test_boxes_are_cut_off_at_the_edges_and_empty_ones_left_out(both: ProjectSchema) -> None:
    def read(region: dict[str, Any]) -> Box | None:
        request = read_prompt(both, {"result": [region]})
        assert request is not None
        return request.prompt(100, 100).box

    assert read(box(-10, -10, 50, 300)) == Box(0, 0, 100, 40)
    assert read(box(20, 20, 0, 10)) is None
    assert read(box(120, 20, 10, 10)) is None


def test_a_turned_box_becomes_the_upright_one_around_it(both: ProjectSchema) -> None:
    request = read_prompt(both, {"result": [box(50, 10, 20, 20, rotation=90)]})
    assert request is not None
    found = request.prompt(100, 200).box
    assert found is not None
    assert (found.top, found.left, found.bottom, found.right) == pytest.approx((10, 80, 50, 100))


@pytest.mark.parametrize(
    "region",
    [
        click(1, 1, type="brushlabels"),
        click(1, 1, from_name="query"),
        click(1, 1, from_name="mask"),
        click(1, 1, from_name="somebody"),
        click(1, 1, to_name="other"),
        click(1, 1, from_name=["click"]),
        click(1, 1, value={"format": "rle", "rle": [0], "keypointlabels": ["cat"]}),
    ],
)
def test_foreign_regions_are_passed_over(both: ProjectSchema, region: dict[str, Any]) -> None:
    assert read_prompt(both, {"result": [region]}) is None
    request = read_prompt(both, {"result": [region, click(5, 5), region]})
    assert request is not None
    assert len(request.clicks) == 1


@pytest.mark.parametrize("context", [None, {}, {"result": []}, {"result": None}])
def test_no_prompt(both: ProjectSchema, context: Any) -> None:
    assert read_prompt(both, context) is None


@pytest.mark.parametrize(
    "context",
    [
        [],
        "text",
        5,
        {"result": {}},
        {"result": "x"},
        {"result": [5]},
        {"result": [click(101, 1)]},
        {"result": [click(float("nan"), 1)]},
        {"result": [click(1, 1, value=None)]},
        {"result": [click(1, 1, value={"y": 1})]},
        {"result": [click(1, 1, value={"x": "1", "y": 1})]},
        {"result": [click(1, 1, positive=0)]},
        {"result": [click(1, 1, value={"x": 1, "y": 1, "keypointlabels": "cat"})]},
        {"result": [click(1, 1, item_index="0")]},
        {"result": [click(1, 1, item_index=-1)]},
        {"result": [box(1, 1, float("inf"), 3)]},
    ],
)
def test_malformed_contexts_are_said(both: ProjectSchema, context: Any) -> None:
    with pytest.raises(RequestMalformed, match="expected"):
        read_prompt(both, context)


def test_only_the_newest_regions_image_and_page_count() -> None:
    schema = read_schema(
        '<View><Image name="image" value="$a"/><Image name="pages" valueList="$b"/>'
        '<KeyPointLabels name="click" toName="image"><Label value="cat"/></KeyPointLabels>'
        '<KeyPointLabels name="pclick" toName="pages"><Label value="cat"/></KeyPointLabels></View>'
    )

    def page(x: float, index: int) -> dict[str, Any]:
        return click(x, 1, from_name="pclick", to_name="pages", item_index=index)

    request = read_prompt(schema, {"result": [click(1, 1), page(2, 0), page(3, 1), page(4, 1)]})
    assert request is not None
    assert (request.image, request.item_index) == ("pages", 1)
    assert [at.x for at in request.clicks] == [3, 4]
