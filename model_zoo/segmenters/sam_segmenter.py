"""SAM and its kin as segmenters: an image is encoded once, every prompt is decoded from that.

Kirillov et al., Segment Anything, ICCV 2023; the policy is that of its published predictor and of its wrapper for
ONNX (github.com/facebookresearch/segment-anything, commit dca509f, Apache-2.0), written from a description: one click
or a lone box gets the best of three masks, by the network's own opinion; every later click the single mask, from all
clicks and the logits of the answer before. Deliberate differences: those logits are cut off at 32 in SAM, too, as
SAM 2 does; embeddings are kept as float16; without anything that names an object there is none. The answer is not
sharpened at the resolution of the photograph: whether that helps can be measured with the published weights alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from model_zoo.encoders import check_image
from model_zoo.errors import BadInput
from model_zoo.precision import quick_precision
from model_zoo.prompt import Prompt
from model_zoo.segmenters.base import Embedding, Mask, Segmenter
from model_zoo.segmenters.sam_frame import Floats, Frame, frame_of
from model_zoo.segmenters.sam_network import Maps, SamNetwork
from model_zoo.segmenters.sam_prompt import frame_prompt, names_an_object

LIMIT = 32.0  # logits that are handed back to the network are cut off here


@dataclass(frozen=True, eq=False)
class _Image:
    frame: Frame
    maps: Maps


@dataclass(frozen=True, eq=False)
class SamState:
    """The answer to the last prompt: logits (low, low) of the network's square."""

    logits: Floats

    @property
    def nbytes(self) -> int:
        return self.logits.nbytes


class SamSegmenter(Segmenter):
    """Any network of the family. exact: float32 throughout, as the published code, also for what is kept of images."""

    prompts: ClassVar[frozenset[str]] = frozenset({"click", "box", "stroke"})
    stateful: ClassVar[bool] = True
    order_free: ClassVar[bool] = False
    storable: ClassVar[bool] = True

    def __init__(
        self, name: str, network: SamNetwork, digest: str, device: str = "cpu", *, exact: bool = False
    ) -> None:
        """digest: of the weights; part of the fingerprint."""
        self.name = name
        self.fingerprint = f"{name}:{digest}:{network.side}:{'exact' if exact else 'quick'}"
        self._device = torch.device(device)
        self._exact = exact
        self._network = network.eval().requires_grad_(False).to(self._device)

    def encode(self, image: NDArray[np.uint8]) -> Embedding:
        check_image(image)
        frame = self._frame(*image.shape[:2])
        precision = nullcontext() if self._exact else quick_precision(self._device)
        with torch.inference_mode(), precision:
            maps = self._network.embed(frame.pixels(image).to(self._device))
            if not self._exact:
                maps = tuple(_half(part) for part in maps)
        return _embedding(frame, maps)

    def to_tensors(self, embedding: Embedding) -> dict[str, torch.Tensor]:
        image: _Image = embedding.data
        return {str(number): _half(part).cpu().contiguous() for number, part in enumerate(image.maps)}

    def from_tensors(self, tensors: Mapping[str, torch.Tensor], height: int, width: int) -> Embedding:
        names = [str(number) for number in range(len(tensors))]
        if not tensors or set(names) != set(tensors):
            raise BadInput(
                f"the embedding has the tensors {', '.join(sorted(tensors)) or 'none'}; expected '0', '1' and so on; "
                "encode the image again"
            )
        kind = torch.float32 if self._exact else torch.float16
        maps = tuple(tensors[name].to(self._device, kind) for name in names)
        return _embedding(self._frame(height, width), maps)

    def _frame(self, height: int, width: int) -> Frame:
        return frame_of(height, width, self._network.side, self._network.squashed)

    def decode(self, embedding: Embedding, prompt: Prompt, state: Any = None) -> Mask:
        image: _Image = embedding.data
        prompt.check_mask(*image.frame.image)
        if not names_an_object(prompt):
            return Mask(np.full(image.frame.image, -LIMIT, dtype=np.float32), 0.0)
        previous = state.logits if isinstance(state, SamState) else None
        framed = frame_prompt(prompt, image.frame, self._network.low, previous)
        with torch.inference_mode():
            maps = tuple(part.float() for part in image.maps)
            masks, quality = self._network.decode(maps, framed, framed.ambiguous and self._network.three)
            best = int(quality.argmax())
            logits = image.frame.enlarge(masks[best])
            kept = masks[best].clamp(-LIMIT, LIMIT)
            score = float(quality[best].clamp(0.0, 1.0))
        return Mask(_array(logits), score, None, SamState(_array(kept)))


def _embedding(frame: Frame, maps: Maps) -> Embedding:
    nbytes = sum(part.numel() * part.element_size() for part in maps)
    return Embedding(*frame.image, nbytes, _Image(frame, maps))


def _half(values: torch.Tensor) -> torch.Tensor:
    most = torch.finfo(torch.float16).max
    return values.clamp(-most, most).half()


def _array(values: torch.Tensor) -> Floats:
    return np.array(values.float().cpu().numpy(), dtype=np.float32)
