from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest

from label_config import (
    ImageSchema,
    PixelLabel,
    Query,
    TaskLabels,
    collect_labels,
    mask_regions,
    query_regions,
    read_schema,
    render,
)

pytestmark = pytest.mark.unit

HEIGHT, WIDTH = 20, 30


def pixel(
    image: ImageSchema, row: int, col: int, label: str, origin: str | None = "prediction-changed"
) -> dict[str, Any]:
    (region,) = query_regions([Query(row, col)], image, HEIGHT, WIDTH)
    region["value"]["keypointlabels"] = [label]
    return {**region, "origin": origin} if origin else region


def drawn(image: ImageSchema, rows: slice, label: str, origin: str | None = "manual") -> dict[str, Any]:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[rows] = True
    (region,) = mask_regions(mask, image, label, region_id=f"m{rows.start}")
    return {**region, "origin": origin} if origin else region


def task(*annotations: dict[str, Any]) -> dict[str, Any]:
    numbered = ({"id": number, "completed_by": number, **one} for number, one in enumerate(annotations, 1))
    return {"id": 7, "annotations": list(numbered)}


def only(image: ImageSchema, *annotations: dict[str, Any]) -> TaskLabels:
    (labels,) = collect_labels(image, task(*annotations))
    return labels


def test_answers_of_one_annotator(image: ImageSchema) -> None:
    labels = only(
        image, {"result": [pixel(image, 1, 2, "cat"), pixel(image, 3, 4, "void"), pixel(image, 5, 6, "?")]}
    )
    assert (labels.task_id, labels.item_index, labels.height, labels.width) == (7, None, HEIGHT, WIDTH)
    assert labels.pixels == (PixelLabel(1, 2, "cat"), PixelLabel(3, 4, "void"))
    assert labels.dense is None
    assert labels.conflicts == ()


@pytest.mark.parametrize(
    ("origin", "counts"), [("manual", True), ("prediction-changed", True), ("prediction", False)]
)
def test_the_origin_tells_a_persons_work(image: ImageSchema, origin: str, counts: bool) -> None:
    found = collect_labels(image, task({"result": [pixel(image, 1, 2, "cat", origin)]}))
    assert bool(found) is counts
    found = collect_labels(image, task({"result": [drawn(image, slice(3, 5), "cat", origin)]}))
    assert bool(found) is counts


def test_without_an_origin_only_annotations_not_made_from_a_prediction_count(image: ImageSchema) -> None:
    result = [pixel(image, 1, 2, "cat", None), drawn(image, slice(3, 5), "dog", None)]
    assert only(image, {"result": result}).dense is not None
    assert collect_labels(image, task({"result": result, "parent_prediction": 5})) == []


CHOSEN = {
    "id": "c",
    "type": "choices",
    "from_name": "rest",
    "to_name": "image",
    "value": {"choices": ["yes"]},
}
SHOWN, CHANGED, OPEN = ("cat", "prediction"), ("dog", "prediction-changed"), ("?", "prediction")


@pytest.mark.parametrize(
    ("queries", "chosen", "counted"),
    [
        ([SHOWN, SHOWN, SHOWN], False, []),
        ([SHOWN, CHANGED, SHOWN], False, [0, 1]),
        ([CHANGED, SHOWN, SHOWN], False, [0]),
        ([SHOWN, SHOWN, SHOWN], True, [0, 1, 2]),
        ([SHOWN, CHANGED, SHOWN], True, [0, 1, 2]),
        ([SHOWN, OPEN, CHANGED, SHOWN], False, [0, 2]),
        ([OPEN, OPEN], True, []),
        ([SHOWN, ("dog", "manual"), SHOWN], False, [1]),
    ],
)
def test_what_stands_before_the_last_change_is_confirmed_and_the_rest_by_choice(
    image: ImageSchema, queries: list[tuple[str, str]], chosen: bool, counted: list[int]
) -> None:
    regions = [pixel(image, 1, col, label, origin) for col, (label, origin) in enumerate(queries)]
    result = [*regions, *([CHOSEN] if chosen else [])]
    found = collect_labels(image, task({"result": result, "parent_prediction": 5}))
    said = [PixelLabel(1, col, queries[col][0]) for col in counted]
    assert [pixel for labels in found for pixel in labels.pixels] == said


def test_without_the_choice_in_the_config_nothing_is_confirmed() -> None:
    config = render("pixel", ["cat", "dog", "bird"])
    image = read_schema(config[: config.index("  <Choices")] + config[config.index("  <Image") :]).images[0]
    regions = [pixel(image, 1, 1, *SHOWN), pixel(image, 1, 2, *CHANGED), CHOSEN]
    assert only(image, {"result": regions}).pixels == (PixelLabel(1, 2, "dog"),)


def test_a_mask_before_the_last_change_is_not_confirmed(image: ImageSchema) -> None:
    mask = {**drawn(image, slice(0, 5), "cat", "prediction"), "id": "q1-1"}
    labels = only(image, {"result": [pixel(image, 1, 1, *SHOWN), mask, pixel(image, 1, 2, *CHANGED), CHOSEN]})
    assert labels.dense is None
    assert len(labels.pixels) == 2


def test_prompts_hints_and_foreign_results_are_never_labels(image: ImageSchema) -> None:
    query = pixel(image, 1, 2, "cat")
    left_behind = [
        {**query, "is_positive": True},
        {**query, "from_name": "click"},
        {**query, "from_name": "hint"},
        {**query, "from_name": "box", "type": "rectanglelabels"},
        {
            "type": "choices",
            "from_name": "c",
            "to_name": "image",
            "value": {"choices": ["x"]},
            "origin": "manual",
        },
        None,
    ]
    assert collect_labels(image, task({"result": left_behind})) == []


def click_result(image: ImageSchema, region: dict[str, Any], value: dict[str, Any]) -> dict[str, Any]:
    """What the click control says under the id of another region."""
    assert image.click is not None
    twin = {**region, "from_name": image.click.name, "type": image.click.type, "origin": "manual"}
    return {**twin, "value": {**value, image.click.type: ["cat"]}}


@pytest.mark.parametrize("output", ["brush", "bitmask", "polygon"])
@pytest.mark.parametrize("twin_first", [True, False])
def test_a_mask_counts_though_the_click_control_has_a_twin_of_it(output: Any, twin_first: bool) -> None:
    image = read_schema(render("both", ["cat", "dog"], output)).images[0]
    mask = drawn(image, slice(3, 5), "cat")
    shape = {key: value for key, value in mask["value"].items() if key != mask["type"]}
    twin = click_result(image, mask, shape)
    dense = only(image, {"result": [twin, mask] if twin_first else [mask, twin]}).dense
    assert dense is not None
    assert np.flatnonzero((dense == 0).all(axis=1)).tolist() == [3, 4]
    assert (dense[dense != 0] == 255).all()


def test_a_mask_counts_though_a_click_point_has_its_id(image: ImageSchema) -> None:
    mask = drawn(image, slice(3, 5), "cat")
    point = click_result(image, mask, {"x": 50.0, "y": 50.0, "width": 0.2})
    assert only(image, {"result": [point, mask]}).dense is not None


@pytest.mark.parametrize("flags", [{}, {"is_positive": True}, {"is_positive": False}])
@pytest.mark.parametrize("point_first", [True, False])
def test_a_click_written_down_as_a_query_too_is_no_label(
    image: ImageSchema, flags: dict[str, bool], point_first: bool
) -> None:
    query = pixel(image, 1, 2, "cat", "manual")
    point = {**click_result(image, query, {"x": 8.3, "y": 7.5, "width": 0.2}), **flags}
    twin = {**query, **flags}
    result = [point, twin] if point_first else [twin, point]
    assert collect_labels(image, task({"result": result})) == []
    assert only(image, {"result": [*result, pixel(image, 5, 6, "dog", "manual")]}).pixels == (
        PixelLabel(5, 6, "dog"),
    )


def test_an_answered_query_counts_though_the_click_control_has_a_twin_of_it(image: ImageSchema) -> None:
    ring = pixel(image, 1, 2, "cat", "prediction-changed")
    twin = click_result(image, ring, {"x": 8.3, "y": 7.5, "width": 0.8})
    assert only(image, {"result": [ring, twin]}).pixels == (PixelLabel(1, 2, "cat"),)


def test_regions_without_an_id_are_nobodys_twins(image: ImageSchema) -> None:
    query = {key: value for key, value in pixel(image, 1, 2, "cat", "manual").items() if key != "id"}
    point = click_result(image, query, {"x": 50.0, "y": 50.0, "width": 0.2})
    assert only(image, {"result": [point, query]}).pixels == (PixelLabel(1, 2, "cat"),)


def test_cancelled_annotations_and_drafts_do_not_count(image: ImageSchema) -> None:
    answer = [pixel(image, 1, 2, "cat")]
    assert collect_labels(image, task({"result": answer, "was_cancelled": True})) == []
    assert (
        collect_labels(image, {"id": 7, "drafts": [{"result": answer}], "predictions": [{"result": answer}]})
        == []
    )


@pytest.mark.parametrize("person", [5, {"id": 5, "email": "a@b.c"}])
def test_the_latest_annotation_of_each_annotator_counts(image: ImageSchema, person: Any) -> None:
    def said(label: str, moment: str) -> dict[str, Any]:
        return {"completed_by": person, "updated_at": moment, "result": [pixel(image, 1, 2, label)]}

    newer, older = said("dog", "2024-05-01T10:00:00.500000Z"), said("cat", "2024-05-01T10:00:00Z")
    assert only(image, newer, older).pixels == (PixelLabel(1, 2, "dog"),)
    undone = {**newer, "result": []}
    assert collect_labels(image, task(undone, older)) == []
    skipped = {**newer, "was_cancelled": True}
    assert only(image, skipped, older).pixels == (PixelLabel(1, 2, "cat"),)


def test_the_majority_wins_and_a_tie_is_a_conflict(image: ImageSchema) -> None:
    votes = (("cat", "cat"), ("cat", "dog"), ("dog", "void"))
    labels = only(image, *({"result": [pixel(image, 0, 0, a), pixel(image, 9, 9, b)]} for a, b in votes))
    assert labels.pixels == (PixelLabel(0, 0, "cat"),)
    assert labels.conflicts == ((9, 9),)
    tie = only(image, *({"result": [pixel(image, 0, 0, label)]} for label in ("cat", "dog")))
    assert (tie.pixels, tie.conflicts) == ((), ((0, 0),))


def test_annotations_without_an_annotator_are_one_each(image: ImageSchema) -> None:
    nobody = {"completed_by": None, "result": [pixel(image, 0, 0, "cat")]}
    labels = only(image, nobody, nobody, {"result": [pixel(image, 0, 0, "dog")]})
    assert labels.pixels == (PixelLabel(0, 0, "cat"),)


def test_masks_become_class_indices_and_the_later_one_lies_on_top(image: ImageSchema) -> None:
    result = [drawn(image, slice(0, 10), "cat"), drawn(image, slice(5, 15), "dog", "prediction-changed")]
    dense = only(image, {"result": result}).dense
    assert dense is not None
    assert dense.dtype == np.uint8
    assert [np.unique(rows).tolist() for rows in (dense[:5], dense[5:15], dense[15:])] == [[0], [1], [255]]


def test_masks_are_voted_on_where_they_overlap(image: ImageSchema) -> None:
    def one(*results: dict[str, Any]) -> dict[str, Any]:
        return {"result": list(results)}

    cat, dog = drawn(image, slice(0, 4), "cat"), drawn(image, slice(2, 8), "dog")
    two = only(image, one(cat), one(dog)).dense
    assert two is not None
    assert two[:, 0].tolist() == [0, 0, 255, 255, 1, 1, 1, 1, *[255] * 12]
    three = only(image, one(cat), one(dog), one(dog)).dense
    assert three is not None
    assert three[:, 0].tolist() == [0, 0, 1, 1, 1, 1, 1, 1, *[255] * 12]


def test_pages_are_kept_apart() -> None:
    image = read_schema(render("both", ["cat"]).replace('value="$image"', 'valueList="$image"')).images[0]
    result = [{**pixel(image, 1, 2, "cat"), "item_index": 1}, pixel(image, 3, 4, "cat")]
    found = collect_labels(image, task({"result": result}))
    assert [(labels.item_index, labels.pixels[0].row) for labels in found] == [(0, 3), (1, 1)]


def test_broken_regions_are_logged_and_the_rest_counts(
    image: ImageSchema, caplog: pytest.LogCaptureFixture
) -> None:
    good = pixel(image, 1, 2, "cat")
    broken = [
        {**drawn(image, slice(0, 3), "cat"), "value": {"rle": [1, 2], "format": "rle"}},
        {**pixel(image, 4, 4, "cat"), "original_width": None},
        {**pixel(image, 4, 4, "cat"), "original_width": 31},
        {**good, "value": {"x": 400, "y": 1, "keypointlabels": ["cat"]}},
    ]
    with caplog.at_level(logging.WARNING, "label_config"):
        labels = only(image, {"result": [good, *broken]})
    assert labels.pixels == (PixelLabel(1, 2, "cat"),)
    assert len(caplog.records) == len(broken)


def test_annotations_that_disagree_on_the_size_do_not_mix(
    image: ImageSchema, caplog: pytest.LogCaptureFixture
) -> None:
    other = {**pixel(image, 1, 2, "dog"), "original_width": 60}
    labels = only(image, {"result": [pixel(image, 1, 2, "cat")]}, {"result": [other]})
    assert labels.pixels == (PixelLabel(1, 2, "cat"),)
    assert "disagree" in caplog.text


def test_nothing_said_is_nothing_returned(image: ImageSchema) -> None:
    assert collect_labels(image, {"id": 1}) == []
    assert collect_labels(image, task({"result": None}, {"result": []})) == []
