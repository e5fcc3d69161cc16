"""Objects pasted into the views of other photographs: each then stands before many backgrounds, its outline known.

After Ghiasi et al., Simple Copy-Paste, CVPR 2021, and Dwibedi et al., Cut, Paste and Learn, ICCV 2017 (soft edges, so
that the seam itself teaches little). A click must tell the pasted object from whatever the photograph held before; of
a region found without labels, whose own border is coarse, the pasted copy has an exact one.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from model_zoo.training.views import Image

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class PastePolicy:
    """chance: share of the views with a pasted object. sides: of its box over the view's, for the one that fills more
    of it. enlarged: how much it grows at most. seam: standard deviation of the blur of its edge, in pixels."""

    chance: float = 0.4
    sides: tuple[float, float] = (0.2, 0.8)
    enlarged: float = 2.0
    seam: tuple[float, float] = (0.4, 1.2)
    largest: float = 0.6  # share of its photograph: what is larger is a background


def cut_out(image: Image, region: Bools) -> tuple[Image, Bools]:
    """The bounding box of a region that is not empty: its pixels (h, w, 3) and which of them belong to it."""
    rows, cols = np.flatnonzero(region.any(axis=1)), np.flatnonzero(region.any(axis=0))
    box = slice(rows[0], rows[-1] + 1), slice(cols[0], cols[-1] + 1)
    return image[box], region[box]


def paste(
    view: Image, piece: Image, inside: Bools, policy: PastePolicy, rng: np.random.Generator
) -> tuple[Image, Bools]:
    """The view (H, W, 3) with the piece at a random size and place, mirrored at times, and the pixels that it covers.

    piece: (h, w, 3) uint8, inside: (h, w) bool, as of ``cut_out``.
    """
    height, width = _size((view.shape[0], view.shape[1]), (inside.shape[0], inside.shape[1]), policy, rng)
    if rng.random() < 0.5:
        piece, inside = piece[:, ::-1], inside[:, ::-1]
    shrinks = height < inside.shape[0]
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    pixels = cv2.resize(np.ascontiguousarray(piece), (width, height), interpolation=interpolation)
    cover = cv2.resize(inside.astype(np.float32), (width, height), interpolation=interpolation)
    top = int(rng.integers(view.shape[0] - height + 1))
    left = int(rng.integers(view.shape[1] - width + 1))
    covered = np.zeros(view.shape[:2], dtype=np.bool_)
    place = slice(top, top + height), slice(left, left + width)
    covered[place] = cover > 0.5
    alpha = cv2.GaussianBlur(covered.astype(np.float32), (0, 0), rng.uniform(*policy.seam))
    # Beyond the edge of the piece the blur reaches pixels that it does not have: they stay the view's.
    share = (alpha[place] * (cover > 0))[..., None]
    mixed = view.copy()
    mixed[place] = np.round(share * pixels + (1.0 - share) * view[place]).astype(np.uint8)
    return mixed, covered


def _size(
    view: tuple[int, int], piece: tuple[int, int], policy: PastePolicy, rng: np.random.Generator
) -> tuple[int, int]:
    """(height, width) of the pasted piece: one side is a random share of the view's, the other no larger one."""
    fitting = min(whole / part for whole, part in zip(view, piece, strict=True))
    scale = min(fitting * rng.uniform(*policy.sides), policy.enlarged)
    height, width = (max(1, round(scale * side)) for side in piece)
    return min(height, view[0]), min(width, view[1])
