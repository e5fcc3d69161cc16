"""Semantic FPN with any timm encoder.

Paper: Kirillov et al., Panoptic Feature Pyramid Networks, CVPR 2019; sizes as PixelPick (Shin et al., ICCVW 2021) has
them for ResNet-50: encoder at stride 8, lateral 256, blocks of 128 with group norm, summed. Written from the papers.
Differences: the encoder is timm's, without multi-grid dilation; ViTs give all levels at their stride. Channel dropout
of .2 before the last layer, for stochastic passes. Blocks end at half resolution: their last bilinear enlargement
commutes with the sum and the last layer, so it is done on the logits, with the same answer.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from model_zoo.learners.base import Learner
from model_zoo.learners.finetune import Finetune
from model_zoo.learners.trunk import SegmentationNetwork, Trunk, dropout, load_trunk
from model_zoo.registry import register_learner_family

OUTPUT_STRIDE = 8
LEVELS = 4
FINEST_STRIDE = 4
LATERAL = 256
BLOCK = 128
GROUPS = 32


@register_learner_family(
    listed=("lite0",),
    paper="Kirillov et al., Panoptic FPN, CVPR 2019; Shin et al., PixelPick, ICCVW 2021 (sparse labels)",
    source="ClickPick",
)
def finetune_fpn(encoder: str, device: str) -> Learner:
    """Semantic FPN on {encoder}, trained end to end: wants a GPU."""
    load_trunk(encoder, OUTPUT_STRIDE)  # fails now, not at the first fit

    def build(classes: int) -> SegmentationNetwork:
        return Fpn(load_trunk(encoder, OUTPUT_STRIDE), classes)

    return Finetune(f"finetune-fpn-{encoder}", f"fpn-v1:{encoder}", build, device)


class Ascent(nn.Module):
    """From a level (B, lateral, h, w) of some stride to (B, block, h', w') at about stride 2, by blocks and x2."""

    def __init__(self, stride: int, lateral: int, block: int) -> None:
        super().__init__()
        count = max(1, round(math.log2(stride)))
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(block if place else lateral, block, 3, padding=1, bias=False),
                nn.GroupNorm(min(GROUPS, block // 4), block),
                nn.ReLU(inplace=True),
            )
            for place in range(count)
        )

    def forward(self, level: Tensor) -> Tensor:
        for place, block in enumerate(self.blocks):
            if place:
                level = nnf.interpolate(level, scale_factor=2, mode="bilinear", align_corners=False)
            level = block(level)
        return level


class Fpn(SegmentationNetwork):
    """Logits at about stride 2."""

    def __init__(self, trunk: Trunk, classes: int, *, lateral: int = LATERAL, block: int = BLOCK) -> None:
        """lateral, block: channels of the pyramid and of the blocks."""
        super().__init__()
        self.trunk = trunk
        usable = [i for i, stride in enumerate(trunk.strides) if stride >= FINEST_STRIDE] or [-1]
        self._used = usable[-LEVELS:]
        self.laterals = nn.ModuleList(nn.Conv2d(trunk.channels[i], lateral, 1) for i in self._used)
        self.ascents = nn.ModuleList(Ascent(trunk.strides[i], lateral, block) for i in self._used)
        self.classify = nn.Conv2d(block, classes, 1)

    def encode(self, pixels: Tensor) -> tuple[Tensor, ...]:
        levels = self.trunk(pixels)
        sums: list[Tensor] = []
        for place, lateral in reversed(list(zip(self._used, self.laterals, strict=True))):
            own = lateral(levels[place])
            sums.insert(
                0, own + nnf.interpolate(sums[0], size=own.shape[2:], mode="nearest") if sums else own
            )
        parts = [ascent(level) for ascent, level in zip(self.ascents, sums, strict=True)]
        total = parts[0]
        for part in parts[1:]:
            if part.shape != total.shape:
                part = nnf.interpolate(part, size=total.shape[2:], mode="bilinear", align_corners=False)  # noqa: PLW2901
            total = total + part
        return (total,)

    def decode(self, parts: tuple[Tensor, ...], rng: torch.Generator | None) -> Tensor:
        logits: Tensor = self.classify(dropout(parts[0], 0.2, rng, whole_channels=True))
        return logits
