"""The refiner of FocalClick: a few cheap convolutions over a small crop at full resolution.

Chen et al., FocalClick, CVPR 2022, section 3.3; written from a description. All convolutions have a bias, batch
normalisation and ReLU follow.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

from model_zoo.segmenters.predictor_maps import resize

WIDTH = 32  # channels


def _norm_relu(channels: int) -> tuple[tuple[str, nn.Module], tuple[str, nn.Module]]:
    return ("norm", nn.BatchNorm2d(channels)), ("activation", nn.ReLU())


def _convolution(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2)
    return nn.Sequential(OrderedDict([("conv", convolution), *_norm_relu(outputs)]))


def _separable(channels: int) -> nn.Sequential:
    depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
    pointwise = nn.Conv2d(channels, channels, 1)
    layers = [("conv3x3", depthwise), ("conv1x1", pointwise), *_norm_relu(channels)]
    return nn.Sequential(OrderedDict(layers))


class Refiner(nn.Module):
    """Better logits of a crop, mixed with the coarse ones by a map of where the border is."""

    def __init__(self, channels: int) -> None:
        """channels: of the trunk's features."""
        super().__init__()
        self.image_conv1 = _convolution(6, WIDTH, 3, stride=2)
        self.image_conv2 = _separable(WIDTH)
        self.image_conv3 = _separable(WIDTH)
        self.refine_fusion = _convolution(channels, WIDTH, 1)
        self.refine_fusion2 = _separable(WIDTH)
        self.refine_fusion3 = _separable(WIDTH)
        self.refine_pred = nn.Conv2d(WIDTH, 1, 3, padding=1)
        self.refine_trimap = nn.Conv2d(WIDTH, 1, 3, padding=1)

    def forward(self, image: Tensor, clicks: Tensor, features: Tensor, coarse: Tensor) -> Tensor:
        """Logits (B, 1, h, w). image: (B, 3, h, w) in [0, 1], not normalised. clicks: (B, 2, h, w) disks.

        features: (B, channels, h', w') of the crop. coarse: (B, 1, h, w) logits of the crop.
        """
        height, width = coarse.shape[-2:]
        pixels: Tensor = self.image_conv1(torch.cat((image, clicks, torch.sigmoid(coarse)), dim=1))
        pixels = self.image_conv3(self.image_conv2(pixels))
        mixed = pixels + resize(self.refine_fusion(features), pixels.shape[-2], pixels.shape[-1])
        mixed = self.refine_fusion3(self.refine_fusion2(mixed))
        details = resize(self.refine_pred(mixed), height, width)
        border = torch.sigmoid(resize(self.refine_trimap(mixed), height, width))
        return border * details + (1.0 - border) * coarse
