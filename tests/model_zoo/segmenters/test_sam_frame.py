"""How images lie in the square of a SAM."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from model_zoo.segmenters.sam_frame import DEVIATION, MEAN, SURE, frame_of

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("height", "width", "inner"),
    [(3000, 4000, (768, 1024)), (481, 333, (1024, 709)), (1, 1, (1024, 1024)), (1, 5000, (1, 1024))],
)
def test_the_longer_side_fills_the_square(height: int, width: int, inner: tuple[int, int]) -> None:
    assert frame_of(height, width, 1024, squashed=False).inner == inner
    assert frame_of(height, width, 1024, squashed=True).inner == (1024, 1024)


@pytest.mark.parametrize("squashed", [False, True])
def test_pixels_are_normalised_and_what_lies_outside_is_zero(squashed: bool) -> None:
    image = np.full((20, 40, 3), (10, 120, 250), dtype=np.uint8)
    image.setflags(write=False)
    pixels = frame_of(20, 40, 64, squashed).pixels(image)
    assert pixels.shape == (1, 3, 64, 64)
    expected = (torch.tensor((10.0, 120.0, 250.0)) - torch.tensor(MEAN)) / torch.tensor(DEVIATION)
    assert torch.allclose(pixels[0, :, :32], expected[:, None, None].expand(3, 32, 64), atol=1e-5)
    below = pixels[0, :, 32:]
    assert (
        torch.allclose(below, expected[:, None, None].expand_as(below), atol=1e-5)
        if squashed
        else not below.any()
    )


def test_points_are_scaled_along_each_side() -> None:
    places = [(10.0, 20.0), (0.0, 40.0)]
    padded = frame_of(20, 40, 64, squashed=False).places(places)
    squashed = frame_of(20, 40, 64, squashed=True).places(places)
    assert padded.tolist() == [[32.0, 16.0], [64.0, 0.0]]
    assert squashed.tolist() == [[32.0, 32.0], [64.0, 0.0]]
    assert frame_of(20, 40, 64, squashed=True).places([]).shape == (0, 2)


@pytest.mark.parametrize("squashed", [False, True])
@pytest.mark.parametrize("shape", [(20, 40), (1, 1), (300, 2), (1, 5000)])
def test_a_mask_comes_back_as_it_went_in(shape: tuple[int, int], squashed: bool) -> None:
    mask = np.zeros(shape, dtype=np.bool_)
    half = (max(shape) + 1) // 2
    mask[:half, :half] = True
    frame = frame_of(*shape, 64, squashed)
    low = frame.start(mask, 16)
    assert low.shape == (16, 16)
    assert np.abs(low).max() <= SURE + 1e-4
    back = frame.enlarge(torch.from_numpy(low)).numpy()
    assert back.shape == shape
    assert ((back > 0) == mask).mean() > 0.8
    if not squashed and shape == (20, 40):
        assert (low[8:] == -SURE).all()
