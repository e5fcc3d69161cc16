"""ResNet-34 DeepLabV3+ as RITM has it, in the four parts between which backprop refinement may step in.

Chen et al., Encoder-Decoder with Atrous Separable Convolution, ECCV 2018. Compared with
github.com/SamsungLabs/ritm_interactive_segmentation (commit b9b4460, MIT licence), written from a description; the
trunk's layers are timm's (Apache-2.0), dilated to stride 8.
"""

from __future__ import annotations

from typing import Any, Literal, cast

import timm
import torch
from torch import Tensor, nn

from model_zoo.segmenters.predictor_maps import resize

SKIP = 32  # channels of the fine features beside the decoder's
RATES = (12, 24, 36)
Place = Literal["A", "B", "C"]  # where a network is cut in two, after f-BRS


class ResNetTrunk(nn.Module):
    """Normalised images (B, 3, H, W) to features of strides 4 and 8; ``beside`` is added after the stem.

    name: of a ResNet of timm's. ``layers`` are timm's without its classifier, under the published names.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        made = timm.create_model(name, pretrained=False, output_stride=8, num_classes=0)
        self.layers: Any = cast("Any", made)
        self.fine, self.coarse = (int(self.layers.feature_info[level]["num_chs"]) for level in (1, 4))

    def forward(self, image: Tensor, beside: Tensor) -> tuple[Tensor, Tensor]:
        layers = self.layers
        stem = layers.maxpool(layers.act1(layers.bn1(layers.conv1(image))) + beside)
        fine = layers.layer1(stem)
        return fine, layers.layer4(layers.layer3(layers.layer2(fine)))


class AtrousPyramid(nn.Module):
    """One 1 x 1, three dilated 3 x 3 convolutions and the image's mean, joined."""

    def __init__(self, before: int, channels: int, dropout: float) -> None:
        super().__init__()
        dilated = [nn.Conv2d(before, channels, 3, padding=rate, dilation=rate, bias=False) for rate in RATES]
        branches = [
            nn.Sequential(*_normalised(layer))
            for layer in (nn.Conv2d(before, channels, 1, bias=False), *dilated)
        ]
        mean = [nn.AdaptiveAvgPool2d(1), *_normalised(nn.Conv2d(before, channels, 1, bias=False))]
        self.branches = nn.ModuleList([*branches, nn.Sequential(*mean)])
        joined = nn.Conv2d(5 * channels, channels, 1, bias=False)
        self.project = nn.Sequential(*_normalised(joined), nn.Dropout(dropout))

    def forward(self, features: Tensor) -> Tensor:
        *branches, last = self.branches
        mean = resize(last(features), *features.shape[-2:])
        joined: Tensor = self.project(torch.cat([*(branch(features) for branch in branches), mean], dim=1))
        return joined


class DeepLab(nn.Module):
    """Normalised images to logits; ``beside``: (B, 64, ceil(H / 2), ceil(W / 2)), added to the stem's output.

    trunk: a ResNet of timm's. channels: of the decoder. dropout: in training, before the decoder.
    """

    def __init__(self, trunk: str = "resnet34", channels: int = 128, dropout: float = 0.2) -> None:
        super().__init__()
        self.trunk = ResNetTrunk(trunk)
        self.aspp = AtrousPyramid(self.trunk.coarse, channels, dropout)
        self.skip_project = nn.Sequential(*_normalised(nn.Conv2d(self.trunk.fine, SKIP, 1, bias=False)))
        self.decoder = _separable_head(channels + SKIP, channels, channels)
        self.head = _separable_head(channels, channels // 2, 1)

    @property
    def last(self) -> nn.Conv2d:
        """What makes the logits."""
        return cast("nn.Conv2d", self.head[-1])

    def begin(self, image: Tensor, beside: Tensor, place: Place) -> tuple[Tensor, ...]:
        """A: coarse and fine features. B: both joined, at stride 4. C: the decoder's features."""
        fine, coarse = self.trunk(image, beside)
        features = coarse, self.skip_project(fine)
        if place == "A":
            return features
        joined = self._join(*features)
        return (joined,) if place == "B" else (self.decoder(joined),)

    def finish(self, features: tuple[Tensor, ...], place: Place) -> Tensor:
        """Logits (B, 1, h, w) at stride 4."""
        if place == "A":
            features = (self._join(*features),)
        logits: Tensor = self.head(features[0] if place == "C" else self.decoder(features[0]))
        return logits

    def _join(self, coarse: Tensor, fine: Tensor) -> Tensor:
        return torch.cat([resize(self.aspp(coarse), *fine.shape[-2:]), fine], dim=1)


def _normalised(convolution: nn.Conv2d) -> list[nn.Module]:
    return [convolution, nn.BatchNorm2d(convolution.out_channels), nn.ReLU()]


def _separable(before: int, after: int) -> nn.Sequential:
    depthwise = nn.Conv2d(before, before, 3, padding=1, groups=before, bias=False)
    return nn.Sequential(depthwise, *_normalised(nn.Conv2d(before, after, 1, bias=False)))


def _separable_head(before: int, middle: int, after: int) -> nn.Sequential:
    return nn.Sequential(_separable(before, middle), _separable(middle, middle), nn.Conv2d(middle, after, 1))
