"""The quick network is the same function."""

from __future__ import annotations

import pytest
import timm
import torch
from timm.layers.conv2d_same import Conv2dSame

from model_zoo.fused import quicken

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("size", [(64, 96), (70, 90), (65, 33)])
def test_a_network_with_tensorflows_padding_answers_as_before(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    network = timm.create_model("tf_efficientnet_lite0", pretrained=False, features_only=True).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_mean, -0.2, 0.2)
            torch.nn.init.uniform_(module.running_var, 0.5, 2.0)
    images = torch.rand(1, 3, *size) * 2.0 - 1.0
    with torch.no_grad():
        expected = network(images)
        quicken(network)
        got = network(images)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in network.modules())
    left = [name for name, module in network.named_modules() if isinstance(module, Conv2dSame)]
    assert sum(not name.endswith(".same") for name in left) == 1, "the stem, which is not depthwise"
    for level, wanted in zip(got, expected, strict=True):
        assert wanted.std() > 1e-3
        assert torch.allclose(level, wanted, atol=1e-3 * float(wanted.abs().max()))
