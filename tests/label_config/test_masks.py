from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from label_config import LabelConfigError, data_url_to_mask, mask_to_data_url, mask_to_rle, rle_to_mask
from label_config.rle import decode

pytestmark = pytest.mark.unit

shapes = st.tuples(st.integers(1, 40), st.integers(1, 40))
masks = hnp.arrays(bool, shapes)


def _large() -> np.ndarray:
    rows, cols = np.mgrid[:2011, :4003]
    mask: np.ndarray = (rows // 100 + cols // 70) % 3 == 0
    mask[5, :] = True
    mask[:, 9] = True
    return mask


@given(masks)
def test_rle_gives_the_mask_back(mask: np.ndarray) -> None:
    assert np.array_equal(rle_to_mask(mask_to_rle(mask), *mask.shape), mask)


@given(masks)
def test_bitmask_gives_the_mask_back(mask: np.ndarray) -> None:
    assert np.array_equal(data_url_to_mask(mask_to_data_url(mask), *mask.shape), mask)


@settings(max_examples=5, deadline=None)
@given(st.integers(1, 4000), st.sampled_from([1, 2, 4000]), st.randoms(use_true_random=False))
def test_odd_shapes(height: int, width: int, random: object) -> None:
    mask = np.zeros((height, width), bool)
    mask[height // 3 : height // 2 + 1] = True
    assert np.array_equal(rle_to_mask(mask_to_rle(mask), height, width), mask)
    assert np.array_equal(data_url_to_mask(mask_to_data_url(mask), height, width), mask)


def test_large_masks() -> None:
    mask = _large()
    assert np.array_equal(rle_to_mask(mask_to_rle(mask), *mask.shape), mask)
    assert np.array_equal(data_url_to_mask(mask_to_data_url(mask), *mask.shape), mask)


def test_views_that_are_not_contiguous() -> None:
    mask = _large()[::7, ::5].T
    assert np.array_equal(rle_to_mask(mask_to_rle(mask), *mask.shape), mask)
    assert np.array_equal(data_url_to_mask(mask_to_data_url(mask), *mask.shape), mask)


def test_rle_is_rgba_white_and_opaque_in_the_mask() -> None:
    mask = np.array([[True, False, False]])
    assert decode(mask_to_rle(mask), 12).tolist() == [255] * 4 + [0] * 8


def test_bitmask_shows_white_on_transparent_in_a_browser() -> None:
    content = base64.b64decode(mask_to_data_url(np.array([[True, False]])).split(",")[1])
    pixels = np.asarray(Image.open(io.BytesIO(content)).convert("RGBA"))
    assert pixels[0, 0].tolist() == [255, 255, 255, 255]
    assert pixels[0, 1, 3] == 0


def _png(pixels: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def test_alpha_decides_and_soft_edges_count_from_one_half() -> None:
    pixels = np.zeros((1, 4, 4), np.uint8)
    pixels[0, :, 3] = [0, 127, 128, 255]
    assert data_url_to_mask(_png(pixels), 1, 4).tolist() == [[False, False, True, True]]


def test_opaque_png_is_a_full_mask_as_label_studio_draws_it() -> None:
    assert data_url_to_mask(_png(np.zeros((2, 3), np.uint8)), 2, 3).all()


@pytest.mark.parametrize(
    "url",
    ["", "data:image/jpeg;base64,AAAA", "data:image/png;base64,!!", "data:image/png;base64,AAAA", None, 5],
)
def test_what_is_no_png_is_refused(url: str) -> None:
    with pytest.raises(LabelConfigError):
        data_url_to_mask(url, 1, 1)


def test_truncated_png_is_refused() -> None:
    url = _png(np.random.default_rng(0).integers(0, 255, (64, 64, 4), np.uint8))
    content = base64.b64decode(url.split(",")[1])[:2000]
    with pytest.raises(LabelConfigError):
        data_url_to_mask("data:image/png;base64," + base64.b64encode(content).decode(), 64, 64)


def test_bitmask_of_another_size_is_refused() -> None:
    with pytest.raises(LabelConfigError, match="3x2"):
        data_url_to_mask(mask_to_data_url(np.ones((2, 3), bool)), 3, 2)
