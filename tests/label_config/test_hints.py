from __future__ import annotations

from typing import Any

import pytest
from label_studio_sdk.label_interface.interface import LabelInterface

from label_config import (
    ImageSchema,
    LabelConfigError,
    PixelLabel,
    ProjectSchema,
    Query,
    collect_labels,
    hint_region,
    invalid_reason,
    query_regions,
    read_masks,
    read_pixel,
    read_prompt,
    read_schema,
    render,
)
from model_zoo.prompt import Click

pytestmark = pytest.mark.unit

CONFIG = render("both", ["cat", "dog"], hints=True)
IMAGE = '<Image name="image" value="$image"/>'
HEIGHT, WIDTH = 10, 20


@pytest.fixture
def hinted() -> ProjectSchema:
    return read_schema(CONFIG)


@pytest.fixture
def image(hinted: ProjectSchema) -> ImageSchema:
    return hinted.images[0]


def ring(image: ImageSchema, row: float = 3.5, col: float = 4.5) -> dict[str, Any]:
    return hint_region(Click(row, col), image, HEIGHT, WIDTH, mask_id="cp1")


def twin(region: dict[str, Any], control: str, label: str) -> dict[str, Any]:
    """What Label Studio writes for another control whose label is selected when the ring is accepted."""
    value = {**region["value"], "keypointlabels": [label]}
    return {**region, "from_name": control, "origin": "manual", "value": value}


def task(*results: dict[str, Any]) -> dict[str, Any]:
    return {"id": 7, "annotations": [{"id": 1, "completed_by": 1, "result": list(results)}]}


def test_a_hint_is_a_hollow_ring_at_its_pixels_centre(hinted: ProjectSchema, image: ImageSchema) -> None:
    region = hint_region(Click(3.9, 4.0), image, HEIGHT, WIDTH, mask_id="cp1", item_index=2)
    assert region == {
        "id": "cp1-hint",
        "type": "keypointlabels",
        "from_name": "hint",
        "to_name": "image",
        "original_width": WIDTH,
        "original_height": HEIGHT,
        "image_rotation": 0,
        "item_index": 2,
        "dynamic": True,
        "value": {"x": 22.5, "y": 35.0, "width": 0.8, "keypointlabels": ["next click?"]},
    }
    assert invalid_reason(region, hinted) is None
    assert LabelInterface(CONFIG).validate_prediction(
        {"score": 0.5, "result": [region], "model_version": "v"}
    )


@pytest.mark.parametrize(("row", "col", "x", "y"), [(0.0, 0.0, 2.5, 5.0), (10.0, 20.0, 97.5, 95.0)])
def test_hints_stay_inside_the_image(image: ImageSchema, row: float, col: float, x: float, y: float) -> None:
    value = ring(image, row, col)["value"]
    assert (value["x"], value["y"]) == (x, y)


def test_the_id_follows_the_mask_and_not_the_place(image: ImageSchema) -> None:
    assert ring(image, 1, 1)["id"] == ring(image, 9, 9)["id"]
    other = hint_region(Click(1, 1), image, HEIGHT, WIDTH, mask_id="cp2")
    assert other["id"] != ring(image, 1, 1)["id"]


@pytest.mark.parametrize(
    "config",
    [
        render("both", ["cat"]),
        CONFIG.replace('name="hint"', 'name="suggested"'),
        f"<View>{IMAGE}</View>",
        f'<View>{IMAGE}<KeyPointLabels name="hint" toName="image" smart="false"/></View>',
    ],
)
def test_projects_that_want_no_hints_get_none(config: str) -> None:
    with pytest.raises(LabelConfigError, match='name="hint"'):
        ring(read_schema(config).images[0])


def test_a_hint_with_a_mark_that_would_break_the_editor(hinted: ProjectSchema, image: ImageSchema) -> None:
    assert "dynamic" in str(invalid_reason({**ring(image), "dynamic": "yes"}, hinted))


@pytest.mark.parametrize("origin", ["manual", "prediction-changed", "prediction"])
def test_an_accepted_hint_is_never_a_label(image: ImageSchema, origin: str) -> None:
    accepted = {**ring(image), "origin": origin}
    assert collect_labels(image, task(accepted)) == []
    assert read_pixel(image, accepted) is None
    assert read_masks(image, [accepted]) == []


@pytest.mark.parametrize("hint_first", [True, False])
def test_a_hint_written_down_as_a_query_too_is_no_label(image: ImageSchema, hint_first: bool) -> None:
    accepted = {**ring(image), "origin": "manual"}
    pair = [accepted, twin(accepted, "query", "cat")]
    assert collect_labels(image, task(*(pair if hint_first else pair[::-1]))) == []


def test_a_real_answer_beside_a_hint_counts(image: ImageSchema) -> None:
    (query,) = query_regions([Query(3, 4)], image, HEIGHT, WIDTH)
    answer = {**twin(query, "query", "dog"), "origin": "prediction-changed"}
    (labels,) = collect_labels(image, task({**ring(image), "origin": "manual"}, answer))
    assert labels.pixels == (PixelLabel(3, 4, "dog"),)


def test_a_hint_is_never_a_prompt(hinted: ProjectSchema, image: ImageSchema) -> None:
    hint = ring(image)
    stray = {**twin(hint, "click", "cat"), "is_positive": True}
    assert read_prompt(hinted, {"result": [hint]}) is None
    assert read_prompt(hinted, {"result": [stray, hint]}) is None
    click = {**stray, "id": "c1"}
    request = read_prompt(hinted, {"result": [click, hint, stray]})
    assert request is not None
    assert len(request.clicks) == 1


def test_clicks_without_an_id_are_clicks_beside_a_hint_without_one(
    hinted: ProjectSchema, image: ImageSchema
) -> None:
    hint = {key: value for key, value in ring(image).items() if key != "id"}
    request = read_prompt(hinted, {"result": [hint, twin(hint, "click", "cat")]})
    assert request is not None
    odd = {**twin(hint, "click", "cat"), "id": ["unhashable"]}
    assert read_prompt(hinted, {"result": [hint, odd]}) is not None
