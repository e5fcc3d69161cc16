"""Reproducible weights, pictures and clicks for comparisons with the published RITM; scripts use them, too."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import Any
from zlib import crc32

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from model_zoo.modifiers import apply_modifiers
from model_zoo.prompt import Click
from model_zoo.segmenters.backprop_refinement import BackpropRefinement
from model_zoo.segmenters.predictor import ClickPredictor, PredictorParameters
from model_zoo.segmenters.predictor_window import Zoom
from model_zoo.segmenters.ritm_network import HRNetBody, RitmNetwork
from model_zoo.segmenters.ritm_weights import DEEPLAB_NAMES, NETWORKS, convert_ritm

FORWARD = ((101, 77, 1), (160, 243, 2))  # height and width of inputs, and the seeds of their pictures
POINTS = ((50.0, 40.0, True), (60.25, 30.5, True), (20.125, 60.75, False), (-3.0, 10.5, False))
"""(row, column, positive) in pixels of the input; the last lies outside."""
STRIDE = 12  # of the logits that are stored
SPREAD = {
    "ritm-hrnet18s": (8.0, -1.5), "ritm-hrnet18": (4.0, -4.0), "ritm-hrnet32": (8.0, 1.0),
    "ritm-hrnet18-baseline": (6.0, -4.0), "ritm-resnet34": (2.0, 2.0),
}  # fmt: skip
"""Factor of the logits and what is added to them, so that there is an object, and that it is not everything."""
LAST = {"feature_extractor.cls_head", "head.layers.2"}
GAINS = {
    "feature_extractor.conv1.weight": 5.0,
    "feature_extractor.backbone.conv1.weight": 5.0,
    "maps_transform.0.weight": 6.0,
    "maps_transform.2.weight": 6.0,
}
"""Of layers that let image, clicks and mask matter."""


def tensor(name: str, shape: Iterable[int]) -> torch.Tensor:
    """The same numbers for a published name wherever they are asked for, and such that answers vary."""
    size = tuple(shape)
    rng = np.random.default_rng([3, crc32(name.encode())])
    if name.endswith("num_batches_tracked"):
        return torch.tensor(1)
    if name.endswith("scale"):
        return torch.ones(size)
    values = rng.standard_normal(size, dtype=np.float32)
    if name.endswith("running_var"):
        values = 0.75 + 0.5 * rng.random(size, dtype=np.float32)
    elif len(size) == 1:
        added = ".bn2." in name or "fuse_layers" in name  # sums would grow from block to block
        values = ((0.3 if added else 1.0) if name.endswith("weight") else 0.0) + 0.1 * values
    else:
        values *= GAINS.get(name, 1.0) / np.sqrt(prod(size[1:]))
    return torch.from_numpy(np.asarray(values, dtype=np.float32))


def published_state(model: str, shapes: Mapping[str, Iterable[int]]) -> dict[str, torch.Tensor]:
    """What a published file of such a model would hold. shapes: of its tensors."""
    found = {name: tensor(name, shape) for name, shape in shapes.items()}
    gain, shift = SPREAD[model]
    for last in LAST & {name.rpartition(".")[0] for name in found}:
        found[f"{last}.weight"] *= 4.0 * gain
        found[f"{last}.bias"] += shift
    return found


def network(model: str) -> RitmNetwork:
    """Our network with those weights, of a model's name."""
    made = NETWORKS[model]()
    named = their_hrnet_name if isinstance(made.body, HRNetBody) else their_deeplab_name
    shapes = {named(name): value.shape for name, value in made.state_dict().items()}
    made.load_state_dict(convert_ritm(NETWORKS[model], published_state(model, shapes), {}))
    return made.eval().requires_grad_(False)


def their_hrnet_name(name: str) -> str:
    """Of a tensor of our network, in a published file."""
    for ours in ("body.trunk.layers.", "body.head."):
        if name.startswith(ours):
            return "feature_extractor." + name.removeprefix(ours)
    return name


def their_deeplab_name(name: str) -> str:
    """Of a tensor of our network, in a published file."""
    for theirs, ours in DEEPLAB_NAMES:
        if name.startswith(ours):
            number, _, rest = name.removeprefix(ours).partition(".")
            separable = ours in ("body.decoder.", "body.head.") and number in ("0", "1")
            return f"{theirs}{number}.body.{rest}" if separable else f"{theirs}{number}.{rest}"
    return name


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


def network_input(height: int, width: int, seed: int) -> torch.Tensor:
    """(1, 4, height, width): a picture in [0, 1], and the probability of a mask before."""
    pixels = torch.from_numpy(picture(height, width, seed)).permute(2, 0, 1) / 255.0
    rows, cols = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
    before = torch.sigmoid(6.0 - 14.0 * (rows.square() + cols.square()))[None]
    return torch.cat([pixels, before])[None]


@dataclass(frozen=True, eq=False)
class Scene:
    """image: (H, W, 3) uint8; clicks are answered one after another. started: with the mask to start from.

    zoom: parameters of the published ZoomIn, None for none. mode: how answers are refined, as the published code
    calls it. evaluations: of the network, in refining one answer.
    """

    image: NDArray[np.uint8]
    clicks: tuple[Click, ...]
    zoom: Mapping[str, Any] | None
    started: bool = False
    mode: str = "NoBRS"
    evaluations: int = 20

    @property
    def mask(self) -> NDArray[np.bool_] | None:
        """(H, W), to start from: the picture's disk, moved."""
        moved = np.roll(disk(*self.image.shape[:2]), (15, -20), axis=(0, 1))
        return np.asarray(moved, dtype=np.bool_) if self.started else None


def clicks(height: int, width: int, count: int, seed: int) -> tuple[Click, ...]:
    """All over the picture, with the disk's middle first."""
    rng = np.random.default_rng(seed)
    rows, cols = rng.integers(0, height, count), rng.integers(0, width, count)
    rows[0], cols[0] = int(height * 0.55), int(width * 0.45)
    inside = disk(height, width)
    return tuple(
        Click(int(row) + 0.5, int(col) + 0.5, bool(inside[row, col] or number % 4 == 0))
        for number, (row, col) in enumerate(zip(rows, cols, strict=True))
    )


def near_clicks(height: int, width: int, count: int, seed: int) -> tuple[Click, ...]:
    """Around the disk's middle, where every window lies; signs take turns.

    The published refinement is wrong on clicks left of a window or above it.
    """
    rng = np.random.default_rng(seed)
    moves = rng.integers(-18, 19, (count, 2))
    moves[0] = 0
    return tuple(
        Click(int(height * 0.55) + row + 0.5, int(width * 0.45) + col + 0.5, number % 2 == 0)
        for number, (row, col) in enumerate(moves.tolist())
    )


SMALL = {"target_size": 160, "min_crop_size": 60}
MODES = ("f-BRS-A", "f-BRS-B", "f-BRS-C", "RGB-BRS", "DistMap-BRS")
NEAR = near_clicks(171, 203, 11, 7)
SCENES = {
    "first whole": Scene(picture(211, 317, 3), clicks(211, 317, 8, 3), {**SMALL, "skip_clicks": 1}),
    "looks twice": Scene(picture(333, 190, 4), clicks(333, 190, 6, 4), {**SMALL, "skip_clicks": 0}),
    "square": Scene(
        picture(187, 245, 5), clicks(187, 245, 6, 5), {"target_size": (144, 160), "skip_clicks": -1}
    ),
    "started": Scene(picture(201, 259, 6), clicks(201, 259, 5, 6), SMALL, started=True),
    **{
        mode: Scene(
            picture(171, 203, 7), NEAR[:4], SMALL, mode=mode, evaluations=3 if mode == "RGB-BRS" else 5
        )
        for mode in MODES
    },
    **{
        f"{mode} whole": Scene(picture(121, 133, 7), near_clicks(121, 133, 5, 8), None, mode=mode)
        for mode in MODES[:3]
    },
    **{
        f"{mode} to the end": Scene(picture(171, 203, 7), NEAR, SMALL, mode=mode)
        for mode in ("f-BRS-B", "DistMap-BRS")
    },
}
COMPARED = {
    "ritm-hrnet18s": tuple(name for name in SCENES if "BRS" not in name or "whole" not in name),
    "ritm-hrnet18": ("first whole", "f-BRS-B", "f-BRS-B to the end"),
    "ritm-hrnet32": (),
    "ritm-hrnet18-baseline": (),
    "ritm-resnet34": tuple(f"{mode} whole" for mode in MODES[:3]),
}
"""Networks, and the scenes that they are compared in."""
NOT_STORED = ("to the end", "BRS-A whole", "BRS-B whole", "BRS-C whole")
"""Ends of the names of scenes whose long searches drive other processors' rounding apart."""


def parameters(scene: Scene) -> PredictorParameters:
    """Ours, as the published ones of a scene."""
    names = {"target_size": "target", "min_crop_size": "smallest", "skip_clicks": "skip_clicks"}
    zoom = None
    if scene.zoom is not None:
        zoom = Zoom(paste_always=True, **{names[name]: value for name, value in scene.zoom.items()})
    return PredictorParameters(zoom, flip=True, longest=None, quick=False)


def segmenter(network: RitmNetwork, scene: Scene) -> ClickPredictor:
    """Our predictor as the scene has it."""
    plain = ClickPredictor("ritm", network, "", parameters=parameters(scene))
    if scene.mode == "NoBRS":
        return plain
    made: BackpropRefinement = apply_modifiers(plain, [scene.mode.lower().replace("f-brs", "fbrs")])
    made.refinement = replace(made.refinement, evaluations=scene.evaluations)
    return made
