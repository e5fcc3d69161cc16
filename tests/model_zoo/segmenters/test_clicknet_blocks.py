from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from model_zoo.segmenters.clicknet_blocks import CellConv

pytestmark = pytest.mark.unit


def test_a_convolution_of_cells_is_one_of_unshuffled_pixels() -> None:
    torch.manual_seed(0)
    layer = CellConv(4, 6, 4)
    maps = torch.randn(2, 4, 16, 24)
    assert layer.weight.shape == (6, 64, 1, 1), "as in the weight files"
    expected = functional.conv2d(functional.pixel_unshuffle(maps, 4), layer.weight)
    torch.testing.assert_close(layer(maps), expected, atol=1e-5, rtol=1e-4)
