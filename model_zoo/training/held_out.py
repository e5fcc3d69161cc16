"""Whether training on regions helped: clicks needed for regions of photographs that were kept aside."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from model_zoo.errors import BadInput
from model_zoo.evaluation.noc import click_through, encode, iou_after, noc
from model_zoo.segmenters.base import Segmenter
from model_zoo.training.pictures import Picture, TreeRegions
from model_zoo.training.region_tree import RegionTree
from model_zoo.training.tree_cache import Grown

SHARE = 0.1
SMALLEST, LARGEST = 0.05, 0.7
"""Areas of the regions asked for, as shares of the image."""


@dataclass(frozen=True)
class RegionScores:
    """Mean clicks to an IoU of 85 and 90 %, and the IoU after the first, over ``regions`` regions."""

    regions: int
    noc85: float
    noc90: float
    iou_at_1: float


@dataclass(frozen=True, eq=False)
class HeldOutRegion:
    """truth: (H, W) uint8 of 0 and 1, at the size of the loaded photograph."""

    picture: Picture
    truth: NDArray[np.uint8]


def keep_aside(grown: Sequence[Grown], share: float = SHARE) -> tuple[list[Grown], list[Grown]]:
    """Those to learn from and those kept aside: by a hash of the name, so that more images change no side.

    At least one is kept aside. Raises BadInput when nothing would be left to learn from.
    """
    if len(grown) < 2:
        raise BadInput(
            f"got {len(grown)} readable images; expected at least 2, one to learn from and one to measure on; "
            "add images"
        )
    ranked = sorted(grown, key=lambda one: _place(one.picture))
    count = sum(_place(one.picture) < share for one in ranked)
    count = min(max(1, count), len(ranked) - 1)
    kept = {id(one) for one in ranked[:count]}
    return [one for one in grown if id(one) not in kept], [one for one in grown if id(one) in kept]


def _place(picture: Picture) -> float:
    """A number in [0, 1) that follows from the file's name alone."""
    digest = hashlib.sha256(picture.image.name.encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2.0**48


def draw_regions(kept: Sequence[Grown], count: int, seed: int = 0) -> list[HeldOutRegion]:
    """Up to ``count`` different nodes, by turns over the photographs, sorted by photograph."""
    rng = np.random.default_rng(seed)
    drawn: dict[tuple[int, int], HeldOutRegion] = {}
    for attempt in range(2 * count):
        if len(drawn) == count:
            break
        index = attempt % len(kept)
        tree = kept[index].tree
        if tree is None:
            continue
        node = tree.sample(rng, minimal_area=SMALLEST, maximal_area=LARGEST)
        if (index, node) not in drawn:
            drawn[index, node] = _region(kept[index].picture, tree, node)
    return [drawn[key] for key in sorted(drawn)]


def _region(picture: Picture, tree: RegionTree, node: int) -> HeldOutRegion:
    height, width = picture.load().shape[:2]
    region = TreeRegions(tree, height, width).region(node)
    return HeldOutRegion(picture, region.astype(np.uint8))


def score_regions(
    segmenter: Segmenter, regions: Sequence[HeldOutRegion], tell: Callable[[int], None] = lambda _: None
) -> RegionScores:
    """Click each region by the standard protocol, up to 20 times; ``tell`` hears how many are done."""
    results: list[tuple[float, ...]] = []
    for picture, group in groupby(regions, key=lambda region: region.picture):
        embedding, _ = encode(segmenter, picture.load())
        for region in group:
            results.append(click_through(segmenter, embedding, region.truth).ious)
            tell(len(results))
    return RegionScores(
        len(results),
        round(fmean(noc(ious, 0.85) for ious in results), 4),
        round(fmean(noc(ious, 0.90) for ious in results), 4),
        round(fmean(iou_after(ious, 1) for ious in results), 4),
    )
