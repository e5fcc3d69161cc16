"""How an image, its prompts and its mask lie in the square that a SAM sees.

SAM (Kirillov et al., ICCV 2023) shrinks or enlarges the longer side to the square's, on bytes with Pillow's bilinear
filter, normalises, and leaves the rest of the square 0. SAM 2 (Ravi et al., 2024) squashes the image to the square.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional

Floats = NDArray[np.float32]
Size = tuple[int, int]
MEAN, DEVIATION = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)  # of ImageNet's channels, bytes
SURE = 10.0  # logit of a pixel of a mask to start from; a convention, nothing published


@dataclass(frozen=True)
class Frame:
    """Of one image. image, inner: (height, width) of it and of the part of the square that it covers, in pixels."""

    image: Size
    inner: Size
    side: int
    squashed: bool

    def pixels(self, image: NDArray[np.uint8]) -> Tensor:
        """(1, 3, side, side) float32, normalised, of (H, W, 3) uint8."""
        mean, deviation = (torch.tensor(values)[:, None, None] for values in (MEAN, DEVIATION))
        if self.squashed:
            planes = torch.tensor(image).permute(2, 0, 1).contiguous().float() / 255.0
            resized = functional.interpolate(planes[None], self.inner, mode="bilinear", antialias=True)
            return (resized - mean / 255.0) / (deviation / 255.0)
        small = Image.fromarray(image).resize(self.inner[::-1], Image.Resampling.BILINEAR)
        planes = torch.tensor(np.asarray(small)).permute(2, 0, 1).float()
        rows, cols = (self.side - length for length in self.inner)
        return functional.pad((planes - mean) / deviation, (0, cols, 0, rows))[None]

    def places(self, points: Sequence[tuple[float, float]]) -> Floats:
        """(N, 2) as (x, y) in pixels of the square, of (row, col) in pixels of the image."""
        scale = self.inner[1] / self.image[1], self.inner[0] / self.image[0]
        return np.array([(col * scale[0], row * scale[1]) for row, col in points], np.float32).reshape(-1, 2)

    def start(self, mask: NDArray[np.bool_], low: int) -> Floats:
        """(low, low) logits of the square, of a mask (H, W) to start from."""
        rows, cols = (max(1, round(length * low / self.side)) for length in self.inner)
        shares = cv2.resize(mask.astype(np.float32), (cols, rows), interpolation=cv2.INTER_AREA)
        logits = np.full((low, low), -SURE, dtype=np.float32)
        logits[:rows, :cols] = SURE * (2.0 * shares.reshape(rows, cols) - 1.0)
        return logits

    def enlarge(self, logits: Tensor) -> Tensor:
        """(H, W) of the image, of (low, low) of the square; bilinear, as published."""
        planes = logits[None, None]
        if not self.squashed:
            planes = _resize(planes, (self.side, self.side))[..., : self.inner[0], : self.inner[1]]
        return _resize(planes, self.image)[0, 0]


def frame_of(height: int, width: int, side: int, squashed: bool) -> Frame:
    """Of an image of that size in a square of that side."""
    if squashed:
        return Frame((height, width), (side, side), side, squashed)
    scale = side / max(height, width)
    # The published code makes an image of 1 by 5000 pixels 0 pixels high.
    inner = max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5))
    return Frame((height, width), inner, side, squashed)


def _resize(planes: Tensor, size: Size) -> Tensor:
    return functional.interpolate(planes, size=size, mode="bilinear", align_corners=False)
