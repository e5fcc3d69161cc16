"""Queried pixels <-> keypoint regions of the query control."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from label_config.errors import LabelConfigError
from label_config.percent import centre, is_percent, to_index
from label_config.schema import QUESTION, ImageSchema
from label_config.wire import image_size, is_result_of, region_json, region_label

RING_WIDTH = 0.8
"""Percent of the image's width: a hollow ring around the pixel, which stays visible inside."""


@dataclass(frozen=True, slots=True)
class PixelLabel:
    """A pixel that a person classified. ``label``: a class, or "void"."""

    row: int
    col: int
    label: str


@dataclass(frozen=True)
class Query:
    """A pixel whose class is asked for. ``label``: the predicted class to show instead of "?"."""

    row: int
    col: int
    label: str | None = None
    score: float | None = None


def query_regions(
    queries: Iterable[Query], image: ImageSchema, height: int, width: int, *, item_index: int | None = None
) -> list[dict[str, Any]]:
    """One keypoint result for each query, at the centre of its pixel; ids tell the pixel and never change.

    Raises LabelConfigError when the image has no query control, or a query is outside (height, width) or has a label
    that the control lacks.
    """
    if image.query is None:
        raise LabelConfigError(
            f'image {image.name!r} has no KeyPointLabels with a "{QUESTION}" label; add one'
        )
    page = "" if item_index is None else f"{item_index}-"
    regions = []
    for query in queries:
        if not (0 <= query.row < height and 0 <= query.col < width):
            raise LabelConfigError(
                f"query at row {query.row}, col {query.col} is outside the {width}x{height} image"
            )
        label = QUESTION if query.label is None else query.label
        if label not in image.query.labels:
            raise LabelConfigError(
                f"query label {label!r} is not in control {image.query.name!r}; expected one of its"
            )
        value = {"x": centre(query.col, width), "y": centre(query.row, height), "width": RING_WIDTH}
        regions.append(
            region_json(
                image.query, value, label, region_id=f"q{page}{query.row}-{query.col}",
                height=height, width=width, score=query.score, item_index=item_index,
            )
        )  # fmt: skip
    return regions


def read_pixel(image: ImageSchema, region: Any) -> PixelLabel | None:
    """The pixel label in one result of an annotation, whoever made it; None when it is none.

    None are: other controls, smart clicks that were left behind (they carry ``is_positive``), "?" and labels that are
    no class. LabelConfigError for a position that is none.
    """
    if image.query is None or not is_result_of(region, image.query) or "is_positive" in region:
        return None
    value = region.get("value")
    label = region_label(region, image.query)
    if (
        label is None
        or label == QUESTION
        or label not in image.query.labels
        or not isinstance(value, Mapping)
    ):
        return None
    x, y = value.get("x"), value.get("y")
    if not (is_percent(x) and is_percent(y)):
        raise LabelConfigError(
            f"region {region.get('id')!r} is at x={x!r}, y={y!r}; expected percent from 0 to 100"
        )
    height, width = image_size(region)
    return PixelLabel(to_index(y, height), to_index(x, width), label)  # type: ignore[arg-type]
