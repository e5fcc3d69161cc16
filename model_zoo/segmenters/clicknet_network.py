"""The network of ``clicknet``: late fusion of an image pyramid, computed once, with prompt maps, at every click.

Fusion of dense prompt maps by addition after the image encoder follows Liu et al., SegNext, CVPR 2024; the click
maps and the feedback of the previous mask follow RITM (2102.06583). The architecture is ClickPick's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional

from model_zoo.segmenters.click_maps import CHANNELS, INSIDE, NEGATIVE, POSITIVE
from model_zoo.segmenters.clicknet_blocks import (
    Attention,
    CellConv,
    Residual,
    conv,
    enlarge,
    pool,
    weighted_mean,
)

MULTIPLE = 32  # sides of the images that the encoder takes


@dataclass(frozen=True)
class ClickNetShape:
    """Sizes that a weight file depends on; they travel in its metadata."""

    encoder: str = "tf_efficientnet_lite0"
    wide: int = 128  # channels at stride 16
    middle: int = 64  # at stride 8
    fine: int = 48  # at stride 4
    finest: int = 24  # at stride 2
    attention_blocks: int = 2
    heads: int = 4


class Pyramid(NamedTuple):
    """Image features, (B, C, H / s, W / s) at strides 2, 4, 8 and 16: all that is kept of an image."""

    s2: Tensor
    s4: Tensor
    s8: Tensor
    s16: Tensor


class Logits(NamedTuple):
    """fine: (N, 1, H / 2, W / 2), the answer. coarse: (N, 1, H / 4, W / 4), an auxiliary output for training."""

    fine: Tensor
    coarse: Tensor

    @property
    def answer(self) -> Tensor:
        return self.fine

    @property
    def auxiliary(self) -> tuple[Tensor, ...]:
        return (self.coarse,)

    @property
    def penalty(self) -> float:
        return 0.0


class Neck(nn.Module):
    """Encoder levels of strides 2 to 32 to the pyramid, from the top down."""

    def __init__(self, channels: list[int], shape: ClickNetShape) -> None:
        super().__init__()
        widths = (shape.finest, shape.fine, shape.middle, shape.wide, shape.wide)
        self.lateral = nn.ModuleList(conv(c, w, kernel=1) for c, w in zip(channels, widths, strict=True))
        self.down = nn.ModuleList(
            nn.Conv2d(upper, lower, 1, bias=False)
            for upper, lower in zip(widths[2:], widths[1:-1], strict=True)
        )
        self.smooth = nn.ModuleList(conv(width, width) for width in widths[1:-1])
        self.context = nn.Linear(shape.wide, shape.wide)

    def forward(self, levels: list[Tensor]) -> Pyramid:
        s2, s4, s8, s16, top = (lateral(level) for lateral, level in zip(self.lateral, levels, strict=True))
        top = top + self.context(top.mean(dim=(2, 3)))[:, :, None, None]
        s16 = self.smooth[2](s16 + enlarge(self.down[2](top), s16))
        s8 = self.smooth[1](s8 + enlarge(self.down[1](s16), s8))
        s4 = self.smooth[0](s4 + enlarge(self.down[0](s8), s4))
        return Pyramid(s2, s4, s8, s16)


class Decoder(nn.Module):
    """Pyramid and prompt maps to logits: all that runs at a click."""

    def __init__(self, shape: ClickNetShape) -> None:
        super().__init__()
        wide, middle, fine, finest = shape.wide, shape.middle, shape.fine, shape.finest
        cells = nn.Sequential(CellConv(CHANNELS, fine, 4), nn.BatchNorm2d(fine), nn.ReLU(inplace=True))
        self.stem = nn.Sequential(cells, conv(fine, fine))
        self.to_s8, self.to_s16 = conv(fine, middle, stride=2), conv(middle, wide, stride=2)
        self.clicked = nn.Sequential(nn.Linear(3 * wide, wide), nn.ReLU(inplace=True), nn.Linear(wide, wide))
        self.likeness = nn.Conv2d(middle, 32, 1)
        self.likeness_in = nn.Conv2d(2, middle, 1)
        blocks: list[nn.Module] = [Residual(wide)]
        for _ in range(shape.attention_blocks):
            blocks += [Attention(wide, shape.heads), Residual(wide, dilation=2)]
        self.s16 = nn.Sequential(*blocks)
        self.s8 = nn.Sequential(Residual(middle), Residual(middle))
        self.s4 = nn.Sequential(Residual(fine), conv(fine, fine))
        self.from_s16, self.from_s8 = nn.Conv2d(wide, middle, 1), nn.Conv2d(middle, fine, 1)
        self.from_s4 = nn.Conv2d(fine, finest, 1)
        self.coarse = nn.Conv2d(fine, 1, 1)
        self.refine = nn.Sequential(conv(finest, finest), nn.Conv2d(finest, 1, 3, 1, 1))

    def forward(self, pyramid: Pyramid, maps: Tensor) -> Logits:
        """maps: (N, 4, H, W), one pyramid entry each."""
        prompt4 = self.stem(maps)
        prompt8 = self.to_s8(prompt4)
        signs = maps[:, (POSITIVE, NEGATIVE)]
        inside = maps[:, INSIDE : INSIDE + 1]
        x = pyramid.s16 + self.to_s16(prompt8) + self._clicked(pyramid.s16, signs, inside)
        x = self.s16(x)
        x = pyramid.s8 + prompt8 + enlarge(self.from_s16(x), pyramid.s8) + self._alike(pyramid.s8, signs)
        x = self.s8(x)
        x = self.s4(pyramid.s4 + prompt4 + enlarge(self.from_s8(x), pyramid.s4))
        coarse = self.coarse(x)
        x = self.refine(pyramid.s2 + enlarge(self.from_s4(x), pyramid.s2))
        return Logits(x + enlarge(coarse, x), coarse)

    def _clicked(self, features: Tensor, signs: Tensor, inside: Tensor) -> Tensor:
        """(N, wide, 1, 1) from the mean features under positive prompts, negative ones, and everywhere."""
        weights = pool(torch.cat((signs, 0.01 * inside), 1), features)
        positive = weighted_mean(features, weights[:, :1] + weights[:, 2:])
        means = (positive, weighted_mean(features, weights[:, 1:2]), features.mean(dim=(2, 3)))
        answer: Tensor = self.clicked(torch.cat(means, dim=1))[:, :, None, None]
        return answer

    def _alike(self, features: Tensor, signs: Tensor) -> Tensor:
        """(N, middle, h, w) from the cosine between each position and the positively, negatively clicked ones."""
        keys = functional.normalize(self.likeness(features), dim=1)
        weights = pool(signs, features)
        cosines = [
            (keys * weighted_mean(keys, weights[:, i : i + 1])[:, :, None, None]).sum(1, keepdim=True)
            for i in (0, 1)
        ]
        answer: Tensor = self.likeness_in(torch.cat(cosines, dim=1))
        return answer


class ClickNetwork(nn.Module):
    """Encoder, neck and decoder. ``embed`` runs once an image, ``decode`` at every click.

    images: (B, 3, H, W) in [0, 1], sides multiples of 32. ``trained_stages``: how many of the encoder's last
    stages learn in train mode; its batch normalisation keeps its statistics in any case.
    """

    def __init__(self, shape: ClickNetShape | None = None, trained_stages: int = 0) -> None:
        super().__init__()
        self.shape = shape or ClickNetShape()
        encoder: Any = timm.create_model(self.shape.encoder, pretrained=False, features_only=True)
        self.encoder = encoder
        self.neck = Neck(encoder.feature_info.channels(), self.shape)
        self.decoder = Decoder(self.shape)
        self.trained_stages = trained_stages

    def train(self, mode: bool = True) -> ClickNetwork:
        super().train(mode)
        self.encoder.eval().requires_grad_(False)
        stages = len(self.encoder.blocks)
        self.encoder.blocks[stages - self.trained_stages :].requires_grad_(mode)
        return self

    def embed(self, images: Tensor) -> Pyramid:
        pyramid: Pyramid = self.neck(self.encoder(images * 2.0 - 1.0))
        return pyramid

    def decode(
        self,
        pyramid: Pyramid,
        maps: Tensor,
        index: Tensor | None = None,
        *,
        clicks: object = (),  # noqa: ARG002 - for networks that need them as points; here the maps say all
    ) -> Logits:
        """index: (N,) which image of the pyramid each prompt belongs to; None when they correspond."""
        if index is not None:
            pyramid = Pyramid(*(level[index] for level in pyramid))
        logits: Logits = self.decoder(pyramid, maps)
        return logits

    def forward(
        self, images: Tensor, maps: Tensor, index: Tensor | None = None, *, clicks: object = ()
    ) -> Logits:
        return self.decode(self.embed(images), maps, index, clicks=clicks)
