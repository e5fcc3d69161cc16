"""``clicknet``: ClickPick's own click model, small enough to ship and to run on a laptop's processor.

The whole image is encoded once; the first click is answered from that. From the second click on the model looks at
the surroundings of the object (zoom-in), encoded anew only when they change. Trained by ``clickpick train-clicks``;
what it was trained on and how it measures is in docs/clicknet.md.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from model_zoo.encoders import check_image
from model_zoo.prompt import Box, Click, Prompt, Stroke
from model_zoo.registry import register_segmenter
from model_zoo.segmenters.base import Embedding, Mask, Segmenter
from model_zoo.segmenters.click_maps import render
from model_zoo.segmenters.clicknet_network import MULTIPLE, ClickNetwork, Pyramid
from model_zoo.segmenters.clicknet_weights import CLICKNET, CLICKNET_MIS, load_clicknet
from model_zoo.segmenters.fused import fuse_batch_norms
from model_zoo.segmenters.sharpen import sharpen
from model_zoo.segmenters.zoom_in import Region, ZoomPolicy, next_region, object_region, whole
from model_zoo.weights import WeightSpec

Floats = NDArray[np.float32]
OUTSIDE = -6.0  # logit of what lies outside the region looked at


@dataclass(frozen=True)
class ClickNetParameters:
    """Sizes in pixels of the longer side, as the network sees it."""

    whole_side: int = 512
    zoomed_side: int = 448
    zoom: ZoomPolicy = field(default_factory=ZoomPolicy)


@dataclass(frozen=True, eq=False)
class _View:
    """A region of the image as the network saw it."""

    region: Region
    height: int
    width: int
    pyramid: Pyramid


@dataclass(frozen=True, eq=False)
class _Image:
    pixels: NDArray[np.uint8]
    view: _View


@dataclass(frozen=True, eq=False)
class ClickNetState:
    """The answer to the last click: probability (h, w) of the view, and the view to keep while it fits."""

    view: _View
    probability: Floats

    @property
    def nbytes(self) -> int:
        return self.probability.nbytes + _nbytes(self.view.pyramid)


class ClickNetSegmenter(Segmenter):
    """Late-fusion click model; see the module."""

    prompts = frozenset({"click", "box", "stroke"})
    stateful = True
    order_free = False

    def __init__(
        self,
        name: str,
        network: ClickNetwork,
        digest: str,
        device: str = "cpu",
        parameters: ClickNetParameters | None = None,
    ) -> None:
        """digest: of the weights; part of the fingerprint."""
        self.name = name
        self.parameters = parameters or ClickNetParameters()
        self.fingerprint = f"{name}:{digest[:16]}:{asdict(self.parameters)}"
        self._device = torch.device(device)
        network = network.eval().requires_grad_(False).to(self._device)
        self._network = network.to(memory_format=torch.channels_last)

    def encode(self, image: NDArray[np.uint8]) -> Embedding:
        check_image(image)
        height, width = image.shape[:2]
        view = self._look(image, whole((height, width)), self.parameters.whole_side)
        return Embedding(height, width, image.nbytes + _nbytes(view.pyramid), _Image(image, view))

    def decode(self, embedding: Embedding, prompt: Prompt, state: Any = None) -> Mask:
        image: _Image = embedding.data
        shape = embedding.height, embedding.width
        if not _names_an_object(prompt):
            return Mask(np.full(shape, OUTSIDE, dtype=np.float32), 0.0)
        earlier = state if isinstance(state, ClickNetState) else _from_mask(image.view, prompt)
        view = self._choose(image, earlier, prompt, shape)
        previous = None if earlier is None else _transfer(earlier, view)
        logits = self._run(view, prompt, previous)
        probability = np.asarray(1.0 / (1.0 + np.exp(-logits)), dtype=np.float32)
        full = np.full(shape, OUTSIDE, dtype=np.float32)
        region = view.region
        crop = image.pixels[region.window]
        full[region.window] = sharpen(logits, crop, (view.height, view.width))
        chosen = probability[probability > 0.5]
        score = float(chosen.mean()) if chosen.size else 0.0
        return Mask(full, score, None, ClickNetState(view, probability))

    def _choose(
        self, image: _Image, earlier: ClickNetState | None, prompt: Prompt, shape: tuple[int, int]
    ) -> _View:
        """The view for this click: as before, the whole image, or newly zoomed and encoded."""
        if earlier is None:
            return image.view
        zoom = self.parameters.zoom
        seen = earlier.view.region
        marked = _marked(prompt, shape)
        found = object_region(earlier.probability, seen, marked, shape, zoom)
        region = next_region(seen, found, marked, shape, zoom)
        for view in (earlier.view, image.view):
            if view.region == region:
                return view
        return self._look(image.pixels, region, self.parameters.zoomed_side)

    def _look(self, image: NDArray[np.uint8], region: Region, side: int) -> _View:
        """Encode a region at about the given longer side, each side a multiple of 32."""
        scale = side / max(region.height, region.width)
        height, width = (
            max(1, round(length * scale / MULTIPLE)) * MULTIPLE for length in (region.height, region.width)
        )
        shrinks = region.height * region.width > height * width
        interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        part = np.ascontiguousarray(image[region.window])
        resized = cv2.resize(part, (width, height), interpolation=interpolation)
        with torch.inference_mode():
            pixels = torch.from_numpy(resized).to(self._device).permute(2, 0, 1)[None].float() / 255.0
            pyramid = self._network.embed(pixels.contiguous(memory_format=torch.channels_last))
        return _View(region, height, width, pyramid)

    def _run(self, view: _View, prompt: Prompt, previous: Floats | None) -> Floats:
        """Logits (h / 2, w / 2) of a view."""
        moved = _moved(prompt, view)
        maps = render(
            view.height,
            view.width,
            clicks=moved.clicks,
            strokes=moved.strokes,
            box=moved.box,
            previous=previous,
        )
        with torch.inference_mode():
            logits = self._network.decode(view.pyramid, torch.from_numpy(maps[None]).to(self._device)).fine
            return np.asarray(logits[0, 0].float().cpu().numpy(), dtype=np.float32)


def _marked(prompt: Prompt, shape: tuple[int, int]) -> list[Click]:
    """Positive clicks and strokes and the corners of the box, within the image: what must stay in view."""
    points = [(click.row, click.col) for click in prompt.clicks if click.positive]
    points += [point for stroke in prompt.strokes if stroke.positive for point in stroke.points]
    if (box := prompt.box) is not None:
        points += [(box.top, box.left), (box.bottom, box.right)]
    height, width = shape
    return [Click(min(max(row, 0.0), height - 1e-3), min(max(col, 0.0), width - 1e-3)) for row, col in points]


def _names_an_object(prompt: Prompt) -> bool:
    """Negative clicks and strokes alone say where nothing is."""
    positive = any(click.positive for click in prompt.clicks)
    positive = positive or any(stroke.positive and stroke.points for stroke in prompt.strokes)
    started = prompt.mask is not None and bool(prompt.mask.any())
    return positive or prompt.box is not None or started


def _moved(prompt: Prompt, view: _View) -> Prompt:
    """The prompt in coordinates of the view."""
    region = view.region
    scales = view.height / region.height, view.width / region.width

    def at(row: float, col: float) -> tuple[float, float]:
        return (row - region.top) * scales[0], (col - region.left) * scales[1]

    clicks = tuple(Click(*at(click.row, click.col), click.positive) for click in prompt.clicks)
    strokes = tuple(
        Stroke(tuple(at(*point) for point in stroke.points), stroke.positive, stroke.radius)
        for stroke in prompt.strokes
    )
    box = prompt.box
    moved = None if box is None else Box(*at(box.top, box.left), *at(box.bottom, box.right))
    return Prompt(clicks, moved, strokes)


def _from_mask(view: _View, prompt: Prompt) -> ClickNetState | None:
    """The mask that the prompt starts from, as if it had been the answer before."""
    if prompt.mask is None or not prompt.mask.any():
        return None
    size = view.width, view.height
    small = cv2.resize(prompt.mask.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    return ClickNetState(view, np.asarray(small, dtype=np.float32))


def _transfer(state: ClickNetState, view: _View) -> Floats:
    """The earlier probability (view.height, view.width), 0 where the earlier view did not look."""
    rows, cols = state.probability.shape
    old, new = state.view.region, view.region
    if old == new:
        size = view.width, view.height
        return np.asarray(cv2.resize(state.probability, size, interpolation=cv2.INTER_LINEAR))
    matrix = np.zeros((2, 3))
    for axis, (shift, old_pixel, new_pixel) in enumerate(  # x, then y; sizes in pixels of the image
        (
            (new.left - old.left, old.width / cols, new.width / view.width),
            (new.top - old.top, old.height / rows, new.height / view.height),
        )
    ):
        scale = new_pixel / old_pixel
        matrix[axis, axis] = scale
        matrix[axis, 2] = shift / old_pixel + 0.5 * scale - 0.5
    warped = cv2.warpAffine(
        state.probability,
        matrix,
        (view.width, view.height),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=0.0,
    )
    return np.asarray(warped, dtype=np.float32)


def _nbytes(pyramid: Pyramid) -> int:
    return sum(level.numel() * level.element_size() for level in pyramid)


def _build(name: str, spec: WeightSpec, device: str) -> ClickNetSegmenter:
    network = load_clicknet(spec).eval()
    fuse_batch_norms(network)
    return ClickNetSegmenter(name, network, spec.sha256, device)


@register_segmenter(
    paper="ClickPick's own; see docs/clicknet.md (RITM clicks, SegNext late fusion, MIS regions)",
    licence=CLICKNET.licence,
    source="written for ClickPick",
    weights=(CLICKNET,),
)
def clicknet(device: str) -> ClickNetSegmenter:
    """Late-fusion click network on EfficientNet-Lite0, learnt from masks and MIS regions; clicks, boxes, strokes."""
    return _build("clicknet", CLICKNET, device)


@register_segmenter(
    paper="ClickPick's own, on regions of Li et al., MIS, ICCV 2023",
    licence=CLICKNET_MIS.licence,
    source="written for ClickPick",
    weights=(CLICKNET_MIS,),
)
def clicknet_mis(device: str) -> ClickNetSegmenter:
    """The same network learnt from MIS regions alone, without any mask (its encoder knows ImageNet's labels)."""
    return _build("clicknet-mis", CLICKNET_MIS, device)
