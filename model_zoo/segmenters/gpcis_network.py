"""The network of GPCIS, as published with a ResNet-50: image and prompts to per-pixel features, a GP layer to logits.

Trunk: ResNet-50 with a stem of three convolutions, dilated to stride 8; prompt maps are added to the stem's output;
decoder: DeepLabV3+. Zhou et al., Interactive Segmentation as Gaussian Process Classification, CVPR 2023; Chen et
al., Encoder-Decoder with Atrous Separable Convolution, ECCV 2018. Compared with github.com/zmhhmz/GPCIS_CVPR2023
(commit 6460415, MIT licence), written from the papers. Deliberate differences: the side branch has the 128 channels
of the stem (there 256, of which all but 128 are cut off); the crop for training is right (``crop_bounds``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional

from model_zoo.prompt import Click
from model_zoo.segmenters.click_maps import NEGATIVE, POSITIVE, PREVIOUS
from model_zoo.segmenters.gpcis_layer import GpLayer, GpOutput, points

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet
SEEN = (PREVIOUS, POSITIVE, NEGATIVE)  # of the channels of click_maps
TRUNK = "resnet50s"
SKIP, WIDE, DEEP = 32, 256, 48  # channels
RATES = (12, 24, 36)


class DeepLab(nn.Module):
    """DeepLabV3+ to stride 4, with something added to the output of its stem, ``stem`` channels.

    trunk: timm's name of a ResNet with a stem of three convolutions.
    """

    def __init__(self, trunk: str = TRUNK) -> None:
        super().__init__()
        made: Any = timm.create_model(
            trunk, pretrained=False, output_stride=8, num_classes=0, zero_init_last=False
        )
        self.trunk = made
        self.stem, fine, *_, coarse = (int(level["num_chs"]) for level in made.feature_info)
        self.pyramid = _Pyramid(coarse)
        self.skip = _block(nn.Conv2d(fine, SKIP, 1, bias=False))
        self.head = nn.Sequential(_separable(WIDE + SKIP), _separable(WIDE), nn.Conv2d(WIDE, DEEP, 1))

    def forward(self, image: Tensor, beside_stem: Tensor) -> Tensor:
        """image: (N, 3, S, S). beside_stem: (N, stem, S / 2, S / 2). Returns (N, DEEP, S / 4, S / 4)."""
        trunk = self.trunk
        stem = trunk.act1(trunk.bn1(trunk.conv1(image))) + beside_stem
        fine = trunk.layer1(trunk.maxpool(stem))
        coarse = self.pyramid(trunk.layer4(trunk.layer3(trunk.layer2(fine))))
        answer: Tensor = self.head(torch.cat([enlarge(coarse, fine), self.skip(fine)], dim=1))
        return answer


class GpcisNetwork(nn.Module):
    """``embed``, ``decode`` and their sum, ``forward``, as trainers of click networks call them.

    images: (B, 3, S, S) in [0, 1], S a multiple of 8. maps: (N, 4, S, S) of click_maps. clicks: those of each of
    the N prompts, in pixels of the maps: the GP layer reads the features under them. ``encoder`` is all that GPCIS
    trains at a tenth of the learning rate.
    """

    def __init__(self, trunk: str = TRUNK) -> None:
        super().__init__()
        self.trunk = trunk
        self.encoder = DeepLab(trunk)
        self.side = nn.Sequential(
            nn.Conv2d(len(SEEN), 16, 3, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(16, self.encoder.stem, 3, padding=1),
        )
        self.side_scale = nn.Parameter(torch.tensor(0.05))
        self.gp = GpLayer(DEEP)
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(DEVIATION).view(1, 3, 1, 1), persistent=False)

    def embed(self, images: Tensor) -> Tensor:
        """Normalised images: prompts enter at the stem, so nothing more can be done before them."""
        return (images - cast("Tensor", self.mean)) / cast("Tensor", self.deviation)

    def features(self, embedding: Tensor, maps: Tensor) -> Tensor:
        """(N, 48 + 3, S, S): unit vectors at stride 4, enlarged, then the normalised colours."""
        deep = self.encoder(embedding, self.side_scale * self.side(maps[:, SEEN]))
        return torch.cat([enlarge(functional.normalize(deep, dim=1), embedding), embedding], dim=1)

    def decode(
        self,
        embedding: Tensor,
        maps: Tensor,
        index: Tensor | None = None,
        *,
        clicks: Sequence[Sequence[Click]],
    ) -> GpOutput:
        """index: (N,) which image each prompt belongs to; None when they correspond. Logits are (N, 1, S, S)."""
        features = self.features(embedding if index is None else embedding[index], maps)
        height, width = features.shape[-2:]
        # The small linear systems need single precision, whatever precision the convolutions ran in.
        with torch.autocast(features.device.type, enabled=False):
            output: GpOutput = self.gp(features.float(), points(clicks, height, width, features.device))
        return output

    def forward(
        self,
        images: Tensor,
        maps: Tensor,
        index: Tensor | None = None,
        *,
        clicks: Sequence[Sequence[Click]],
    ) -> GpOutput:
        return self.decode(self.embed(images), maps, index, clicks=clicks)


class _Pyramid(nn.Module):
    """Atrous pyramid pooling: one 1 x 1, three dilated 3 x 3, the image's mean; to WIDE channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        convolutions = [nn.Conv2d(channels, WIDE, 1, bias=False)] + [
            nn.Conv2d(channels, WIDE, 3, padding=rate, dilation=rate, bias=False) for rate in RATES
        ]
        self.branches = nn.ModuleList(_block(convolution) for convolution in convolutions)
        self.image = nn.Sequential(nn.AdaptiveAvgPool2d(1), _block(nn.Conv2d(channels, WIDE, 1, bias=False)))
        self.project = _block(nn.Conv2d(5 * WIDE, WIDE, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        image = self.image(x).expand(-1, -1, *x.shape[-2:])
        joined: Tensor = self.project(torch.cat([*(branch(x) for branch in self.branches), image], dim=1))
        return joined


def enlarge(values: Tensor, like: Tensor) -> Tensor:
    """Bilinear resampling, corner to corner, to the size of another map."""
    return functional.interpolate(values, size=like.shape[-2:], mode="bilinear", align_corners=True)


def crop_bounds(
    size: tuple[int, int], crop: tuple[int, int], offset: tuple[float, float]
) -> tuple[int, int, int, int]:
    """Top, left, bottom, right of a training crop inside an image that is at least as large.

    offset: shares in [0, 1] of the room for the crop, down and to the right. (In the published code the right edge
    follows from the top offset and the image's width, so that most crops reach the image's right edge.)
    """
    top, left = (
        min(int(share * (side - length + 1)), side - length)
        for share, side, length in zip(offset, size, crop, strict=True)
    )
    return top, left, top + crop[0], left + crop[1]


def _block(convolution: nn.Conv2d) -> nn.Sequential:
    return nn.Sequential(convolution, nn.BatchNorm2d(convolution.out_channels), nn.ReLU())


def _separable(channels: int) -> nn.Sequential:
    depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
    return nn.Sequential(depthwise, _block(nn.Conv2d(channels, WIDE, 1, bias=False)))
