"""Cross-entropy at labelled pixels only.

The logits are read bilinearly at the centres of the labelled pixels, which is what enlarging them to the image first
would give there. Nothing else enters the loss: where the logits have the image's size, every other pixel's gradient
is exactly zero.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as nnf
from numpy.typing import NDArray

Size = tuple[int, int]


@dataclass(frozen=True, eq=False)
class Points:
    """Labelled places of a batch.

    owners: int64 (n,), the image of each; places: float64 (n, 2), row and column in pixels of the image, centres at
    +0.5; labels: int64 (n,), classes.
    """

    owners: NDArray[np.int64]
    places: NDArray[np.float64]
    labels: NDArray[np.int64]


def sparse_cross_entropy(logits: torch.Tensor, points: Points, size: Size) -> torch.Tensor:
    """Mean cross-entropy over the labelled places; 0, with a gradient of 0, where there are none.

    logits: (B, C, h, w), on a grid of any resolution over images of size (H, W).
    """
    values = read_at(logits, points, size)
    labels = torch.from_numpy(points.labels).to(logits.device)
    return nnf.cross_entropy(values, labels, reduction="sum") / max(1, len(labels))


def read_at(logits: torch.Tensor, points: Points, size: Size) -> torch.Tensor:
    """Logits (n, C) float32 at the places; as ``interpolate(..., align_corners=False)`` would have them there."""
    classes, height, width = logits.shape[1:]
    top, bottom, down = _cells(points.places[:, 0], size[0], height)
    left, right, across = _cells(points.places[:, 1], size[1], width)
    lines = logits.float().permute(0, 2, 3, 1).reshape(-1, classes)
    start = points.owners * height

    def corner(rows: NDArray[np.int64], cols: NDArray[np.int64]) -> torch.Tensor:
        # index_select, since its gradient is the same at every run on a CPU; that of indexing need not be.
        index = torch.from_numpy((start + rows) * width + cols).to(logits.device)
        return lines.index_select(0, index)

    downwards, rightwards = (
        torch.from_numpy(part.astype(np.float32)[:, np.newaxis]).to(logits.device) for part in (down, across)
    )
    above = corner(top, left) * (1 - rightwards) + corner(top, right) * rightwards
    below = corner(bottom, left) * (1 - rightwards) + corner(bottom, right) * rightwards
    return above * (1 - downwards) + below * downwards


def _cells(
    places: NDArray[np.float64], pixels: int, cells: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Cells before and after each place, and how far it is between them; double precision hits centres exactly."""
    where = np.clip(places * (cells / pixels) - 0.5, 0, cells - 1)
    before = np.floor(where).astype(np.int64)
    return before, np.minimum(before + 1, cells - 1), where - before
