"""``clicknet``: ClickPick's own click model, small enough to ship and to run on a laptop's processor.

The whole image is encoded once; the first click is answered from that. From the second click on the model looks at
the surroundings of the object (zoom-in), encoded anew only when they change; a small object is looked at closely at
the first click already. Trained by ``clickpick train-clicks``; what it was trained on and how it measures is in
docs/clicknet.md.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model_zoo.encoders import check_image
from model_zoo.fused import quicken
from model_zoo.precision import cast_weights, quick_precision
from model_zoo.prompt import Prompt
from model_zoo.registry import register_segmenter
from model_zoo.segmenters.base import Embedding, Mask, Segmenter
from model_zoo.segmenters.click_maps import render
from model_zoo.segmenters.clicknet_network import ClickNetwork
from model_zoo.segmenters.clicknet_views import View, cut, marked, moved, transfer
from model_zoo.segmenters.clicknet_weights import CLICKNET, CLICKNET_MIS, load_clicknet
from model_zoo.segmenters.probability import confidence, probability
from model_zoo.segmenters.sharpen import sharpen
from model_zoo.segmenters.zoom_in import Region, ZoomPolicy, next_region, object_region, whole
from model_zoo.weights import WeightSpec

Floats = NDArray[np.float32]
OUTSIDE = -6.0  # logit of what lies outside the region looked at


@dataclass(frozen=True)
class ClickNetParameters:
    """Sizes in pixels of the longer side, as the network sees it. small: share of the image's sides below which the
    surroundings of what the first prompt found are looked at before anything is answered. mirror: each view is also
    seen left and right changed and both answers are averaged, as RITM does, for twice the time."""

    whole_side: int = 448
    zoomed_side: int = 416
    small: float = 0.5
    mirror: bool = False
    zoom: ZoomPolicy = field(default_factory=ZoomPolicy)


MIS_PARAMETERS = ClickNetParameters(zoomed_side=512, mirror=True)
"""Of weights learnt from regions, whose borders are coarser: on held-out objects (60 of ECSSD, 57 of COCO) NoC@90 is
5.07 and 9.56 with them, 5.25 and 9.74 with 416 pixels, 5.07 and 9.88 without the mirror. ``clicknet`` gains nothing
by more pixels (480: 2.00 and 7.81 instead of 1.92 and 7.60), and little by the mirror (1.90 and 7.49)."""


@dataclass(frozen=True, eq=False)
class _Image:
    pixels: NDArray[np.uint8]
    view: View


@dataclass(frozen=True, eq=False)
class ClickNetState:
    """The answer to the last click: probability (h, w) of the view, and the view to keep while it fits.

    ``shared``: the view is the image's, which its embedding holds and accounts for. Another view may be held by the
    answers to later clicks, too.
    """

    view: View
    probability: Floats
    shared: bool

    @property
    def nbytes(self) -> int:
        return self.probability.nbytes

    @property
    def parts(self) -> tuple[tuple[object, int], ...]:
        return () if self.shared else ((self.view, self.view.nbytes),)


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
        cast_weights(network, self._device)
        self._network = network.to(memory_format=torch.channels_last)

    def encode(self, image: NDArray[np.uint8]) -> Embedding:
        check_image(image)
        height, width = image.shape[:2]
        view = self._look(image, whole((height, width)), self.parameters.whole_side)
        return Embedding(height, width, image.nbytes + view.nbytes, _Image(image, view))

    def decode(self, embedding: Embedding, prompt: Prompt, state: Any = None) -> Mask:
        image: _Image = embedding.data
        shape = embedding.height, embedding.width
        prompt.check_mask(*shape)
        if not _names_an_object(prompt):
            return Mask(np.full(shape, OUTSIDE, dtype=np.float32), 0.0)
        earlier = state if isinstance(state, ClickNetState) else _from_mask(image.view, prompt)
        if earlier is None:
            logits, answer = self._run(image, image.view, prompt, None)
            region = self._region(answer, prompt, shape)
            closer = max(region.height / shape[0], region.width / shape[1]) < self.parameters.small
        else:
            answer, region, closer = earlier, self._region(earlier, prompt, shape), True
        if closer:
            logits, answer = self._run(image, self._view(image, answer, region), prompt, answer)
        view = answer.view
        full = sharpen(logits, image.pixels[view.region.window], view.grey)
        if full.shape != shape:
            part, full = full, np.full(shape, OUTSIDE, dtype=np.float32)
            full[view.region.window] = part
        return Mask(full, confidence(logits), None, answer)

    def _region(self, answer: ClickNetState, prompt: Prompt, shape: tuple[int, int]) -> Region:
        """Where to look after an answer."""
        zoom, seen, points = self.parameters.zoom, answer.view.region, marked(prompt, shape)
        found = object_region(answer.probability, seen, points, shape, zoom)
        return next_region(seen, found, points, shape, zoom)

    def _view(self, image: _Image, answer: ClickNetState, region: Region) -> View:
        """The view that was used before, that of the whole image, or a new one."""
        for view in (answer.view, image.view):
            if view.region == region:
                return view
        return self._look(image.pixels, region, self.parameters.zoomed_side)

    def _look(self, image: NDArray[np.uint8], region: Region, side: int) -> View:
        """Encode a region at about the given longer side."""
        resized = cut(image, region, side)
        with torch.inference_mode(), quick_precision(self._device):
            pixels = torch.from_numpy(resized).to(self._device).permute(2, 0, 1).float() / 255.0
            pixels = self._batch(pixels)
            pyramid = self._network.embed(pixels.contiguous(memory_format=torch.channels_last))
        return View(region, np.asarray(cv2.cvtColor(resized, cv2.COLOR_RGB2GRAY), dtype=np.uint8), pyramid)

    def _run(
        self, image: _Image, view: View, prompt: Prompt, earlier: ClickNetState | None
    ) -> tuple[Floats, ClickNetState]:
        """Logits (h / 2, w / 2) of a view, and the state that they leave."""
        previous = None if earlier is None else transfer(earlier.probability, earlier.view.region, view)
        seen = moved(prompt, view)
        maps = render(
            view.height, view.width, clicks=seen.clicks, strokes=seen.strokes, box=seen.box, previous=previous
        )
        with torch.inference_mode(), quick_precision(self._device):
            batch = self._batch(torch.from_numpy(maps).to(self._device))
            decoded = self._network.decode(view.pyramid, batch).fine[:, 0].float()
            answer = (decoded[0] + decoded[1].flip(-1)) / 2 if self.parameters.mirror else decoded[0]
        logits = np.asarray(answer.cpu().numpy(), dtype=np.float32)
        return logits, ClickNetState(view, probability(logits), view is image.view)

    def _batch(self, maps: Tensor) -> Tensor:
        """(C, H, W) as (1, C, H, W), or with its mirror image, left and right changed: (2, C, H, W)."""
        return torch.stack((maps, maps.flip(-1))) if self.parameters.mirror else maps[None]


def _names_an_object(prompt: Prompt) -> bool:
    """Negative clicks and strokes alone say where nothing is."""
    positive = any(click.positive for click in prompt.clicks)
    positive = positive or any(stroke.positive and stroke.points for stroke in prompt.strokes)
    started = prompt.mask is not None and bool(prompt.mask.any())
    return positive or prompt.box is not None or started


def _from_mask(view: View, prompt: Prompt) -> ClickNetState | None:
    """The mask that the prompt starts from, as if it had been the answer before."""
    if prompt.mask is None or not prompt.mask.any():
        return None
    size = view.width, view.height
    small = cv2.resize(prompt.mask.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    return ClickNetState(view, np.asarray(small, dtype=np.float32), shared=True)


def _build(
    name: str, spec: WeightSpec, device: str, parameters: ClickNetParameters | None = None
) -> ClickNetSegmenter:
    network = load_clicknet(spec).eval()
    quicken(network)
    return ClickNetSegmenter(name, network, spec.sha256, device, parameters)


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
    return _build("clicknet-mis", CLICKNET_MIS, device, MIS_PARAMETERS)
