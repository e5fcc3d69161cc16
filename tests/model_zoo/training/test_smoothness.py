from __future__ import annotations

import math

import pytest
import torch

from model_zoo.errors import BadInput
from model_zoo.training.smoothness import SmoothnessScales, smoothness_loss

pytestmark = pytest.mark.unit


def grey(height: int, width: int, level: float = 0.5) -> torch.Tensor:
    return torch.full((1, 3, height, width), level)


def half(height: int, width: int) -> torch.Tensor:
    """0 to the left, 1 to the right."""
    values = torch.zeros(1, 1, height, width)
    values[..., width // 2 :] = 1.0
    return values


def test_constant_maps_cost_nothing() -> None:
    image = torch.rand(2, 3, 12, 10, generator=torch.Generator().manual_seed(0))
    assert float(smoothness_loss(torch.full((2, 1, 12, 10), 0.3), image)) == 0.0


def test_an_edge_costs_in_a_flat_region_and_less_on_a_colour_edge() -> None:
    probabilities, coloured = half(12, 16), grey(12, 16)
    coloured[:, 0, :, 8:] = 0.9
    flat, on_edge = (float(smoothness_loss(probabilities, image)) for image in (grey(12, 16), coloured))
    assert flat > 0.01
    assert 0 <= on_edge < 0.01 * flat


def test_a_colour_edge_elsewhere_does_not_help() -> None:
    image = grey(12, 16)
    image[:, :, :, 12:] = 0.1
    shifted = float(smoothness_loss(half(12, 16), image))
    assert shifted == pytest.approx(float(smoothness_loss(half(12, 16), grey(12, 16))), rel=1e-6)


def test_a_3x3_map_by_hand() -> None:
    """Of the 8 neighbours in a 3x3 window the lit centre differs from all; 4 corners see it once, 4 sides once.

    Neighbours beyond the border repeat dark pixels. So 8 differences at the centre and one in each of the 8 others:
    at distance 1 twice 4 times, at distance sqrt(2) twice 4 times, over 9 pixels and 8 neighbours.
    """
    probabilities = torch.zeros(1, 1, 3, 3)
    probabilities[0, 0, 1, 1] = 0.6
    scales = SmoothnessScales(position=2.0)
    expected = 0.6 * (8 * math.exp(-1 / 8) + 8 * math.exp(-2 / 8)) / (9 * 8)
    assert float(smoothness_loss(probabilities, grey(3, 3), radius=1, scales=scales)) == pytest.approx(
        expected
    )


@pytest.mark.parametrize(
    ("colour", "luma", "u", "v"),
    [
        ((1.0, 0.0, 0.0), 0.299, -0.147, 0.615),
        ((0.0, 1.0, 0.0), 0.587, -0.289, -0.515),
        ((0.0, 0.0, 1.0), 0.114, 0.436, -0.100),
    ],
)
def test_the_affinity_is_that_of_yuv(colour: tuple[float, ...], luma: float, u: float, v: float) -> None:
    """Two pixels side by side: of 9 x 2 - 2 neighbours, each pixel's three in the other column differ."""
    image = torch.zeros(1, 3, 1, 2)
    image[0, :, 0, 1] = torch.tensor(colour) * 0.1
    scales = SmoothnessScales(position=3.0, luma=20.0, chroma=10.0)
    exponent = (25.5 * luma) ** 2 / (2 * 400) + 25.5**2 * (u * u + v * v) / (2 * 100)
    spatial = math.exp(-1 / 18) + 2 * math.exp(-2 / 18)
    expected = 2 * spatial * math.exp(-exponent) / (2 * 8)
    got = smoothness_loss(half(1, 2), image, radius=1, scales=scales)
    assert float(got) == pytest.approx(expected, rel=1e-5)


def test_the_whole_5x5_window_counts() -> None:
    """A pixel two columns from the change still sees it; with a radius of 1 it would not."""
    probabilities = half(1, 8).requires_grad_()
    smoothness_loss(probabilities, grey(1, 8)).backward()
    assert probabilities.grad is not None
    reached = probabilities.grad[0, 0, 0] != 0
    assert reached.tolist() == [False, False, True, True, True, True, False, False]


def test_gradients_agree_with_differences() -> None:
    generator = torch.Generator().manual_seed(1)
    probabilities = torch.rand(2, 1, 5, 4, generator=generator)
    image = torch.rand(2, 3, 5, 4, generator=generator) * 0.1
    probabilities.requires_grad_()
    smoothness_loss(probabilities, image).backward()
    assert probabilities.grad is not None
    step = 1e-3
    for place in [(0, 0, 0, 0), (0, 0, 2, 3), (1, 0, 4, 1), (1, 0, 2, 2)]:
        moved = torch.zeros_like(probabilities)
        moved[place] = step
        with torch.no_grad():
            up, down = (smoothness_loss(probabilities + sign * moved, image) for sign in (1, -1))
        assert float(probabilities.grad[place]) == pytest.approx(float(up - down) / (2 * step), abs=3e-4)
    assert float(probabilities.grad.abs().max()) > 3e-3


def test_the_image_is_resized_and_gets_no_gradient() -> None:
    image = grey(48, 64)
    image[:, :, :, 32:] = 0.9
    image.requires_grad_()
    probabilities = half(12, 16).requires_grad_()
    small = smoothness_loss(probabilities, image)
    small.backward()
    assert image.grad is None
    assert float(small.detach()) < 0.2 * float(smoothness_loss(half(12, 16), grey(48, 64)))


def test_half_precision_maps_are_summed_in_float32() -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = smoothness_loss(half(12, 16).bfloat16(), grey(12, 16))
    assert loss.dtype == torch.float32
    assert float(loss) == pytest.approx(float(smoothness_loss(half(12, 16), grey(12, 16))), rel=1e-6)


@pytest.mark.parametrize(
    ("maps", "images"),
    [((1, 2, 4, 4), (1, 3, 4, 4)), ((1, 1, 4, 4), (2, 3, 4, 4)), ((1, 4, 4), (1, 3, 4, 4))],
)
def test_wrong_shapes_are_refused(maps: tuple[int, ...], images: tuple[int, ...]) -> None:
    with pytest.raises(BadInput, match=r"expected \(B, 1, h, w\)"):
        smoothness_loss(torch.zeros(maps), torch.zeros(images))


def test_a_window_of_one_pixel_is_refused() -> None:
    with pytest.raises(BadInput, match="radius is 0"):
        smoothness_loss(half(4, 4), grey(4, 4), radius=0)
