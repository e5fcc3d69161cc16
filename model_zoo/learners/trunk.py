"""What segmentation networks that are trained end to end share: a pyramid of any timm encoder, and dropout."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from model_zoo.encoders import create_network
from model_zoo.pyramid import PyramidLevels, normalisation

COLUMN_LEVELS = 4
"""Blocks of a ViT that are read as levels."""


class Trunk(nn.Module):
    """A timm network read as a pyramid, finest level first; takes pixels (B, 3, H, W) in 0 to 255.

    H and W must be multiples of ``multiple``; level i then is (B, channels[i], H / strides[i], W / strides[i]).
    """

    def __init__(self, model: Any) -> None:
        """model: of timm, for images of any size; what lies behind the last level is cut off."""
        super().__init__()
        self._levels = PyramidLevels.of(model, COLUMN_LEVELS)
        self.strides, self.channels = self._levels.strides, self._levels.channels
        self.multiple = self._levels.multiple
        self.mean: tuple[float, ...] = tuple(255.0 * part for part in model.pretrained_cfg["mean"])
        model.prune_intermediate_layers(
            list(self._levels.stages), prune_norm=not self._levels.columnar, prune_head=True
        )
        self.model = model
        offset, scale = normalisation(model)
        self.offset: Tensor
        self.scale: Tensor
        self.register_buffer("offset", offset, persistent=False)
        self.register_buffer("scale", scale, persistent=False)

    def forward(self, pixels: Tensor) -> list[Tensor]:
        return self._levels.read(self.model, pixels / self.scale - self.offset)


class SegmentationNetwork(nn.Module, ABC):
    """Pixels in, logits on a coarser grid out. Batch norm follows ``train`` and ``eval``; dropout follows ``rng``.

    Apart from dropout nothing is random, so that many passes with dropout cost one of ``encode``, and a network can
    be asked by many threads at once.
    """

    trunk: Trunk

    def forward(self, pixels: Tensor, rng: torch.Generator | None = None) -> Tensor:
        """Logits (B, C, h, w) of pixels (B, 3, H, W) in 0 to 255; H and W are multiples of ``trunk.multiple``."""
        return self.decode(self.encode(pixels), rng)

    @abstractmethod
    def encode(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """All that comes before the first dropout."""

    @abstractmethod
    def decode(self, parts: tuple[Tensor, ...], rng: torch.Generator | None) -> Tensor:
        """Logits (B, C, h, w) of what ``encode`` gave; with dropout if a generator is given."""


@lru_cache(maxsize=4)
def _template(encoder: str, output_stride: int, weights_dir: Path | None) -> Trunk:
    model, _ = create_network(encoder, weights_dir, output_stride)
    return Trunk(model)


def load_trunk(encoder: str, output_stride: int, weights_dir: Path | None = None) -> Trunk:
    """A new trunk with published weights, dilated where the network can be; raises UnknownModel or WeightsMissing."""
    return copy.deepcopy(_template(encoder, output_stride, weights_dir))


def dropout(
    values: Tensor, share: float, rng: torch.Generator | None, *, whole_channels: bool = False
) -> Tensor:
    """Values (B, C, h, w) with a share of the numbers, or of the channels, set to 0 and the others scaled up.

    rng: on the values' device; None leaves the values as they are.
    """
    if rng is None:
        return values
    shape = (*values.shape[:2], 1, 1) if whole_channels else values.shape
    kept = torch.empty(shape, device=values.device).bernoulli_(1 - share, generator=rng)
    return values * (kept / (1 - share)).to(values.dtype)


def initialise(network: SegmentationNetwork, seed: int) -> None:
    """Kaiming's normal initialisation of all but the trunk; the same for the same seed. Parameters on the CPU."""
    rng = torch.Generator().manual_seed(seed)
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d) and not name.startswith("trunk."):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=rng)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
