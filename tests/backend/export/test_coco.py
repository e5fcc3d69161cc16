"""pycocotools reads back what was written, pixel by pixel, with the areas and boxes that it computes itself."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask as coco_masks

from backend.export.coco import coco_object, encode

pytestmark = [
    pytest.mark.unit,
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy"),  # in pycocotools
]

masks = hnp.arrays(bool, st.tuples(st.integers(1, 40), st.integers(1, 40)))


@settings(deadline=None)
@given(masks)
def test_the_code_is_that_of_pycocotools(mask: np.ndarray) -> None:
    theirs = coco_masks.encode(np.asfortranarray(mask, np.uint8))
    ours = encode(mask)
    assert ours["size"] == theirs["size"]
    assert ours["counts"].encode() == theirs["counts"]
    assert np.array_equal(coco_masks.decode(ours), mask)


@pytest.mark.parametrize("shape", [(3000, 2000), (1, 70000), (70000, 1)])
def test_long_runs_take_several_digits(shape: tuple[int, int]) -> None:
    mask = np.zeros(shape, bool)
    mask[shape[0] // 3 : shape[0] // 2 + 1, shape[1] // 4 : shape[1] // 2 + 1] = True
    assert encode(mask)["counts"].encode() == coco_masks.encode(np.asfortranarray(mask, np.uint8))["counts"]


@settings(deadline=None)
@given(masks.filter(lambda mask: bool(mask.any())))
def test_area_and_box_are_those_of_the_mask(mask: np.ndarray) -> None:
    found = coco_object(mask, 3)
    assert found["category_id"] == 4
    assert found["area"] == coco_masks.area(found["segmentation"])
    assert found["bbox"] == coco_masks.toBbox(found["segmentation"]).tolist()
