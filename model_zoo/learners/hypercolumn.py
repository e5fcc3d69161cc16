"""Hypercolumns: what a frozen feature pyramid says about single pixels, and the same, cheaply, about all pixels.

The vector of a pixel is every pyramid level read bilinearly at the pixel's centre (Hariharan et al., CVPR 2015) and
the two coarsest levels once more as means over a wide window. Means over the image would be learned by heart.
A linear layer commutes with bilinear reading: ``projected`` applies it on each level's own grid first.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as nnf
from numpy.typing import NDArray

from model_zoo.encoders import Encoder
from model_zoo.learners.head import Head

ENCODER_PIXELS = 1_000_000
"""The encoder sees about this many pixels at most: half a second on two cores, whatever the image's size."""
MAX_SCALE = 2.0
"""Small images are enlarged, from which thin classes gain most; beyond this factor there is nothing to see."""
CONTEXTS = 2
"""Levels, the coarsest, that context is averaged of."""
WIDE = 7
"""Side, in cells, of the window that context is averaged over."""
STRIP = 32
"""Rows of the finest grid that are worked on at a time."""
CHUNK = 4_000_000
"""Numbers of the answer that are worked on at a time."""
RECIPE = f"hypercolumn-v1-{ENCODER_PIXELS}-{MAX_SCALE}-{CONTEXTS}x{WIDE}"
"""Part of the fingerprint of cached features: whatever changes the vectors must change this text."""


@dataclass(frozen=True, eq=False)
class Pyramid:
    """Features of one image of height x width pixels.

    levels: (C_i, h_i, w_i) float32, finest first; steps: image pixels (rows, columns) that a cell of the level
    covers; wide: the averaged context of the last CONTEXTS levels, on their grids.
    """

    height: int
    width: int
    levels: tuple[torch.Tensor, ...]
    steps: tuple[tuple[float, float], ...]
    wide: tuple[torch.Tensor, ...]


def encoder_scale(height: int, width: int) -> float:
    """Factor by which an image is resized before the encoder: 2, or what keeps it at ENCODER_PIXELS."""
    return min(MAX_SCALE, math.sqrt(ENCODER_PIXELS / (height * width)))


def vector_length(encoder: Encoder) -> int:
    """Length of a pixel's vector."""
    return sum(encoder.channels) + sum(encoder.channels[-CONTEXTS:])


@torch.inference_mode()
def build_pyramid(encoder: Encoder, image: NDArray[np.uint8]) -> Pyramid:
    """Encode the image, uint8 (H, W, 3), at its ``encoder_scale``."""
    height, width = image.shape[:2]
    scale = encoder_scale(height, width)
    levels = encoder.features(image, scale)
    rows = height / max(1, round(height * scale))
    cols = width / max(1, round(width * scale))
    return Pyramid(
        height=height,
        width=width,
        levels=levels,
        steps=tuple((stride * rows, stride * cols) for stride in encoder.strides),
        wide=tuple(_window_mean(level) for level in levels[-CONTEXTS:]),
    )


@torch.inference_mode()
def at_pixels(pyramid: Pyramid, pixels: NDArray[np.int64]) -> NDArray[np.float16]:
    """Vectors (n, D) of the pixels (n, 2) given by row and column."""
    centres = torch.from_numpy(pixels).to(pyramid.levels[0].device) + 0.5
    steps = [*pyramid.steps, *pyramid.steps[-CONTEXTS:]]
    parts = []
    for level, (row_step, col_step) in zip([*pyramid.levels, *pyramid.wide], steps, strict=True):
        top, bottom, down = _cells(centres[:, 0], row_step, level.shape[1])
        left, right, across = _cells(centres[:, 1], col_step, level.shape[2])
        above = torch.lerp(level[:, top, left], level[:, top, right], across)
        below = torch.lerp(level[:, bottom, left], level[:, bottom, right], across)
        parts.append(torch.lerp(above, below, down).T)
    return torch.cat(parts, dim=1).half().cpu().numpy()


def projected(pyramid: Pyramid, weight: torch.Tensor, bias: torch.Tensor) -> Iterator[torch.Tensor]:
    """``vector @ weight + bias`` at the centres of the finest grid, in strips of rows (rows, w_0, K), top first.

    weight: (D, K), bias: (K,).
    """
    sizes = [part.shape[0] for part in (*pyramid.levels, *pyramid.wide)]
    weights = torch.split(weight, sizes)
    grids = [torch.einsum("chw,ck->hwk", level, w) for level, w in zip(pyramid.levels, weights, strict=False)]
    for place, (context, w) in enumerate(zip(pyramid.wide, weights[len(grids) :], strict=False)):
        grids[place - len(pyramid.wide)] += torch.einsum("chw,ck->hwk", context, w)
    finest, rest = grids[0] + bias, list(zip(grids[1:], pyramid.steps[1:], strict=True))
    height, width = finest.shape[:2]
    row_step, col_step = pyramid.steps[0]
    rows = (torch.arange(height, device=bias.device) + 0.5) * row_step
    cols = (torch.arange(width, device=bias.device) + 0.5) * col_step
    for start in range(0, height, STRIP):
        strip = finest[start : start + STRIP]
        for grid, steps in rest:
            strip = strip + read_grid(grid, steps, rows[start : start + STRIP], cols)
        yield strip


@torch.inference_mode()
def probabilities(pyramid: Pyramid, head: Head, samples: int) -> NDArray[np.float32]:
    """Class probabilities (T, C, H, W) of every pixel of the image, T = samples.

    The head is evaluated on the finest grid and its logits are read from there; beside the answer itself, memory
    is bounded by ENCODER_PIXELS and not by the size of the image.
    """
    weight, bias = head.outputs(samples)
    strips = projected(pyramid, head.weight1, head.bias1)
    grid = torch.cat([torch.relu_(strip) @ weight + bias for strip in strips])
    rows = torch.arange(pyramid.height, device=grid.device) + 0.5
    cols = torch.arange(pyramid.width, device=grid.device) + 0.5
    shape = samples, len(bias) // samples, pyramid.height, pyramid.width
    answer = np.empty(shape, dtype=np.float32)
    lines = max(1, CHUNK // (len(bias) * pyramid.width))
    for start in range(0, pyramid.height, lines):
        logits = read_grid(grid, pyramid.steps[0], rows[start : start + lines], cols)
        passes = logits.reshape(*logits.shape[:2], *shape[:2]).softmax(dim=3)
        answer[:, :, start : start + lines] = passes.permute(2, 3, 0, 1).cpu().numpy()
    return answer


def read_grid(
    grid: torch.Tensor, steps: tuple[float, float], rows: torch.Tensor, cols: torch.Tensor
) -> torch.Tensor:
    """A grid (h, w, K) read bilinearly at the crossings of rows and columns, in image pixels: (r, c, K)."""
    top, bottom, down = _cells(rows, steps[0], grid.shape[0])
    left, right, across = _cells(cols, steps[1], grid.shape[1])
    lines = torch.lerp(grid[top], grid[bottom], down[:, None, None])
    return torch.lerp(lines[:, left], lines[:, right], across[:, None])


def _cells(where: torch.Tensor, step: float, count: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The cells before and after each position, and how far it is on the way between their centres."""
    place = (where.float() / step - 0.5).clamp(0, count - 1)
    before = place.floor().long()
    return before, (before + 1).clamp(max=count - 1), place - before


def _window_mean(level: torch.Tensor) -> torch.Tensor:
    return nnf.avg_pool2d(level[None], WIDE, stride=1, padding=WIDE // 2, count_include_pad=False)[0]
