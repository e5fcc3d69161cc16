"""Queries and pre-annotation are drawn where they are."""

from __future__ import annotations

import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from backend.status.thumbnails import LONG_SIDE, count_queries, draw
from label_config import Query, mask_regions, query_regions, read_schema, render

pytestmark = pytest.mark.unit

(SCHEMA,) = read_schema(render("pixel", ("sky", "grass"))).images


def pixels(content: bytes) -> NDArray[np.int64]:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(np.int64)


def test_a_large_image_becomes_small_and_a_small_one_stays() -> None:
    for (height, width), expected in (
        ((600, 1200), (240, 480)),
        ((30, 40), (30, 40)),
        ((1, 5000), (1, LONG_SIDE)),
    ):
        made = pixels(draw(np.zeros((height, width, 3), np.uint8), SCHEMA, [], None))
        assert made.shape[:2] == expected


def test_masks_tint_their_half_and_nothing_else() -> None:
    image = np.full((100, 200, 3), 128, np.uint8)
    upper = np.zeros((100, 200), bool)
    upper[:50] = True
    made = pixels(draw(image, SCHEMA, mask_regions(upper, SCHEMA, "sky", region_id="m"), None))
    assert np.abs(made[60:] - 128).max() < 12
    assert np.abs(made[:40] - 128).max(axis=2).mean() > 30


def test_a_ring_is_around_its_query() -> None:
    regions = query_regions([Query(25, 150)], SCHEMA, 100, 200)
    made = pixels(draw(np.full((100, 200, 3), 128, np.uint8), SCHEMA, regions, None))
    rows, cols = np.nonzero(np.abs(made - 128).max(axis=2) > 60)
    assert (rows.mean(), cols.mean()) == (pytest.approx(25, abs=1), pytest.approx(150, abs=1))
    assert abs(made[25, 150] - 128).max() < 40, "the pixel itself can be seen"
    assert count_queries(SCHEMA, regions) == 1


def test_other_pages_and_what_is_no_region_are_passed_over() -> None:
    image = np.full((100, 200, 3), 128, np.uint8)
    regions = [{**region, "item_index": 1} for region in query_regions([Query(25, 150)], SCHEMA, 100, 200)]
    broken = {"type": "keypointlabels", "from_name": "query", "to_name": "image", "value": None}
    assert draw(image, SCHEMA, [*regions, "x", {}, broken], None) == draw(image, SCHEMA, [], None)
