from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from model_zoo.learners import hypercolumn
from model_zoo.learners.head import Head
from model_zoo.learners.hypercolumn import (
    ENCODER_PIXELS,
    at_pixels,
    build_pyramid,
    encoder_scale,
    probabilities,
    projected,
    vector_length,
)
from tests.model_zoo.learners.learner_pictures import MeanEncoder, stripes

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("height", "width", "scale"),
    [
        (1, 1, 2.0),
        (360, 480, 2.0),
        (500, 500, 2.0),
        (1000, 1000, 1.0),
        (3000, 4000, 0.2887),
        (100, 90_000, 0.3333),
    ],
)
def test_the_encoder_sees_a_bounded_number_of_pixels(height: int, width: int, scale: float) -> None:
    assert encoder_scale(height, width) == pytest.approx(scale, abs=1e-4)
    assert height * width * encoder_scale(height, width) ** 2 <= ENCODER_PIXELS * 1.0001


@pytest.mark.parametrize("size", [(1, 1), (5, 3), (37, 61), (40, 64)])
def test_vectors_have_their_length_at_every_size(encoder: MeanEncoder, size: tuple[int, int]) -> None:
    pyramid = build_pyramid(encoder, stripes(*size)[0])
    corners = np.array([[0, 0], [size[0] - 1, size[1] - 1]], dtype=np.int64)
    vectors = at_pixels(pyramid, corners)
    assert vectors.shape == (2, vector_length(encoder))
    assert vectors.dtype == np.float16
    assert np.isfinite(vectors).all()


def test_a_vector_is_read_at_the_centre_of_its_pixel(encoder: MeanEncoder) -> None:
    """A ramp is its own bilinear interpolation: at twice the size, cells of stride 2 are the image's pixels."""
    ramp = np.broadcast_to((np.arange(64) * 3).astype(np.uint8)[None, :, None], (48, 64, 3)).copy()
    cols = np.arange(8, 56)
    pixels = np.stack([np.full_like(cols, 20), cols], axis=1)
    vectors = at_pixels(build_pyramid(encoder, ramp), pixels).astype(np.float64)
    for level in range(3):
        np.testing.assert_allclose(vectors[:, 3 * level] * 255, cols * 3, atol=0.8)


@pytest.mark.parametrize("size", [(40, 64), (37, 61), (9, 130)])
def test_projecting_first_is_the_same_as_projecting_vectors(
    encoder: MeanEncoder, size: tuple[int, int]
) -> None:
    pyramid = build_pyramid(encoder, stripes(*size)[0])
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn((vector_length(encoder), 5), generator=generator)
    bias = torch.randn(5, generator=generator)
    dense = projected(pyramid, weight, bias)
    # At scale 2 the cells of the grid, of stride 4, are two pixels wide.
    rows, cols = -(-size[0] // 2), -(-size[1] // 2)
    assert dense.shape == (5, rows, cols)
    cells = np.stack(np.divmod(np.arange(rows * cols), cols), axis=1)
    centres: Any = 2 * cells + 0.5  # their centres lie between pixels
    direct = torch.from_numpy(at_pixels(pyramid, centres)).float() @ weight + bias
    torch.testing.assert_close(dense.reshape(5, -1).T, direct, atol=1e-2, rtol=1e-2)


@pytest.mark.parametrize(("strides", "grid"), [((2, 4, 8), 1), ((4, 8), 0), ((2, 8, 16), 1), ((1, 2), 1)])
def test_the_grid_of_predictions_is_the_finest_that_is_not_too_fine(
    encoder: MeanEncoder, strides: tuple[int, ...], grid: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoder, "strides", strides)
    monkeypatch.setattr(encoder, "channels", (3,) * len(strides))
    pyramid = build_pyramid(encoder, stripes(37, 61)[0])
    assert pyramid.grid == grid
    length = vector_length(encoder)
    total = projected(pyramid, torch.full((length, 1), 1 / length), torch.zeros(1))
    assert total.shape[1:] == pyramid.levels[grid].shape[1:]
    assert float(total.min()) >= float(pyramid.levels[0].min()) - 1e-5
    assert float(total.max()) <= float(pyramid.levels[0].max()) + 1e-5


@pytest.mark.parametrize("samples", [1, 3])
@pytest.mark.parametrize("size", [(37, 61), (120, 90)])
def test_dense_probabilities_are_those_of_the_vectors(
    encoder: MeanEncoder, size: tuple[int, int], samples: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hypercolumn, "ENCODER_PIXELS", 4000)  # the larger image is not enlarged
    pyramid = build_pyramid(encoder, stripes(*size)[0])
    generator = torch.Generator().manual_seed(0)
    shapes = (vector_length(encoder), 8), (8,), (8, 4), (4,)
    head = Head(*(torch.randn(shape, generator=generator) for shape in shapes))
    dense = probabilities(pyramid, head, samples)
    assert dense.shape == (samples, 4, *size)
    assert dense.dtype == np.float32
    np.testing.assert_allclose(dense.sum(axis=1), 1, atol=1e-5)
    assert samples == 1 or not np.array_equal(dense[0], dense[1])
    if samples == 1:
        pixels = np.stack(np.divmod(np.arange(size[0] * size[1]), size[1]), axis=1)
        direct = head.probabilities(at_pixels(pyramid, pixels)).T.reshape(4, *size)
        # Between centres of the grid the dense answer interpolates logits, the direct one features.
        assert np.abs(dense[0] - direct).mean() < 0.02
        assert (dense[0].argmax(axis=0) == direct.argmax(axis=0)).mean() > 0.97


@pytest.mark.parametrize(("cells", "factor", "size"), [(4, 2.0, 8), (5, 3.4, 17), (7, 1.0, 7), (3, 16.0, 41)])
def test_enlarging_reads_between_centres_and_goes_on_at_the_edge(
    cells: int, factor: float, size: int
) -> None:
    values = torch.arange(cells, dtype=torch.float32)[None, None].expand(1, cells, cells).contiguous()
    found = hypercolumn.enlarge(values, (factor, factor), (size, size))
    places = ((np.arange(size) + 0.5) / factor - 0.5).clip(0, cells - 1)
    assert found.shape == (1, size, size)
    np.testing.assert_allclose(found[0], np.tile(places, (size, 1)), atol=1e-4)
