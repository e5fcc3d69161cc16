"""FocalClick as a segmenter: a coarse mask of the object's surroundings, then one part of it refined, every click.

Chen et al., FocalClick: Towards Practical Interactive Image Segmentation, CVPR 2022, and its published predictor
(github.com/XavierCHEN34/ClickSEG, commit 0c801cf; its README says MIT, its licence file Apache-2.0); written from a
description of both. Deliberate differences, besides those of focalclick_loop: an earlier answer in which nothing is
found makes it look at the whole image again and forget the target crop (there, the answer to the whole image is then
pasted into the crop; ``NAME+published`` does that too); logits are finite; strokes and boxes become clicks; without a
positive click, stroke, box or mask there is no object.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model_zoo.encoders import check_image
from model_zoo.precision import quick_precision
from model_zoo.prompt import Box, Prompt
from model_zoo.segmenters.base import Embedding, Mask, Segmenter
from model_zoo.segmenters.box_click import box_region, cut_to_box, with_middle
from model_zoo.segmenters.focalclick_loop import Bools, focus_region, merge
from model_zoo.segmenters.focalclick_network import FocalClickNetwork
from model_zoo.segmenters.focalclick_sampling import squared
from model_zoo.segmenters.focalclick_target import SURE, FocalClickState, Pixel, View, choose_view
from model_zoo.segmenters.predictor_maps import (
    LIMIT,
    Floats,
    resize,
    window_points,
)
from model_zoo.segmenters.probability import confidence
from model_zoo.segmenters.stroke_points import stroke_clicks
from model_zoo.segmenters.zoom_in import Region

THRESHOLD = 0.5  # probability above which a pixel is the object's
COARSE_SURE = 0.49  # logit (there, too) from which it belongs to the coarse mask
MANY = 10  # clicks after which only the focus crop of an answer changes
LEAST = np.float32(1e-6)  # logit of a pixel that a merge keeps


@dataclass(frozen=True)
class FocalClickParameters:
    """quick: the processor's quickest number format instead of float32. paste_always: where nothing was found, the
    answer to the whole image goes into the target crop of before."""

    quick: bool = True
    paste_always: bool = False


class FocalClick(Segmenter):
    """A FocalClickNetwork with the published loop around it; ``state`` is a FocalClickState."""

    prompts: ClassVar[frozenset[str]] = frozenset({"click", "box", "stroke"})
    stateful: ClassVar[bool] = True
    order_free: ClassVar[bool] = False
    published: ClassVar[FocalClickParameters] = FocalClickParameters(quick=False, paste_always=True)

    def __init__(
        self,
        name: str,
        network: FocalClickNetwork,
        digest: str,
        device: str = "cpu",
        parameters: FocalClickParameters | None = None,
    ) -> None:
        """digest: names the weights."""
        self.digest = digest
        self._device = torch.device(device)
        self._network = network.eval().requires_grad_(False).to(self._device)
        self._is_called(name, parameters or FocalClickParameters())

    def _is_called(self, name: str, parameters: FocalClickParameters) -> None:
        self.name, self.parameters = name, parameters
        self.fingerprint = f"{name}:{self.digest}:{self._network.side}:{parameters}"

    def changed(self, suffix: str, parameters: FocalClickParameters) -> FocalClick:
        """The same network, asked in another way, as NAME + suffix; see ``model_zoo.modifiers``."""
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
        mask = prompt.mask if prompt.mask is not None and prompt.mask.any() else None
        strokes, clicks = (_pixels(found, shape) for found in (stroke_clicks(prompt.strokes), prompt.clicks))
        points = [*strokes, *clicks]
        if not points or not (mask is not None or any(positive for _, _, positive in points)):
            return _given(mask, shape, state)
        before = state if isinstance(state, FocalClickState) else None
        seen = before if before is not None or prompt.box is None else _boxed(prompt.box, shape)
        view = choose_view(seen, points, shape, paste_always=self.parameters.paste_always)
        fresh = points if before is None else points[-1:]
        if before is None and mask is not None:
            before = FocalClickState(mask.astype(np.float32), None, mask)
        with torch.inference_mode():
            found = self._look(embedding.data, before, view, points, len(clicks) > MANY)
            probability: Floats = torch.sigmoid(found).cpu().numpy()
            logits: Floats = found.clamp(-LIMIT, LIMIT).cpu().numpy()
        logits[(logits > 0) & (probability <= THRESHOLD)] = 0.0  # next to 0 both are rounded to one half
        merged = None
        if mask is not None and before is not None:
            merged = merge(mask if before.merged is None else before.merged, logits > 0, fresh)
            logits = np.where(merged, np.maximum(np.abs(logits), LEAST), -np.abs(logits))
        state = FocalClickState(probability, view.target, merged)
        return cut_to_box(Mask(logits, confidence(logits), None, state), prompt)

    def _look(
        self,
        image: NDArray[np.uint8],
        before: FocalClickState | None,
        view: View,
        points: Sequence[Pixel],
        only_focus: bool,
    ) -> Tensor:
        """Logits (H, W), beyond LIMIT too. only_focus: all but the focus crop stays as it was before."""
        side, seen, region = self._network.side, view.seen, view.pasted
        memory = torch.zeros(1, side, side)
        if before is not None:
            memory = resize(torch.from_numpy(before.probability[seen.window])[None], side, side)
        pixels, marks = squared(image, seen, side, together=1), window_points(points, seen, side, side)
        with self._precision():
            coarse = self._network.coarse(pixels.to(self._device), memory.to(self._device), marks)
        answer = resize(torch.sigmoid(coarse[0][0]), seen.height, seen.width)
        probability = torch.zeros(image.shape[:2], device=self._device)
        probability[region.window] = resize(answer, region.height, region.width)[0]
        logits = _logits(probability)
        found = (logits > COARSE_SURE).cpu().numpy()
        previous = np.zeros_like(found) if before is None else before.probability > np.float32(SURE)
        focus = focus_region(found, previous, points[-1][:2], region)
        fine = self._refined(image, region, focus, points, coarse)
        if only_focus and before is not None:
            logits = _logits(torch.from_numpy(before.probability).to(self._device))
        logits[focus.window] = fine
        return logits

    def _refined(
        self,
        image: NDArray[np.uint8],
        region: Region,
        focus: Region,
        points: Sequence[Pixel],
        coarse: tuple[Tensor, Tensor],
    ) -> Tensor:
        """Logits (height, width) of the focus crop. coarse: logits and features of the target crop."""
        side = self._network.side
        rows, cols = side / region.height, side / region.width
        box = (
            max((focus.top - region.top) * rows, 0.0),
            max((focus.left - region.left) * cols, 0.0),
            min((focus.bottom - region.top) * rows, float(side)),
            min((focus.right - region.left) * cols, float(side)),
        )
        pixels, marks = squared(image, focus, side, together=3), window_points(points, focus, side, side)
        with self._precision():
            fine = self._network.refine(pixels.to(self._device), marks, *coarse, box)
        return resize(fine[0], focus.height, focus.width)[0]

    def _precision(self) -> AbstractContextManager[Any]:
        return quick_precision(self._device) if self.parameters.quick else nullcontext()


def _logits(probability: Tensor) -> Tensor:
    """Finite, of the probabilities' shape. Without the first limits, 0 and 1 would take ten times as long."""
    inside = probability.clamp(1e-13, 1.0 - 2.0**-24)
    return torch.log(inside / (1.0 - inside))


def _pixels(clicks: Sequence[Any], shape: tuple[int, int]) -> list[Pixel]:
    return [(*click.pixel(*shape), click.positive) for click in clicks]


def _boxed(box: Box, shape: tuple[int, int]) -> FocalClickState:
    """As if all of a box had been the answer before, so that its surroundings are looked at."""
    probability: Floats = np.zeros(shape, dtype=np.float32)
    probability[box_region(box, shape).window] = 1.0
    return FocalClickState(probability)


def _given(mask: Bools | None, shape: tuple[int, int], state: Any) -> Mask:
    """The mask to start from as long as nobody has clicked, else nothing at all."""
    logits = np.full(shape, -LIMIT, dtype=np.float32)
    if mask is not None:
        logits[mask] = LIMIT
    return Mask(logits, 0.0 if mask is None else 1.0, None, state)
