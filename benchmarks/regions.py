"""How well the regions of Ward trees fit annotated objects: one JSON line.

best_node: mean over objects of the highest IoU that one node of the tree reaches (_large: over objects of 5 % of the
image and more). random_draw: mean over random top-down draws, as in MIS, of the IoU with the annotated region that fits
best. object_draw: the same with objects alone; _salient: with salient regions first, as training draws them. Images and
objects are those of holdout.txt in the training data: ECSSD masks, COCO things of 1,000 pixels and more; random_draw is
compared with COCO's surroundings and ECSSD's background too.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.common import report
from model_zoo.encoders import Encoder, create_encoder
from model_zoo.training.region_tree import RegionTree, build_tree
from model_zoo.training.salience import draw_salient, salience, separation
from model_zoo.training.tree_features import PyramidMix, VitTokens, create_vit, token_features

MINIMAL_PIXELS = 1000


@dataclass(frozen=True, eq=False)
class Annotated:
    """image: (H, W, 3) uint8. objects: masks (H, W) bool to be found; others: regions that are no objects."""

    image: NDArray[np.uint8]
    objects: list[NDArray[np.bool_]]
    others: list[NDArray[np.bool_]]


def annotated(data: Path, count: int) -> Iterator[Annotated]:
    """The first held-out images of ECSSD and COCO in turn."""
    lines = (data / "holdout.txt").read_text().split()
    ecssd, coco = ([x for x in lines if x.startswith(kind)] for kind in ("ecssd", "coco_panoptic"))
    with (data / "coco_panoptic" / "segments.csv").open() as stream:
        segments = list(csv.DictReader(stream))
    for relative in [name for pair in zip(ecssd, coco, strict=False) for name in pair][:count]:
        path = data / relative
        image = np.asarray(Image.open(path).convert("RGB"))
        if relative.startswith("ecssd"):
            mask = np.asarray(Image.open(data / "ecssd" / "masks" / f"{path.stem}.png")) > 0
            yield Annotated(image, [mask], [~mask])
            continue
        ids = np.asarray(Image.open(data / "coco_panoptic" / "ids" / f"{path.stem}.png"))
        large = [s for s in segments if s["name"] == path.stem and int(s["pixels"]) >= MINIMAL_PIXELS]
        things = [s["isthing"] == "1" and s["iscrowd"] == "0" for s in large]
        masks = [ids == int(s["id"]) for s in large]
        yield Annotated(
            image,
            [mask for mask, thing in zip(masks, things, strict=True) if thing],
            [mask for mask, thing in zip(masks, things, strict=True) if not thing],
        )


def shares(mask: NDArray[np.bool_], tree: RegionTree) -> NDArray[np.float32]:
    """How much of each cell the mask covers, so that overlaps are those of the image's pixels."""
    size = tree.width, tree.height
    return np.asarray(cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA))


def fit_of_draws(
    tree: RegionTree,
    objects: list[NDArray[np.float32]],
    others: list[NDArray[np.float32]],
    draws: int,
    seed: int,
) -> dict[str, float]:
    """Mean over draws, the same ones for all annotated regions and for the objects among them."""
    rng, chances = np.random.default_rng(seed), salience(tree)
    plain = [tree.sample(rng) for _ in range(draws)]
    salient = [draw_salient(tree, chances, rng, minimal_area=0.05) for _ in range(draws)]
    fits = {"random_draw": _best([*objects, *others], tree)[plain]}
    if objects:
        fits |= {
            "object_draw": _best(objects, tree)[plain],
            "object_draw_salient": _best(objects, tree)[salient],
        }
    return {name: float(values.mean()) for name, values in fits.items()}


def _best(regions: list[NDArray[np.float32]], tree: RegionTree) -> NDArray[np.float64]:
    """Of each node, its highest IoU with any of the regions."""
    return np.asarray(np.max([tree.overlaps(region) for region in regions], axis=0))


def run(
    data: Path, source: Encoder | VitTokens, mix: PyramidMix | None, *, images: int, draws: int
) -> dict[str, Any]:
    best, areas, seconds = [], [], []
    drawn: dict[str, list[float]] = {}
    for number, sample in enumerate(annotated(data, images)):
        started = time.perf_counter()
        features = token_features(sample.image, source, mix)
        tree = build_tree(features)
        tree = replace(tree, separation=separation(features, tree))
        seconds.append(time.perf_counter() - started)
        objects, others = (
            [shares(mask, tree) for mask in masks] for masks in (sample.objects, sample.others)
        )
        best += [float(tree.overlaps(mask).max()) for mask in objects]
        areas += [float(mask.mean()) for mask in objects]
        for name, fit in fit_of_draws(tree, objects, others, draws, number).items():
            drawn.setdefault(name, []).append(fit)
    large = np.asarray(areas) >= 0.05
    return {
        "images": len(seconds),
        "objects": len(best),
        "best_node": round(float(np.mean(best)), 4),
        "best_node_large": round(float(np.asarray(best)[large].mean()), 4),
        **{name: round(float(np.mean(fits)), 4) for name, fits in drawn.items()},
        "seconds_per_image": round(float(np.median(seconds)), 3),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder of the training data, with holdout.txt")
    parser.add_argument("--source", default="efficientnet-lite0", help="an encoder, or a timm ViT")
    parser.add_argument("--weights", type=Path, help="folder with the ViT's weights")
    parser.add_argument("--images", type=int, default=60)
    parser.add_argument("--draws", type=int, default=100)
    chosen = parser.parse_args()
    features: Encoder | VitTokens
    if chosen.source.startswith("vit_"):
        features, mix = create_vit(chosen.source, chosen.weights), None
    else:
        features, mix = create_encoder(chosen.source), PyramidMix()
    figures = run(chosen.data, features, mix, images=chosen.images, draws=chosen.draws)
    report("regions", source=chosen.source, mix=str(mix), **figures)
