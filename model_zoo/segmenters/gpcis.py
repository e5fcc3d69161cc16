"""GPCIS as a segmenter: the image, later a region around the object, squashed to a square, prompts, network, paste.

Zhou et al., Interactive Segmentation as Gaussian Process Classification, CVPR 2023, and its published predictor
(github.com/zmhhmz/GPCIS_CVPR2023, commit 6460415, MIT licence); written from a description of both. Deliberate
differences: of several clicks on one network pixel the latest counts (the kernel matrix would be singular); without
a positive click there is no object.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from model_zoo.encoders import check_image
from model_zoo.prompt import Click, Prompt
from model_zoo.registry import register_segmenter
from model_zoo.segmenters.base import Embedding, Mask, Segmenter
from model_zoo.segmenters.click_maps import render
from model_zoo.segmenters.gpcis_network import GpcisNetwork
from model_zoo.segmenters.gpcis_weights import GPCIS, read_gpcis
from model_zoo.segmenters.zoom_in import Region, whole
from model_zoo.weights import file_digest

Floats = NDArray[np.float32]
SIDE = 384  # of the square that the network sees (256 on SBD)
SURE = 0.49  # probability from which a pixel belongs to the region
EXPANSION, SMALLEST = 1.4, 10  # of the region around the object; pixels
LIMIT = 12.0  # logits are cut off here
WEIGHTS = Path(__file__).parent.parent / GPCIS.package_path


@dataclass(frozen=True, eq=False)
class _State:
    """The last answer: probabilities (region.height, region.width), 0 elsewhere in the image."""

    region: Region
    probability: Floats


class Gpcis(Segmenter):
    """GPCIS on any network with GpcisNetwork's interface; ``state`` is the probability map so far."""

    prompts: ClassVar[frozenset[str]] = frozenset({"click"})
    stateful: ClassVar[bool] = True
    order_free: ClassVar[bool] = False

    def __init__(self, name: str, network: GpcisNetwork, digest: str, device: str = "cpu") -> None:
        self.name = name
        self.fingerprint = f"{name}:{digest[:16]}:{SIDE}"
        self._device = torch.device(device)
        self._network = network.eval().requires_grad_(False).to(self._device)

    def encode(self, image: NDArray[np.uint8]) -> Embedding:
        """The image itself: the network sees it together with the prompt, and a new region at each click."""
        check_image(image)
        return Embedding(image.shape[0], image.shape[1], image.nbytes, image.copy())

    def decode(self, embedding: Embedding, prompt: Prompt, state: Any = None) -> Mask:
        height, width = embedding.height, embedding.width
        logits = np.full((height, width), -LIMIT, dtype=np.float32)
        if not any(click.positive for click in prompt.clicks):
            return Mask(logits, 0.0, None, state)
        before = state if isinstance(state, _State) and len(prompt.clicks) > 1 else None
        region = _region(before, prompt, height, width)
        probability = self._answer(embedding.data, before, prompt, region)
        window = logits[region.window]
        ratio = np.log(np.maximum(probability, 1e-9)) - np.log(np.maximum(1.0 - probability, 1e-9))
        window[:] = np.clip(ratio, -LIMIT, LIMIT)
        chosen = probability[window > 0]
        score = float(chosen.mean()) if chosen.size else 0.0
        return Mask(logits, score, None, _State(region, probability))

    def _answer(
        self, image: NDArray[np.uint8], before: _State | None, prompt: Prompt, region: Region
    ) -> Floats:
        """Probabilities (region.height, region.width)."""
        crop = np.ascontiguousarray(image[region.window])
        clicks = _clicks(prompt, (image.shape[0], image.shape[1]), region)
        previous = None if before is None else _resample(torch.from_numpy(_cut(before, region)), SIDE, SIDE)
        # The published maps measure from the corner of a pixel, click_maps from its centre.
        drawn = [
            Click(click.row + 0.5, click.col + 0.5, click.positive)
            for click in clicks
            if max(click.row, click.col) >= 0
        ]
        maps = render(SIDE, SIDE, clicks=drawn, previous=None if previous is None else previous.numpy())
        with torch.inference_mode():
            pixels = torch.from_numpy(crop).to(self._device).permute(2, 0, 1).float() / 255.0
            output = self._network(
                _resample(pixels, SIDE, SIDE)[None],
                torch.from_numpy(maps)[None].to(self._device),
                clicks=[_latest(clicks)],
            )
            probability = _resample(torch.sigmoid(output.logits[0, 0]), region.height, region.width)
            return np.asarray(probability.cpu().numpy(), dtype=np.float32)


def _region(before: _State | None, prompt: Prompt, height: int, width: int) -> Region:
    """All of the image at first; then the object so far and its positive clicks, and room around them."""
    found = None if before is None else before.probability > SURE
    if before is None or found is None or not found.any():
        return whole((height, width))
    rows, cols = np.flatnonzero(found.any(axis=1)), np.flatnonzero(found.any(axis=0))
    pixels = [click.pixel(height, width) for click in prompt.clicks if click.positive]
    edges = []
    for values, start, side, axis in (
        (rows, before.region.top, height, 0),
        (cols, before.region.left, width, 1),
    ):
        clicked = [pixel[axis] for pixel in pixels]
        first = min(int(values.min()) + start, *clicked)
        last = max(int(values.max()) + start, *clicked)
        half = 0.5 * max(EXPANSION * (last - first + 1), SMALLEST)
        middle = 0.5 * (first + last)
        edges.append((max(0, round(middle - half)), min(side - 1, round(middle + half)) + 1))
    return Region(edges[0][0], edges[1][0], edges[0][1], edges[1][1])


def _clicks(prompt: Prompt, image: tuple[int, int], region: Region) -> list[Click]:
    """Clicks in pixels of the square; those outside the region lie outside the square."""
    rows, cols = SIDE / region.height, SIDE / region.width
    found = []
    for click in prompt.clicks:
        row, col = click.pixel(*image)
        found.append(Click((row - region.top) * rows, (col - region.left) * cols, click.positive))
    return found


def _latest(clicks: list[Click]) -> list[Click]:
    """One click a network pixel, the latest."""
    return list({(int(click.row // 1), int(click.col // 1)): click for click in clicks}.values())


def _cut(before: _State, region: Region) -> Floats:
    """The former probabilities in a region of the image, 0 where they said nothing."""
    old = before.region
    cut = np.zeros((region.height, region.width), dtype=np.float32)
    top, bottom = max(old.top, region.top), min(old.bottom, region.bottom)
    left, right = max(old.left, region.left), min(old.right, region.right)
    if top < bottom and left < right:
        cut[top - region.top : bottom - region.top, left - region.left : right - region.left] = (
            before.probability[top - old.top : bottom - old.top, left - old.left : right - old.left]
        )
    return cut


def _resample(values: Tensor, height: int, width: int) -> Tensor:
    """Bilinear, corner to corner: (h, w) or (C, h, w)."""
    planes = values[None, None] if values.ndim == 2 else values[None]
    resized = functional.interpolate(planes, size=(height, width), mode="bilinear", align_corners=True)
    return resized[0, 0] if values.ndim == 2 else resized[0]


def load_gpcis(path: Path, device: str = "cpu") -> Gpcis:
    """The segmenter with trained weights; raises WeightsMissing."""
    return Gpcis("gpcis-resnet50", read_gpcis(path), file_digest(path), device)


@register_segmenter(
    paper=GPCIS.paper,
    licence=GPCIS.licence,
    source="written for ClickPick from the paper",
    weights=(GPCIS,),
)
def gpcis_resnet50(device: str) -> Gpcis:
    """Gaussian-process classification on ResNet-50 DeepLabV3+ features; to be trained first."""
    return load_gpcis(WEIGHTS, device)
