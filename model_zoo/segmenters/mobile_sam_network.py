"""MobileSAM: SAM's decoder behind a TinyViT.

Zhang et al., Faster Segment Anything: Towards Lightweight SAM for Mobile Applications, 2023, and its published code
(github.com/ChaoningZhang/MobileSAM, commit 34bbbfd, Apache-2.0). The trunk is timm's ``tiny_vit_5m``, whose last stage
does not halve the resolution here; the classifier, which the published file carries unused, is left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any

from torch import Tensor, nn

from model_zoo.segmenters.sam_network import CHANNELS, VitSam, VitSize

TRUNK = "tiny_vit_5m_224"


@dataclass(frozen=True)
class TinyVitSize:
    """Of MobileSAM's image encoder, stage by stage."""

    widths: tuple[int, int, int, int] = (64, 128, 160, 320)
    depths: tuple[int, int, int, int] = (2, 2, 6, 2)
    heads: tuple[int, int, int, int] = (2, 4, 5, 10)
    windows: tuple[int, int, int, int] = (7, 7, 14, 7)
    side: int = 1024


TINY = TinyVitSize(
    widths=(8, 16, 16, 32), depths=(1, 1, 2, 1), heads=(1, 2, 2, 4), windows=(3, 3, 3, 3), side=64
)


class MobileSam(VitSam):
    """SAM whose image encoder is a TinyViT."""

    def __init__(self, size: TinyVitSize) -> None:
        # The transformer of SAM has no block here, and gives way.
        super().__init__(VitSize(width=2, depth=0, heads=1, whole=(), side=size.side))
        self.model.vision_encoder = _TinyVitEncoder(size)


class _TinyVitEncoder(nn.Module):
    """(1, 3, side, side) to (1, CHANNELS, side / 16, side / 16), in a tuple as transformers' encoders answer."""

    def __init__(self, size: TinyVitSize) -> None:
        super().__init__()
        timm = import_module("timm")
        self.trunk: Any = timm.create_model(
            TRUNK, pretrained=False, num_classes=0, embed_dims=size.widths, depths=size.depths,
            num_heads=size.heads, window_sizes=size.windows,
        )  # fmt: skip
        self.trunk.head = nn.Identity()
        self.trunk.stages[3].downsample.conv2.conv.stride = (1, 1)
        norm = timm.layers.LayerNorm2d
        self.neck = nn.Sequential(
            nn.Conv2d(size.widths[3], CHANNELS, 1, bias=False),
            norm(CHANNELS, eps=1e-6),
            nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, bias=False),
            norm(CHANNELS, eps=1e-6),
        )

    def forward(self, pixels: Tensor) -> tuple[Tensor]:
        features = self.trunk.stages(self.trunk.patch_embed(pixels))
        embedding: Tensor = self.neck(features)
        return (embedding,)
