"""The segmenter that grows and shrinks regions: a Ward tree of frozen features, walked by clicks.

The image is merged once, bottom-up, into a tree of connected regions (the bottom-up merging of Li et al.,
Multi-granularity interaction simulation for unsupervised interactive segmentation, ICCV 2023, which makes training
objects of it); a click is a step in that tree. Nothing is trained; the features are ImageNet's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from model_zoo.encoders import LITE0, Encoder, check_image, create_encoder
from model_zoo.prompt import Prompt
from model_zoo.registry import register_segmenter
from model_zoo.segmenters import guided
from model_zoo.segmenters.base import Embedding, Mask, Segmenter
from model_zoo.segmenters.grid import Size, box_cells, cell_of, enlarge
from model_zoo.segmenters.probability import confidence
from model_zoo.segmenters.region_selection import Regions, Rules, prominence, select
from model_zoo.training.region_tree import build_tree
from model_zoo.training.tree_features import PyramidMix, token_features

Floats = NDArray[np.float32]
LOGIT = 3.0  # of a cell that is chosen


@dataclass(frozen=True, eq=False)
class _Grown:
    """Of one image: its regions and what brings a choice of cells to the image's edges."""

    regions: Regions
    guide: guided.Guide

    @property
    def nbytes(self) -> int:
        return self.regions.nbytes + self.guide.nbytes


class RegionSegmenter(Segmenter):
    """Region tree on the features of an encoder; see the module and ``region_selection``."""

    prompts: ClassVar[frozenset[str]] = frozenset({"click", "box"})
    order_free: ClassVar[bool] = False

    def __init__(
        self, name: str, encoder: Encoder, rules: Rules | None = None, mix: PyramidMix | None = None
    ) -> None:
        self.name = name
        self.rules = rules or Rules()
        self.mix = mix or PyramidMix(zoom=1.5)  # half of the time of the trees for training
        self.fingerprint = f"{name}:{encoder.fingerprint}:{self.rules}:{self.mix}"
        self._encoder = encoder

    def encode(self, image: NDArray[np.uint8]) -> Embedding:
        check_image(image)
        features = token_features(image, self._encoder, self.mix)
        tree = build_tree(features)
        grown = _Grown(
            Regions(tree, prominence(tree, features, self.rules.border)),
            guided.build(image, fine_side=1024, coarse_side=256, radius=4, smoothing=1e-3),
        )
        return Embedding(image.shape[0], image.shape[1], grown.nbytes, grown)

    def decode(self, embedding: Embedding, prompt: Prompt, state: Any = None) -> Mask:  # noqa: ARG002
        grown: _Grown = embedding.data
        shape = embedding.height, embedding.width
        grid = grown.regions.tree.height, grown.regions.tree.width
        cells = [cell_of(click, shape, grid) for click in prompt.clicks]
        clicks = [
            (row * grid[1] + col, click.positive)
            for (row, col), click in zip(cells, prompt.clicks, strict=True)
        ]
        chosen = select(grown.regions, clicks, _box(prompt, shape, grid), self.rules)
        if not chosen.any():
            return Mask(np.full(shape, -LOGIT, dtype=np.float32), 0.0)
        signed = np.where(chosen, np.float32(LOGIT), np.float32(-LOGIT))
        logits = enlarge(grown.guide.enlarge(signed), shape)
        return Mask(logits, confidence(logits))


def _box(prompt: Prompt, shape: Size, grid: Size) -> NDArray[np.bool_] | None:
    """Cells (h, w) that the box touches; None without a box."""
    if prompt.box is None:
        return None
    top, left, bottom, right = box_cells(prompt.box, shape, grid)
    inside = np.zeros(grid, dtype=np.bool_)
    inside[top : bottom + 1, left : right + 1] = True
    return inside


@register_segmenter(
    paper="Li et al., Multi-granularity Interaction Simulation, ICCV 2023 (its region tree)",
    licence=LITE0.licence,
    source="written for ClickPick from the paper",
    weights=(LITE0,),
)
def regions(device: str) -> RegionSegmenter:
    """Regions that clicks grow, join and carve; no training, no GPU."""
    return RegionSegmenter("regions", create_encoder("efficientnet-lite0", device))
