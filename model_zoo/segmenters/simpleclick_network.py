"""The network of SimpleClick: a plain vision transformer with clicks among its patches, a pyramid, a small head.

Liu et al., SimpleClick: Interactive Image Segmentation with Simple Vision Transformers, ICCV 2023. Compared with
github.com/uncbiag/SimpleClick (commit f33112e, MIT licence), written from a description; the blocks are timm's.
Deliberate differences: what the published network holds and never runs (class token, last norm, classifier, two
enlarging layers) is left out; the position embedding stays as it was trained and is resized for each input.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import torch
from timm.models.vision_transformer import Block
from torch import Tensor, nn
from torch.nn import functional

from model_zoo.errors import BadInput

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet
WINDOW = 224  # side in pixels of what a block sees that does not see all tokens


@dataclass(frozen=True)
class Sizes:
    """width: channels of a token. pyramid: channels at strides 4, 8, 16, 32. head: channels of the head.

    grid: tokens along a side of the images that it was trained on. window: side of a window in pixels.
    """

    width: int
    depth: int
    heads: int
    patch: int
    pyramid: tuple[int, int, int, int]
    head: int = 256
    grid: int = 28
    window: int = WINDOW

    @property
    def group(self) -> int:
        """Of so many blocks the last one sees all tokens, the others those of their window."""
        return 6 if self.depth == 12 else self.depth // 4


class SimpleClickNetwork(nn.Module):
    """Image and click maps to logits; sides must be multiples of the patch that whole windows tile."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.sizes = sizes
        side = sizes.patch
        self.patches = nn.Conv2d(3, sizes.width, side, stride=side)
        self.clicks = nn.Conv2d(3, sizes.width, side, stride=side)
        self.positions = nn.Parameter(0.02 * torch.randn(1, sizes.grid**2, sizes.width))
        norm: Any = partial(nn.LayerNorm, eps=1e-6)
        self.blocks = nn.ModuleList(
            Block(sizes.width, sizes.heads, mlp_ratio=4.0, qkv_bias=True, norm_layer=norm)
            for _ in range(sizes.depth)
        )
        self.pyramid = Pyramid(sizes.width, sizes.pyramid)
        self.head = Head(sizes.pyramid, sizes.head)
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(DEVIATION).view(1, 3, 1, 1), persistent=False)

    def forward(self, image: Tensor, maps: Tensor) -> Tensor:
        """Logits (B, 1, H, W).

        image: (B, 4, H, W): RGB in [0, 1] and the probability before. maps: (B, 2, H, W): positive, negative disks.
        """
        height, width = image.shape[-2:]
        grid = self._grid(height, width)
        pixels = (image[:, :3] - cast("Tensor", self.mean)) / cast("Tensor", self.deviation)
        clicks = torch.cat((image[:, 3:], maps), dim=1)
        tokens = (self.patches(pixels) + self.clicks(clicks)).flatten(2).transpose(1, 2)
        tokens = self._transform(tokens + self._positions(grid), grid)
        features = tokens.transpose(1, 2).reshape(len(tokens), -1, *grid)
        logits: Tensor = self.head(self.pyramid(features))
        return functional.interpolate(logits, size=(height, width), mode="bilinear", align_corners=True)

    def _grid(self, height: int, width: int) -> tuple[int, int]:
        """Tokens down and across; raises BadInput for sizes that cannot be cut."""
        patch, tokens = self.sizes.patch, self.sizes.window // self.sizes.patch
        grid = height // patch, width // patch
        for pixels, count in zip((height, width), grid, strict=True):
            if pixels % patch or not count or count % windows(count, tokens):
                raise BadInput(
                    f"image is {height}x{width}; this network takes multiples of {self.sizes.window} pixels"
                )
        return grid

    def _positions(self, grid: tuple[int, int]) -> Tensor:
        """(1, tokens, width), for a grid of that size."""
        side = self.sizes.grid
        if grid == (side, side):
            return self.positions
        planes = self.positions.transpose(1, 2).reshape(1, -1, side, side)
        planes = functional.interpolate(planes, size=grid, mode="bicubic", align_corners=False)
        return planes.flatten(2).transpose(1, 2)

    def _transform(self, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        """tokens: (B, tokens, width); all but the last block of each group look at their window alone."""
        side, group = self.sizes.window // self.sizes.patch, self.sizes.group
        cuts = windows(grid[0], side), windows(grid[1], side)
        for start in range(0, self.sizes.depth, group):
            *local, last = self.blocks[start : start + group]
            if local:
                parts = split(tokens, grid, cuts)
                for block in local:
                    parts = block(parts)
                tokens = join(parts, grid, cuts)
            tokens = last(tokens)
        return tokens


def windows(count: int, side: int) -> int:
    """How many windows lie along a side of ``count`` tokens: as many whole ones of ``side`` tokens as fit."""
    return max(1, count // side)


def split(tokens: Tensor, grid: tuple[int, int], cuts: tuple[int, int]) -> Tensor:
    """(B, rows x columns, C) to (B x windows, tokens of a window, C). cuts: windows down and across."""
    (rows, cols), (down, across) = grid, cuts
    parts = tokens.view(len(tokens), down, rows // down, across, cols // across, -1).transpose(2, 3)
    return parts.reshape(len(tokens) * down * across, (rows // down) * (cols // across), -1)


def join(parts: Tensor, grid: tuple[int, int], cuts: tuple[int, int]) -> Tensor:
    """The inverse of ``split``."""
    (rows, cols), (down, across) = grid, cuts
    images = len(parts) // (down * across)
    tokens = parts.view(images, down, across, rows // down, cols // across, -1).transpose(2, 3)
    return tokens.reshape(images, rows * cols, -1)


class Pyramid(nn.Module):
    """Maps at 4, 2, 1 and 1/2 times the resolution of the last tokens, each from these alone.

    After Li et al., Exploring Plain Vision Transformer Backbones for Object Detection, ECCV 2022.
    """

    def __init__(self, width: int, channels: tuple[int, int, int, int]) -> None:
        super().__init__()
        fine, half = max(2 * channels[0], width // 2), max(channels[1], width // 2)
        coarse = max(channels[3], 2 * width)
        self.levels = nn.ModuleList(
            [
                nn.Sequential(
                    nn.ConvTranspose2d(width, fine, 2, stride=2),
                    nn.GroupNorm(1, fine),
                    nn.GELU(),
                    nn.ConvTranspose2d(fine, fine // 2, 2, stride=2),
                    nn.GroupNorm(1, fine // 2),
                    *_narrow(fine // 2, channels[0]),
                ),
                nn.Sequential(
                    nn.ConvTranspose2d(width, half, 2, stride=2),
                    nn.GroupNorm(1, half),
                    *_narrow(half, channels[1]),
                ),
                nn.Sequential(*_narrow(width, channels[2])),
                nn.Sequential(
                    nn.Conv2d(width, coarse, 2, stride=2),
                    nn.GroupNorm(1, coarse),
                    *_narrow(coarse, channels[3]),
                ),
            ]
        )

    def forward(self, features: Tensor) -> list[Tensor]:
        """features: (B, width, rows, columns)."""
        return [level(features) for level in self.levels]


def _narrow(inside: int, outside: int) -> tuple[nn.Module, nn.Module, nn.Module]:
    return nn.Conv2d(inside, outside, 1), nn.GroupNorm(1, outside), nn.GELU()


class Head(nn.Module):
    """All levels to the finest one's size and to one logit a pixel of it."""

    def __init__(self, levels: tuple[int, ...], channels: int) -> None:
        super().__init__()
        self.levels = nn.ModuleList(nn.Conv2d(level, channels, 1) for level in levels)
        self.fuse = nn.Conv2d(len(levels) * channels, channels, 1)
        self.logits = nn.Conv2d(channels, 1, 1)

    def forward(self, pyramid: list[Tensor]) -> Tensor:
        """(B, 1, h, w) of maps (B, C, ...), the first of them (h, w)."""
        size = pyramid[0].shape[-2:]
        maps = [
            functional.interpolate(
                functional.relu(level(features)), size=size, mode="bilinear", align_corners=False
            )
            for level, features in zip(self.levels, pyramid, strict=True)
        ]
        joined: Tensor = self.logits(functional.relu(self.fuse(torch.cat(maps, dim=1))))
        return joined
