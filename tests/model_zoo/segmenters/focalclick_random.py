"""Reproducible weights, pictures and clicks for comparisons with the published FocalClick; scripts use them, too."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod
from zlib import crc32

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from model_zoo.prompt import Click
from model_zoo.segmenters.focalclick_network import FocalClickNetwork
from model_zoo.segmenters.focalclick_weights import VARIANTS, build_network, convert_focalclick

VARIANT_NAMES = ("segformer-b0-s1", "segformer-b0-s2", "hrnet18s-s1", "hrnet18s-s2")
LOOPS = ("segformer-b0-s1", "hrnet18s-s1")  # whose answers to sequences of clicks are stored
STRIDE = 12  # of the logits that are stored
POINTS = ((100.0, 200.0, True), (210.25, 80.5, True), (37.125, 140.75, False), (-20.0, 10.5, False))
"""(row, column, positive) in pixels of the square; the last lies outside."""
SURE = 6.0  # logits that are compared end here; a probability's last bit is 2e-5 of a logit there
BOX = (31.7, 12.25, 203.5, 256.0)  # top, left, bottom, right of a part of the square
CLICK_LAYERS = {  # the first channels that are disks; such small things must weigh more to matter
    "feature_extractor.backbone.patch_embed_side1.proj.weight": slice(1, 3),
    "maps_transform.0.weight": slice(1, 3),
    "refiner.image_conv1.conv.weight": slice(3, 5),
}
GAINS = {
    "feature_extractor.backbone.patch_embed_side1.norm.weight": 4.0,
    "maps_transform.3.scale": 4.0,
    "refiner.refine_fusion.conv.weight": 0.3,
    "refiner.refine_pred.weight": 3.0,
    "refiner.refine_trimap.weight": 3.0,
}
LAST = {"segformer": "feature_extractor.decode_head.linear_pred", "hrnet": "feature_extractor.cls_head"}


def tensor(name: str, shape: Iterable[int]) -> torch.Tensor:
    """The same numbers for a published name wherever they are asked for, and such that answers vary."""
    size = tuple(shape)
    rng = np.random.default_rng([7, crc32(name.encode())])
    values = rng.standard_normal(size, dtype=np.float32)
    if name.endswith("num_batches_tracked"):
        return torch.tensor(1)
    if name.endswith("running_var"):
        values = 0.75 + 0.5 * rng.random(size, dtype=np.float32)
    elif name.endswith(".scale"):
        values = np.ones(size, dtype=np.float32)
    elif len(size) == 1:
        values = (1.0 if name.endswith("weight") else 0.0) + 0.1 * values
    else:
        values /= np.sqrt(prod(size[1:]))
    if name in CLICK_LAYERS:
        values[:, CLICK_LAYERS[name]] *= 6.0
    return torch.from_numpy(np.asarray(values * GAINS.get(name, 1.0), dtype=np.float32))


def difference(one: NDArray[np.float32], two: NDArray[np.float32]) -> float:
    """The largest of two sets of logits. From ``SURE`` on, the published probabilities say too little of them."""
    return float(np.abs(np.clip(one, -SURE, SURE) - np.clip(two, -SURE, SURE)).max())


def last_layer(variant: str, head: NDArray[np.float32]) -> dict[str, torch.Tensor]:
    """Its published tensors. head: weights and bias."""
    name = LAST["hrnet" if variant.startswith("hrnet") else "segformer"]
    weight, bias = torch.from_numpy(head[:-1]).reshape(1, -1, 1, 1), torch.from_numpy(head[-1:])
    return {f"{name}.weight": weight, f"{name}.bias": bias}


def network(
    variant: str, shapes: Mapping[str, Iterable[int]], head: NDArray[np.float32]
) -> FocalClickNetwork:
    """Our network with those weights. shapes: of the tensors of a published file. head: see ``last_layer``."""
    chosen = VARIANTS[f"focalclick-{variant}"]
    made = build_network(chosen)
    state = {name: tensor(name, shape) for name, shape in shapes.items()} | last_layer(variant, head)
    made.load_state_dict(convert_focalclick(chosen, state, {}))
    return made.eval().requires_grad_(False)


def picture(height: int, width: int, seed: int) -> NDArray[np.uint8]:
    """(height, width, 3): blurred noise, a disk in the middle of other colours."""
    rng = np.random.default_rng(seed)
    image = cv2.GaussianBlur(rng.uniform(0, 255, (height, width, 3)).astype(np.float32), (0, 0), 4.0)
    image = (image - image.mean()) * 4.0 + 110.0
    image[disk(height, width)] += (70.0, -50.0, -20.0)
    return np.clip(image, 0, 255).astype(np.uint8)


def disk(height: int, width: int) -> NDArray[np.bool_]:
    """(height, width), that of the picture."""
    rows, cols = np.mgrid[:height, :width]
    return np.asarray(np.hypot(rows - height * 0.55, cols - width * 0.45) < 0.22 * min(height, width))


def previous(side: int) -> torch.Tensor:
    """(1, side, side) probabilities of a mask before."""
    rows, cols = torch.meshgrid(torch.linspace(-1, 1, side), torch.linspace(-1, 1, side), indexing="ij")
    return torch.sigmoid(6.0 - 14.0 * (rows.square() + cols.square()))[None]


def pixels(seed: int, side: int) -> torch.Tensor:
    """(3, side, side) in [0, 1]."""
    return torch.from_numpy(picture(side, side, seed)).permute(2, 0, 1) / 255.0


@dataclass(frozen=True)
class Scene:
    """mask: (H, W) bool, to start from, or None."""

    image: NDArray[np.uint8]
    clicks: tuple[Click, ...]
    mask: NDArray[np.bool_] | None = None


def scene(height: int, width: int, seed: int, count: int) -> Scene:
    """A picture and clicks all over it, of both signs."""
    rng = np.random.default_rng(seed)
    rows, cols = rng.integers(0, height, count), rng.integers(0, width, count)
    rows[0], cols[0] = int(height * 0.55), int(width * 0.45)
    inside = disk(height, width)
    clicks = [
        Click(int(row) + 0.5, int(col) + 0.5, bool(inside[row, col] or number % 4 == 0))
        for number, (row, col) in enumerate(zip(rows, cols, strict=True))
    ]
    return Scene(picture(height, width, seed), tuple(clicks))


def started_scene(clicks: Iterable[tuple[int, int, bool]] = ()) -> Scene:
    """A picture and a mask to start from, the disk moved aside; its clicks answer what the network makes of it."""
    height, width = 241, 259
    mask = np.asarray(np.roll(disk(height, width), (15, -20), axis=(0, 1)), dtype=np.bool_)
    found = tuple(Click(int(row) + 0.5, int(col) + 0.5, bool(positive)) for row, col, positive in clicks)
    return Scene(picture(height, width, 5), found, mask)


SCENES = {"wide": scene(211, 317, seed=3, count=12), "tall": scene(333, 190, seed=4, count=5)}
