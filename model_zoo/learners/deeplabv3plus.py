"""DeepLabV3+ with any timm encoder.

Paper: Chen et al., Encoder-Decoder with Atrous Separable Convolution, ECCV 2018; sizes as PixelPick (Shin et al.,
ICCVW 2021) has them for MobileNetV2: output stride 16, plain convolutions, dropout .5, .5, .2. Written from the papers.
Differences: the encoder is timm's, dilated by timm; ViTs, which cannot be dilated, give both levels at their stride.
"""

from __future__ import annotations

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from model_zoo.learners.base import Learner
from model_zoo.learners.finetune import Finetune
from model_zoo.learners.finetune_policy import DEFAULT, PIXELPICK, FinetunePolicy
from model_zoo.learners.trunk import SegmentationNetwork, Trunk, dropout, load_trunk
from model_zoo.registry import register_learner_family

OUTPUT_STRIDE = 16
RATES = (6, 12, 18)
CONTEXT = 256
LOW_LEVEL = 48
LOW_LEVEL_STRIDE = 4


@register_learner_family(
    listed=("lite0",),
    paper="Chen et al., DeepLabV3+, ECCV 2018; Shin et al., PixelPick, ICCVW 2021 (sparse labels)",
    source="ClickPick",
)
def finetune_deeplabv3plus(encoder: str, device: str) -> Learner:
    """DeepLabV3+ on {encoder}, trained end to end: wants a GPU."""
    return _learner("finetune", encoder, device, DEFAULT)


@register_learner_family(
    listed=(),
    paper="Shin et al., PixelPick, ICCVW 2021; Chen et al., DeepLabV3+, ECCV 2018",
    source="ClickPick",
)
def pixelpick_deeplabv3plus(encoder: str, device: str) -> Learner:
    """DeepLabV3+ on {encoder}, trained as PixelPick's authors do, for comparisons: wants a GPU."""
    return _learner("pixelpick", encoder, device, PIXELPICK)


def _learner(kind: str, encoder: str, device: str, policy: FinetunePolicy) -> Finetune:
    load_trunk(encoder, OUTPUT_STRIDE)  # fails now, not at the first fit

    def build(classes: int) -> SegmentationNetwork:
        return DeepLabV3Plus(load_trunk(encoder, OUTPUT_STRIDE), classes)

    name = f"{kind}-deeplabv3plus-{encoder}"
    return Finetune(name, f"deeplabv3plus-v1:{encoder}", build, device, policy=policy)


def _block(inputs: int, outputs: int, kernel: int = 1, rate: int = 1) -> nn.Sequential:
    """Convolution, batch norm, ReLU; sides stay."""
    padding = rate * (kernel // 2)
    conv = nn.Conv2d(inputs, outputs, kernel, padding=padding, dilation=rate, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


class Aspp(nn.Module):
    """Atrous spatial pyramid pooling: context at several distances, and of the whole image."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            [_block(inputs, width), *(_block(inputs, width, 3, rate) for rate in RATES)]
        )
        self.pooled = _block(inputs, width)
        self.project = _block((len(RATES) + 2) * width, width)

    def forward(self, level: Tensor) -> Tensor:
        mean = self.pooled(level.mean(dim=(2, 3), keepdim=True)).expand(-1, -1, *level.shape[2:])
        projected: Tensor = self.project(
            torch.cat([*(branch(level) for branch in self.branches), mean], dim=1)
        )
        return projected


class DeepLabV3Plus(SegmentationNetwork):
    """Logits on the grid of the low level, stride 4 where the encoder has it."""

    def __init__(
        self, trunk: Trunk, classes: int, *, context: int = CONTEXT, low_level: int = LOW_LEVEL
    ) -> None:
        """context, low_level: channels of the context and the decoder, and of what the low level adds."""
        super().__init__()
        self.trunk = trunk
        self._low = next((i for i, stride in enumerate(trunk.strides) if stride >= LOW_LEVEL_STRIDE), 0)
        self.context = Aspp(trunk.channels[-1], context)
        self.low_level = _block(trunk.channels[self._low], low_level)
        self.first = _block(context + low_level, context, 3)
        self.second = _block(context, context, 3)
        self.classify = nn.Conv2d(context, classes, 1)

    def encode(self, pixels: Tensor) -> tuple[Tensor, ...]:
        levels = self.trunk(pixels)
        return self.low_level(levels[self._low]), self.context(levels[-1])

    def decode(self, parts: tuple[Tensor, ...], rng: torch.Generator | None) -> Tensor:
        low, context = parts
        context = dropout(context, 0.5, rng)
        context = nnf.interpolate(context, size=low.shape[2:], mode="bilinear", align_corners=False)
        values = dropout(self.first(torch.cat([context, low], dim=1)), 0.5, rng)
        logits: Tensor = self.classify(dropout(self.second(values), 0.2, rng))
        return logits
