"""Geometry shared by segmenters: image coordinates, coarse cells, pyramid levels."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from model_zoo.prompt import Box, Click

Size = tuple[int, int]


def cell_of(click: Click, image: Size, grid: Size) -> Size:
    """(row, col) of the grid cell under a click; image and grid are (height, width)."""
    row, col = click.pixel(*image)
    return row * grid[0] // image[0], col * grid[1] // image[1]


def box_cells(box: Box, image: Size, grid: Size) -> tuple[int, int, int, int]:
    """First row, first column, last row, last column of the cells that a box touches; at least one cell."""
    spans = []
    for edges, side, cells in zip(((box.top, box.bottom), (box.left, box.right)), image, grid, strict=True):
        start, stop = (value / side * cells for value in sorted(edges))
        first = min(max(int(start), 0), cells - 1)
        spans.append((first, min(max(int(np.ceil(stop)) - 1, first), cells - 1)))
    return spans[0][0], spans[1][0], spans[0][1], spans[1][1]


def outline(top: int, left: int, bottom: int, right: int, count: int) -> NDArray[np.int64]:
    """At most ``count`` distinct (row, col) spread evenly over the outline of a rectangle, edges included."""
    rows, cols = np.arange(top, bottom), np.arange(left, right)
    walk = np.concatenate(
        [
            np.stack([np.full(len(cols), top), cols], axis=1),
            np.stack([rows, np.full(len(rows), right)], axis=1),
            np.stack([np.full(len(cols), bottom), cols + 1], axis=1)[::-1],
            np.stack([rows + 1, np.full(len(rows), left)], axis=1)[::-1],
            np.array([[top, left]]),
        ]
    )
    picks = np.linspace(0, len(walk), min(count, len(walk)), endpoint=False).astype(np.int64)
    return np.asarray(np.unique(walk[picks], axis=0), dtype=np.int64)


def sample_level(level: torch.Tensor, stride: int, image: Size, grid: Size) -> NDArray[np.float32]:
    """Unit feature vectors (C, h, w) of a pyramid level (C, h', w') at the centres of the grid's cells.

    With TensorFlow's padding the receptive field of position i is centred at i * stride + stride - 0.5 pixels.
    """
    axes = []
    for side, cells, length in zip(image, grid, level.shape[1:], strict=True):
        centres = (torch.arange(cells, dtype=torch.float32) + 0.5) * (side / cells)
        index = (centres - (stride - 0.5)) / stride
        axes.append((index + 0.5) / length * 2.0 - 1.0)
    points = torch.stack(torch.meshgrid(axes[1], axes[0], indexing="xy"), dim=-1)[None].to(level.device)
    with torch.inference_mode():
        sampled = torch.nn.functional.grid_sample(
            level[None], points, mode="bilinear", padding_mode="border", align_corners=False
        )
        unit = torch.nn.functional.normalize(sampled[0], dim=0)
        return np.asarray(unit.cpu().numpy(), dtype=np.float32)


def enlarge(values: NDArray[np.float32], image: Size) -> NDArray[np.float32]:
    """Bilinear resampling of (h, w) values to the size of the image."""
    resized = cv2.resize(values, image[::-1], interpolation=cv2.INTER_LINEAR)
    return np.asarray(resized, dtype=np.float32).reshape(image)
