"""Backprop refinement: at each click something in the network is optimised until its answer obeys all clicks.

RGB-BRS and DistMap-BRS: Jang and Kim, Interactive Image Segmentation via Backpropagating Refinement Scheme, CVPR
2019; f-BRS: Sofiiuk et al., f-BRS: Rethinking Backpropagating Refinement, CVPR 2020 (2001.10331). Written from a
description; compared number by number with RITM's implementation, not with f-BRS's own (MPL-2.0):
github.com/SamsungLabs/ritm_interactive_segmentation (commit b9b4460, MIT licence). Deliberate differences: the
squares around clicks are cut off at the border (there, those at row or column 0 are empty and those beyond it appear
on the other side); what the network saw is remembered instead of its features, and they are computed again.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

import numpy as np
import torch
from torch import Tensor

from model_zoo.errors import UnknownModel
from model_zoo.modifiers import register_modifier
from model_zoo.prompt import Prompt
from model_zoo.segmenters.backprop_objective import Answer, Objective, Refinement, Vector
from model_zoo.segmenters.base import Embedding, Mask
from model_zoo.segmenters.predictor import ClickNetwork, ClickPredictor, mirrored
from model_zoo.segmenters.predictor_maps import Point
from model_zoo.segmenters.ritm_deeplab import Place
from model_zoo.segmenters.ritm_network import DEVIATION


class CutNetwork(ClickNetwork, Protocol):
    """A network in two halves: ``finish(begin(image, maps, place), place, height, width)`` is what it answers."""

    def begin(self, image: Tensor, maps: Tensor, place: Place) -> tuple[Tensor, ...]: ...

    def finish(self, features: tuple[Tensor, ...], place: Place, height: int, width: int) -> Tensor: ...


@dataclass(frozen=True, eq=False)
class _Memory:
    """values: of the variables. before: (h, w), the previous answer that the network last saw a change in."""

    values: Vector
    before: Tensor

    @property
    def nbytes(self) -> int:
        return self.values.nbytes + self.before.nbytes


class BackpropRefinement(ClickPredictor):
    """A click predictor whose answers are refined; made of one by ``refined``."""

    refinement: Refinement

    def decode(self, embedding: Embedding, prompt: Prompt, state: Any = None) -> Mask:
        with torch.inference_mode(False):  # gradients are wanted, whatever the caller does
            return super().decode(embedding, prompt, state)

    def _logits(
        self, pixels: Tensor, points: Sequence[Point], memory: Any, changed: bool
    ) -> tuple[Tensor, Any]:
        settings, size = self.refinement, pixels.shape[1:]
        earlier = memory if isinstance(memory, _Memory) and memory.before.shape == size else None
        if settings.target in ("image", "maps"):
            before, earlier = pixels[3], None if changed else earlier
        else:
            stale = earlier is None or changed or len(points) <= settings.shown
            before = pixels[3] if stale or earlier is None else earlier.before
            pixels = torch.cat([pixels[:3], before[None]])
            earlier = memory if isinstance(memory, _Memory) else None
        answer, count = self._variables(pixels, points[: settings.shown])
        values = earlier.values if earlier is not None and earlier.values.size == count else np.zeros(count)
        objective = Objective(answer, *self._clicked(points, *size), self.parameters.threshold, settings)
        if len(points) > settings.after:
            values = objective.minimise(values)
        if objective.best is None:
            with torch.no_grad():
                objective.best = answer(self._tensor(values))[0]
        return self._averaged(objective.best), _Memory(values, before)

    def _variables(self, pixels: Tensor, points: Sequence[Point]) -> tuple[Answer, int]:
        """Logits (B, 1, h, w) and regulariser as a function of the variables, and the number of these."""
        height, width = pixels.shape[1:]
        image, maps = self._mirrored(pixels), self._maps(points, height, width)
        target, settings = self.refinement.target, self.refinement
        if target in ("image", "maps"):
            return self._added(image, maps), (3 if target == "image" else 2) * height * width
        network, place = cast("CutNetwork", self._network), cast("Place", target)
        with torch.no_grad():
            features, *others = network.begin(image, maps, place)

        def answer(values: Tensor) -> tuple[Tensor, Tensor]:
            scale, bias = values.view(2, 1, -1, 1, 1)
            cost = settings.weight * (scale.square().sum() + settings.bias_weight * bias.square().sum())
            # Repeated for the mirror image, not broadcast: gradients are then summed as the published code sums them.
            scale, bias = ((1 + scale).repeat(len(features), 1, 1, 1), bias.repeat(len(features), 1, 1, 1))
            return network.finish((features * scale + bias, *others), place, height, width), cost

        return answer, 2 * features.shape[1]

    def _added(self, image: Tensor, maps: Tensor) -> Answer:
        """The same with a map added to the network's input."""
        network, to_image = cast("ClickNetwork", self._network), self.refinement.target == "image"
        deviation = torch.tensor([*DEVIATION, 0.0], device=image.device).view(1, 4, 1, 1)

        def answer(values: Tensor) -> tuple[Tensor, Tensor]:
            added = values.view(1, -1, *image.shape[-2:])
            if self.parameters.flip:
                added = torch.cat([added, added.flip(-1)])
            cost = self.refinement.weight * added.square().sum()
            if not to_image:
                return network(image, maps + added), cost
            padded = torch.cat([added, torch.zeros_like(added[:, :1])], dim=1)
            return network(image + padded * deviation, maps), cost

        return answer

    def _clicked(self, points: Sequence[Point], height: int, width: int) -> tuple[Tensor, Tensor]:
        """(B, 1, height, width) of positive and of negative clicks: 1 in the square around each."""
        views = [points, mirrored(points, width)] if self.parameters.flip else [points]
        maps = torch.zeros(2, len(views), 1, height, width)
        for number, view in enumerate(views):
            for row, col, positive in view:
                square = [
                    slice(
                        max(0, round(place) - self.refinement.around),
                        round(place) + self.refinement.around + 1,
                    )
                    for place in (row, col)
                ]
                if min(edge.stop for edge in square) > 0:
                    maps[0 if positive else 1, number, 0, square[0], square[1]] = 1.0
        positive_map, negative_map = maps.to(self._device)
        return positive_map, negative_map

    def _tensor(self, values: Vector) -> Tensor:
        return torch.from_numpy(values).float().to(self._device)


def refined(segmenter: ClickPredictor, suffix: str, refinement: Refinement) -> BackpropRefinement:
    """The predictor with refinement. Raises UnknownModel where the network is not cut and features are wanted."""
    if refinement.target not in ("image", "maps") and not hasattr(segmenter._network, "begin"):
        raise UnknownModel(
            f"the features of {segmenter.name!r} cannot be refined; rgb-brs and distmap-brs can do"
        )
    made = BackpropRefinement.__new__(BackpropRefinement)
    vars(made).update(vars(copy.copy(segmenter)), refinement=refinement)
    return made.changed(suffix, segmenter.parameters)


@register_modifier(group="refinement")
def rgb_brs(segmenter: ClickPredictor) -> BackpropRefinement:
    """RGB-BRS: the colours are optimised at each click."""
    return refined(segmenter, "+rgb-brs", Refinement("image", shown=5))


@register_modifier(group="refinement")
def distmap_brs(segmenter: ClickPredictor) -> BackpropRefinement:
    """DistMap-BRS: the click maps are optimised at each click."""
    return refined(segmenter, "+distmap-brs", Refinement("maps", shown=5))


@register_modifier(group="refinement")
def fbrs_a(segmenter: ClickPredictor) -> BackpropRefinement:
    """f-BRS-A: scales and biases of the trunk's features are optimised at each click."""
    return refined(segmenter, "+fbrs-a", Refinement("A", shown=8))


@register_modifier(group="refinement")
def fbrs_b(segmenter: ClickPredictor) -> BackpropRefinement:
    """f-BRS-B: scales and biases before the decoder are optimised at each click; on HRNets the same as A."""
    return refined(segmenter, "+fbrs-b", Refinement("B", shown=8))


@register_modifier(group="refinement")
def fbrs_c(segmenter: ClickPredictor) -> BackpropRefinement:
    """f-BRS-C: scales and biases before the last layer are optimised at each click."""
    return refined(segmenter, "+fbrs-c", Refinement("C", shown=8))
