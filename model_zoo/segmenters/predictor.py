"""RITM's way from clicks to a mask, for every network that sees image, clicks and its previous answer together.

Sofiiuk et al., Reviving Iterative Training with Mask Guidance, 2021; compared with
github.com/SamsungLabs/ritm_interactive_segmentation (commit b9b4460, MIT licence), written from a description.
Deliberate differences, besides those of predictor_window: strokes become clicks, a box becomes a click and a window;
without a positive click, stroke, box or mask there is no object; with a mask to start from, later clicks go on from
the last answer, not from that mask.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Protocol, TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from model_zoo.encoders import check_image
from model_zoo.modifiers import register_modifier
from model_zoo.precision import quick_precision
from model_zoo.prompt import Click, Prompt
from model_zoo.segmenters.base import Embedding, Mask, Segmenter
from model_zoo.segmenters.box_click import box_region, cut_to_box, with_middle
from model_zoo.segmenters.predictor_maps import (
    LIMIT,
    Floats,
    Point,
    disk_maps,
    resize,
    shifted_logits,
    window_points,
)
from model_zoo.segmenters.predictor_window import (
    Answer,
    Pixel,
    PredictorState,
    Zoom,
    choose_view,
    crop_pixels,
    worth_a_closer_look,
)
from model_zoo.segmenters.stroke_points import stroke_clicks
from model_zoo.segmenters.zoom_in import Region, whole


class ClickNetwork(Protocol):
    """image: (B, 4, H, W) float32, RGB in [0, 1] and the previous probability. maps: (B, 2, H, W), positive and
    negative disks. Returns logits (B, 1, H, W)."""

    def __call__(self, image: Tensor, maps: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class PredictorParameters:
    """How a network is asked. threshold: probability above which a pixel is the object's. flip: answers to the image
    and to its mirror image are averaged. longest: side in pixels to which what is looked at is reduced, None for no
    limit. radius: of the click disks, in pixels as the network sees them. clicks_limit: the network is shown the
    first so many clicks. quick: in the processor's quickest number format and memory layout, not in float32 and in
    the published layout, to the last bit."""

    zoom: Zoom | None = field(default_factory=lambda: Zoom(skip_clicks=0))
    threshold: float = 0.49
    flip: bool = False
    longest: int | None = 800
    radius: float = 5.0
    clicks_limit: int | None = None
    quick: bool = True


INTERACTIVE = PredictorParameters()
"""One pass at 800 pixels and, where the object is small, a second one in its window; later clicks in the window."""

PUBLISHED = PredictorParameters(Zoom(paste_always=True), flip=True, longest=None, quick=False)
"""RITM's evaluation protocol: the first click on the whole image as large as it is, flips averaged."""

MODIFIERS = ("flip", "published", "rgb-brs", "distmap-brs")
"""That every click predictor takes."""

Changed = TypeVar("Changed", bound="ClickPredictor")


class ClickPredictor(Segmenter):
    """Any ClickNetwork as a segmenter; ``state`` is a PredictorState."""

    prompts: ClassVar[frozenset[str]] = frozenset({"click", "box", "stroke"})
    stateful: ClassVar[bool] = True
    order_free: ClassVar[bool] = False

    def __init__(
        self,
        name: str,
        network: nn.Module,
        digest: str,
        device: str = "cpu",
        *,
        parameters: PredictorParameters = INTERACTIVE,
        published: PredictorParameters = PUBLISHED,
    ) -> None:
        """digest: names the weights. published: the parameters of the paper's evaluation, see ``+published``."""
        self.published = published
        self.digest = digest
        self._is_called(name, parameters)
        self._device = torch.device(device)
        network = network.eval().requires_grad_(False).to(self._device)
        self._network = network.to(memory_format=torch.channels_last) if parameters.quick else network

    def _is_called(self, name: str, parameters: PredictorParameters) -> None:
        self.name, self.parameters = name, parameters
        self.fingerprint = f"{name}:{self.digest}:{parameters}"

    def changed(self: Changed, suffix: str, parameters: PredictorParameters) -> Changed:
        """The same network, asked in another way, as NAME + suffix."""
        other = copy.copy(self)
        other._is_called(self.name + suffix, parameters)
        return other

    def encode(self, image: NDArray[np.uint8]) -> Embedding:
        """The image itself: the network sees it together with the clicks."""
        check_image(image)
        return Embedding(image.shape[0], image.shape[1], image.nbytes, image.copy())

    def decode(self, embedding: Embedding, prompt: Prompt, state: Any = None) -> Mask:
        shape = embedding.height, embedding.width
        prompt.check_mask(*shape)
        prompt = with_middle(prompt)
        clicks = _pixels([*stroke_clicks(prompt.strokes), *prompt.clicks], shape)
        started = prompt.mask is not None and bool(prompt.mask.any())
        if not clicks or not (started or any(positive for _, _, positive in clicks)):
            return _given(prompt.mask if started else None, shape, state)
        if isinstance(state, PredictorState):
            found = self._pass(embedding.data, clicks, state.answer, state)
        else:
            begun, boxed = None, None
            if prompt.mask is not None and started:
                begun = Answer(whole(shape), prompt.mask.astype(np.float32))
            elif prompt.box is not None:
                boxed = _boxed(box_region(prompt.box, shape))
            found = self._pass(embedding.data, clicks, begun, boxed)
            zoom = self.parameters.zoom
            given = (started or bool(prompt.strokes)) and zoom is not None and len(clicks) > zoom.skip_clicks
            if given or worth_a_closer_look(shape, found, zoom):
                found = self._pass(embedding.data, clicks, begun, found)
        return cut_to_box(self._mask(found, shape), prompt)

    def _pass(
        self,
        image: NDArray[np.uint8],
        clicks: Sequence[Pixel],
        previous: Answer | None,
        seen: PredictorState | None,
    ) -> PredictorState:
        """Look once. previous: what the network is told it answered before. seen: by what the window is chosen."""
        settings, size = self.parameters, (image.shape[0], image.shape[1])
        answer, window, memory = (seen.answer, seen.window, seen.memory) if seen else (None, None, None)
        view = choose_view(size, clicks, answer, window, zoom=settings.zoom, longest=settings.longest)
        pixels = crop_pixels(image, view, previous)
        points = window_points(clicks, view.region, *view.size)
        logits, memory = self._logits(pixels, points, memory, view.changed)
        probability = np.asarray(torch.sigmoid(logits.float()).cpu().numpy(), dtype=np.float32)
        return PredictorState(Answer(view.pasted, probability), view.window, memory)

    def _logits(
        self, pixels: Tensor, points: Sequence[Point], memory: Any, changed: bool
    ) -> tuple[Tensor, Any]:
        """Logits (h, w) of pixels (4, h, w), and what is to be remembered; refinements put theirs in its place.

        memory: of the click before. changed: whether the window is another than then.
        """
        del memory, changed
        image = self._mirrored(pixels)
        maps = self._maps(points, pixels.shape[-2], pixels.shape[-1])
        with torch.inference_mode(), self._precision():
            return self._averaged(cast("ClickNetwork", self._network)(image, maps).float()), None

    def _precision(self) -> AbstractContextManager[Any]:
        return quick_precision(self._device) if self.parameters.quick else nullcontext()

    def _mirrored(self, pixels: Tensor) -> Tensor:
        """(4, h, w) as a batch on the device: (1, 4, h, w), or (2, 4, h, w) with its mirror image."""
        batch = torch.stack([pixels, pixels.flip(-1)]) if self.parameters.flip else pixels[None]
        layout = torch.channels_last if self.parameters.quick else torch.contiguous_format
        return batch.to(self._device).contiguous(memory_format=layout)

    def _maps(self, points: Sequence[Point], height: int, width: int) -> Tensor:
        """Disks of the clicks that the network is shown, as a batch like that of the pixels."""
        shown, radius = points[: self.parameters.clicks_limit], self.parameters.radius
        maps = [disk_maps(shown, height, width, radius)]
        if self.parameters.flip:
            maps.append(disk_maps(mirrored(shown, width), height, width, radius))
        return torch.stack(maps).to(self._device)

    def _averaged(self, logits: Tensor) -> Tensor:
        """(1, 1, h, w), or (2, 1, h, w) with those of the mirror image, as (h, w)."""
        return 0.5 * (logits[0, 0] + logits[1, 0].flip(-1)) if self.parameters.flip else logits[0, 0]

    def _mask(self, state: PredictorState, shape: tuple[int, int]) -> Mask:
        region, threshold = state.answer.region, self.parameters.threshold
        logits = np.full(shape, -LIMIT, dtype=np.float32)
        inside = resize(torch.from_numpy(state.answer.probability)[None], region.height, region.width)
        logits[region.window] = shifted_logits(inside[0].numpy(), threshold)
        chosen = state.answer.probability[state.answer.probability > np.float32(threshold)]
        return Mask(logits, float(chosen.mean()) if chosen.size else 0.0, None, state)


def mirrored(points: Sequence[Point], width: int) -> list[Point]:
    """The points in the mirror image of a map of that width."""
    return [(row, width - col - 1, positive) for row, col, positive in points]


def _pixels(clicks: Sequence[Click], shape: tuple[int, int]) -> list[Pixel]:
    return [(*click.pixel(*shape), click.positive) for click in clicks]


def _boxed(region: Region) -> PredictorState:
    """As if all of a region had been the answer before, so that its surroundings are looked at."""
    return PredictorState(Answer(region, np.ones((1, 1), dtype=np.float32)), None)


def _given(mask: NDArray[np.bool_] | None, shape: tuple[int, int], state: Any) -> Mask:
    """The mask to start from as long as nobody has clicked, else nothing at all."""
    logits: Floats = np.full(shape, -LIMIT, dtype=np.float32)
    if mask is not None:
        logits[mask] = LIMIT
    return Mask(logits, 0.0 if mask is None else 1.0, None, state)


@register_modifier()
def flip(segmenter: ClickPredictor) -> ClickPredictor:
    """Averages the answers to the image and to its mirror image."""
    return segmenter.changed("+flip", replace(segmenter.parameters, flip=True))


@register_modifier()
def published(segmenter: ClickPredictor) -> ClickPredictor:
    """Follows the protocol of the paper's evaluation."""
    return segmenter.changed("+published", segmenter.published)
