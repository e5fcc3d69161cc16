from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from label_studio_sdk.label_interface.interface import LabelInterface

from label_config import (
    ImageSchema,
    LabelConfigError,
    PolygonForm,
    invalid_reason,
    mask_regions,
    read_masks,
    read_schema,
    render,
)

pytestmark = pytest.mark.unit

TWO_FORMS = """<View><Image name="image" value="$image"/>
  <BrushLabels name="brush" toName="image"><Label value="cat"/></BrushLabels>
  <PolygonLabels name="poly" toName="image"><Label value="cat"/><Label value="dog"/></PolygonLabels>
</View>"""


def _mask() -> np.ndarray:
    mask = np.zeros((60, 90), bool)
    mask[5:40, 10:70] = True
    mask[15:25, 20:40] = False
    mask[45:55, 60:80] = True
    return mask


@pytest.mark.parametrize("output", ["brush", "bitmask", "polygon"])
def test_masks_come_back_and_label_studio_accepts_them(output: str) -> None:
    config = render("both", ["cat", "dog"], output)  # type: ignore[arg-type]
    schema = read_schema(config)
    regions = mask_regions(_mask(), schema.images[0], "dog", region_id="r", score=0.5)
    assert [region["id"] for region in regions] == (["r", "r-1"] if output == "polygon" else ["r"])
    assert all(invalid_reason(region, schema) is None for region in regions)
    assert LabelInterface(config).validate_prediction({"score": 0.5, "result": regions, "model_version": "v"})
    again = read_masks(schema.images[0], regions)
    assert np.array_equal(np.any([found.mask for found in again], axis=0), _mask())
    assert {found.label for found in again} == {"dog"}


def test_the_envelope_is_that_of_the_upright_image(image: ImageSchema) -> None:
    (region,) = mask_regions(_mask(), image, "cat", region_id="r7", item_index=3, readonly=True)
    assert (region["original_width"], region["original_height"], region["image_rotation"]) == (90, 60, 0)
    assert (region["from_name"], region["to_name"], region["type"]) == ("mask", "image", "brushlabels")
    assert (region["item_index"], region["readonly"], region["value"]["brushlabels"]) == (3, True, ["cat"])
    assert "score" not in region
    assert "origin" not in region


@pytest.mark.parametrize("output", ["brush", "bitmask", "polygon"])
def test_a_note_goes_with_the_first_region(output: str) -> None:
    config = render("both", ["cat", "dog"], output)  # type: ignore[arg-type]
    schema = read_schema(config)
    regions = mask_regions(_mask(), schema.images[0], "dog", region_id="r", note="two parts")
    assert [region.get("meta") for region in regions[:2]] == [{"text": ["two parts"]}, None][: len(regions)]
    assert all(invalid_reason(region, schema) is None for region in regions)
    assert LabelInterface(config).validate_prediction({"result": regions})
    assert len(read_masks(schema.images[0], regions)) == len(regions)


def test_same_mask_same_regions(image: ImageSchema) -> None:
    assert mask_regions(_mask(), image, "cat", region_id="r") == mask_regions(
        _mask(), image, "cat", region_id="r"
    )


def test_the_form_follows_the_controls_that_hold_the_label() -> None:
    image = read_schema(TWO_FORMS).images[0]
    assert mask_regions(_mask(), image, "cat", region_id="r")[0]["from_name"] == "brush"
    assert mask_regions(_mask(), image, "dog", region_id="r")[0]["from_name"] == "poly"


def test_large_images_prefer_polygons_where_the_config_has_both() -> None:
    both, brush_only = read_schema(TWO_FORMS).images[0], read_schema(render("click", ["cat"])).images[0]
    assert (
        mask_regions(_mask(), both, "cat", region_id="r", polygon_over_pixels=5399)[0]["type"]
        == "polygonlabels"
    )
    assert (
        mask_regions(_mask(), both, "cat", region_id="r", polygon_over_pixels=5400)[0]["type"]
        == "brushlabels"
    )
    assert (
        mask_regions(_mask(), brush_only, "cat", region_id="r", polygon_over_pixels=9)[0]["type"]
        == "brushlabels"
    )


def test_an_empty_mask_has_no_region(image: ImageSchema) -> None:
    assert mask_regions(np.zeros((4, 5), bool), image, "cat", region_id="r") == []


def test_labels_without_an_output_are_refused(image: ImageSchema) -> None:
    with pytest.raises(LabelConfigError, match="add it to BrushLabels"):
        mask_regions(_mask(), image, "horse", region_id="r")
    with pytest.raises(LabelConfigError, match="cat, dog"):
        mask_regions(_mask(), image, None, region_id="r")
    no_output = read_schema('<View><Image name="i" value="$i"/></View>').images[0]
    with pytest.raises(LabelConfigError, match="it has none"):
        mask_regions(_mask(), no_output, "cat", region_id="r")


def test_without_a_label_the_only_one_stands_in() -> None:
    image = read_schema(render("click", ["cat"])).images[0]
    assert mask_regions(_mask(), image, None, region_id="r")[0]["value"]["brushlabels"] == ["cat"]


def test_other_results_are_passed_over(image: ImageSchema) -> None:
    (region,) = mask_regions(_mask(), image, "cat", region_id="r")
    foreign: list[Any] = [
        {**region, "type": "brush"},
        {**region, "from_name": "click"},
        {**region, "to_name": "other"},
        {"type": "choices", "from_name": "c", "to_name": "image", "value": {"choices": ["x"]}},
        None,
        "text",
    ]
    assert read_masks(image, foreign) == []
    assert len(read_masks(image, [*foreign, {**region, "origin": "manual"}])) == 1


@pytest.mark.parametrize(
    "broken",
    [
        {"value": None},
        {"value": {}},
        {"value": {"rle": "abc"}},
        {"value": {"rle": None}},
        {"original_width": 91},
        {"original_height": None},
        {"original_width": 0},
        {"original_width": 1.5},
    ],
)
def test_broken_masks_are_said_with_the_region(image: ImageSchema, broken: dict[str, Any]) -> None:
    (region,) = mask_regions(_mask(), image, "cat", region_id="r9")
    with pytest.raises(LabelConfigError, match="'r9'"):
        read_masks(image, [{**region, **broken}])


@pytest.mark.parametrize(
    "points", [None, [], [[0, 0], [1, 1]], [[0, 0], [1], [2, 2]], [[0, 0], [1, None], [2, 2]], [1, 2, 3]]
)
def test_broken_polygons_are_said(points: Any) -> None:
    image = read_schema(render("click", ["cat"], "polygon")).images[0]
    (region, *_) = mask_regions(_mask(), image, "cat", region_id="r")
    with pytest.raises(LabelConfigError):
        read_masks(image, [{**region, "value": {"points": points, "polygonlabels": ["cat"]}}])


def _points(config: str, **options: Any) -> int:
    rows, cols = np.mgrid[:200, :300]
    disk = (rows - 100) ** 2 + (cols - 150) ** 2 < 90**2
    (region,) = mask_regions(disk, read_schema(config).images[0], "cat", region_id="r", **options)
    return len(region["value"]["points"])


def test_the_tolerance_is_that_of_the_control_else_of_the_setting() -> None:
    plain, own = render("click", ["cat"], "polygon"), render("click", ["cat"], "polygon", tolerance=4)
    assert 'tolerance="4"' in own
    assert _points(own) < _points(plain)
    assert (
        _points(own) == _points(plain, polygons=PolygonForm(4.0)) == _points(own, polygons=PolygonForm(0.5))
    )
    assert _points(plain, polygons=PolygonForm(0.1, 20)) <= 20
    assert _points(own.replace('"4"', '"wide"'), polygons=PolygonForm(4.0)) == _points(own)


def test_a_tolerance_is_part_of_what_a_config_shows() -> None:
    digests = {
        read_schema(config).digest
        for config in (
            render("click", ["cat"], "polygon"),
            render("click", ["cat"], "polygon", tolerance=2),
            render("click", ["cat"], "polygon", tolerance=3),
        )
    }
    assert len(digests) == 3
