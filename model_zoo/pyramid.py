"""Which stages of a timm network make a feature pyramid, and what pixels the network expects."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch

from model_zoo.errors import UnknownModel

PREPROCESSING = "rgb-pm1-area-linear-replicate32-v1"
"""Of networks with strides up to 32 that take pixels in -1 to 1."""


@dataclass(frozen=True)
class PyramidLevels:
    """Which stages of a timm network are read as a pyramid, with their strides (pixels) and channels."""

    stages: tuple[int, ...]
    strides: tuple[int, ...]
    channels: tuple[int, ...]
    columnar: bool

    @classmethod
    def of(cls, model: Any, column_levels: int) -> PyramidLevels:
        """All stages where their grids differ; else ``column_levels`` blocks at even distances, the last included."""
        info = list(model.feature_info)  # timm's list of stages
        columnar = len(info) > 1 and len({stage["reduction"] for stage in info}) == 1
        count = min(column_levels, len(info)) if columnar else len(info)
        stages = tuple((place + 1) * len(info) // count - 1 for place in range(count))
        strides = tuple(int(info[stage]["reduction"]) for stage in stages)
        return cls(stages, strides, tuple(int(info[stage]["num_chs"]) for stage in stages), columnar)

    @property
    def multiple(self) -> int:
        """Sides that are multiples of this are cut into whole cells at every level."""
        return math.lcm(*self.strides)

    def read(self, model: Any, pixels: torch.Tensor) -> list[torch.Tensor]:
        """The levels (B, C_i, h_i, w_i) of normalised pixels (B, 3, H, W); tokens after the final norm."""
        options = {"norm": True} if self.columnar else {}
        levels = model.forward_intermediates(
            pixels, indices=list(self.stages), intermediates_only=True, **options
        )
        return list(levels)

    def check(self, model: Any, name: str) -> None:
        """Raise UnknownModel unless the network gives these levels for an image of no special size."""
        height, width = 2 * self.multiple, 3 * self.multiple
        wanted = [(c, height // s, width // s) for c, s in zip(self.channels, self.strides, strict=True)]
        try:
            with torch.inference_mode():
                levels = self.read(model, torch.zeros(1, 3, height, width))
            found = str([tuple(level.shape[1:]) for level in levels])
        except (RuntimeError, AssertionError, ValueError, TypeError, AttributeError) as error:
            found = f"{type(error).__name__} ({error})"
        if found != str(wanted):
            raise UnknownModel(
                f"timm's {name!r} gives {found} for an image of {height}x{width}; expected a feature pyramid {wanted}; "
                "choose a convolutional network or a ViT"
            )


def normalisation(model: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """(offset, scale), (3, 1, 1) each: the network takes pixels / scale - offset, pixels in 0 to 255."""
    config = model.pretrained_cfg  # mean and deviation that the weights were trained with, in 0 to 1
    mean, deviation = (
        torch.tensor(config[part], dtype=torch.float64).view(3, 1, 1) for part in ("mean", "std")
    )
    return (mean / deviation).float(), (255.0 * deviation).float()


def preprocessing(model: Any, levels: PyramidLevels) -> str:
    """What is done to an image before the network, as a part of fingerprints."""
    config = model.pretrained_cfg
    if set(config["mean"]) == set(config["std"]) == {0.5} and levels.multiple == 32 and not levels.columnar:
        return PREPROCESSING
    values = ",".join(f"{value:g}" for value in (*config["mean"], *config["std"]))
    stages = ",".join(map(str, levels.stages))
    return f"rgb-{values}-area-linear-replicate{levels.multiple}-stages{stages}-v1"
