"""Reproducible weights and pictures for comparisons with the published SimpleClick; scripts use them, too."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import isqrt, prod
from zlib import crc32

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from model_zoo.prompt import Click
from model_zoo.segmenters.predictor_maps import disk_maps
from model_zoo.segmenters.simpleclick_network import SimpleClickNetwork
from model_zoo.segmenters.simpleclick_weights import RADIUS, RENAMED, SIZES, convert_simpleclick

FORWARD = {448: 11, 672: 12}  # sides of square inputs, and the seeds of their pictures
POINTS = ((100.0, 200.0, True), (310.25, 80.5, True), (37.125, 400.75, False), (-20.0, 10.5, False))
"""(row, column, positive) in pixels of the input; the last lies outside."""
STRIDE = 16  # of the logits that are stored
SEEDS = {"xtiny": 10, "b": 8}  # of weights
GAIN = {
    "backbone.patch_embed.proj.weight": 0.56,
    "head.convs.0.conv.weight": 0.7,
    "head.convs.1.conv.weight": 0.7,
    "head.conv_seg.weight": 5.0,
}
BIAS = {"head.conv_seg.bias": -1.0}


@dataclass(frozen=True, eq=False)
class Scene:
    """image: (H, W, 3) uint8; clicks are answered one after another."""

    image: NDArray[np.uint8]
    clicks: tuple[Click, ...]


def tensor(name: str, shape: Iterable[int], seed: int) -> torch.Tensor:
    """The same numbers for a published name wherever they are asked for.

    Such that image, clicks, mask before and place all change the answer, and that objects and so windows vary from
    click to click: clicks weigh much, places smoothly, fine levels little.
    """
    size = tuple(shape)
    values = np.random.default_rng([seed, crc32(name.encode())]).standard_normal(size, dtype=np.float32)
    if name == "backbone.pos_embed":
        side = isqrt(size[1] - 1)
        grid = gaussian_filter(values[0, 1:].reshape(side, side, -1), (6, 6, 0), mode="nearest")
        values[0, 1:] = (0.6 / grid.std() * grid).reshape(side * side, -1)
    elif len(size) == 1:
        values = (1.0 if name.endswith("weight") else BIAS.get(name, 0.0)) + 0.1 * values
    else:
        values *= GAIN.get(name, 1.4) / np.sqrt(prod(size[1:]))
    if name == "patch_embed_coords.proj.weight":
        values[:, 1:] *= 15.0
    return torch.from_numpy(np.asarray(values, dtype=np.float32))


def published_state(size: str) -> dict[str, torch.Tensor]:
    """What a published file of such a network would hold of that which runs."""
    theirs = {ours: name for name, ours in RENAMED.items()}
    found = {}
    for name, value in SimpleClickNetwork(SIZES[size]).state_dict().items():
        start = next(start for start in theirs if name == start or name.startswith(start + "."))
        shape = list(value.shape)
        if name == "positions":
            shape[1] += 1
        published = theirs[start] + name[len(start) :]
        found[published] = tensor(published, shape, SEEDS[size])
    return found


def network(size: str) -> SimpleClickNetwork:
    """Our network with those weights."""
    made = SimpleClickNetwork(SIZES[size])
    made.load_state_dict(convert_simpleclick(SIZES[size], published_state(size), {}))
    return made.eval().requires_grad_(False)


def picture(height: int, width: int, seed: int) -> NDArray[np.uint8]:
    """(height, width, 3): blurred noise, a disk in the middle of other colours."""
    rng = np.random.default_rng(seed)
    image = cv2.GaussianBlur(rng.uniform(0, 255, (height, width, 3)).astype(np.float32), (0, 0), 4.0)
    image = (image - image.mean()) * 4.0 + 110.0
    rows, cols = np.mgrid[:height, :width]
    inside = np.hypot(rows - height * 0.55, cols - width * 0.45) < 0.22 * min(height, width)
    image[inside] += (70.0, -50.0, -20.0)
    return np.clip(image, 0, 255).astype(np.uint8)


def network_input(side: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(1, 3, side, side) in [0, 1], and (1, 1, side, side): the probability of a mask before."""
    pixels = torch.from_numpy(picture(side, side, FORWARD[side])).permute(2, 0, 1)[None] / 255.0
    return pixels, previous(side, side)


def answer(made: SimpleClickNetwork, side: int) -> NDArray[np.float32]:
    """Every ``STRIDE``-th logit of the answer to ``network_input`` and ``POINTS``."""
    maps = disk_maps(POINTS, side, side, RADIUS)[None]
    with torch.inference_mode():
        logits = made(torch.cat(network_input(side), dim=1), maps)
    return np.asarray(logits[0, 0, ::STRIDE, ::STRIDE].numpy(), dtype=np.float32)


def previous(height: int, width: int) -> torch.Tensor:
    """(1, 1, height, width) probabilities of a mask before."""
    rows, cols = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
    return torch.sigmoid(6.0 - 14.0 * (rows.square() + cols.square()))[None, None]


def _scene(height: int, width: int, seed: int) -> Scene:
    """Seven clicks, one of them beside the border and one far away."""
    places = (
        (0.55, 0.45, True), (0.2, 0.8, False), (0.62, 0.5, True), (0.4, 0.3, False),
        (0.0, 0.97, True), (0.9, 0.1, False), (0.5, 0.4, True),
    )  # fmt: skip
    clicks = tuple(Click(int(row * height) + 0.5, int(col * width) + 0.5, sign) for row, col, sign in places)
    return Scene(picture(height, width, seed), clicks)


SCENES = {448: _scene(401, 597, 21), 672: _scene(533, 399, 22)}
"""By the side of the square that the network sees."""
