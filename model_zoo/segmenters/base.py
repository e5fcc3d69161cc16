"""The contract of promptable segmenters: an image is encoded once, each prompt is decoded to one mask."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from model_zoo.prompt import Prompt


@dataclass(frozen=True, eq=False)
class Embedding:
    """What a segmenter keeps of one image; ``nbytes`` is its size for caches, ``data`` is its own business."""

    height: int
    width: int
    nbytes: int
    data: Any


@dataclass(frozen=True, eq=False)
class Mask:
    """Answer to one prompt at image resolution.

    logits: (H, W) float32, finite, object where above 0. score: confidence in [0, 1]. uncertainty: (H, W)
    float32 in [0, 1] or None. state: what a stateful segmenter wants back with the next click; for caches it may have
    ``nbytes``, its own size, and ``parts``, pairs of what it holds together with other states and the size of that.
    """

    logits: NDArray[np.float32]
    score: float
    uncertainty: NDArray[np.float32] | None = None
    state: Any = None


class Segmenter(ABC):
    """Base of all segmenters. Instances hold no history and may be used from many threads at once.

    ``fingerprint`` names weights and preprocessing: embeddings of equal fingerprints are interchangeable.
    ``prompts`` are the kinds understood, of "click", "box" and "stroke"; others are ignored.
    ``stateful`` False: the answer depends on the prompt alone, ``state`` is ignored.
    ``order_free`` True: the order of clicks that lie well apart does not matter.
    ``storable`` True: embeddings can be kept on the disk, see ``to_tensors``; for models whose encoder is slow.
    """

    name: str
    fingerprint: str
    prompts: ClassVar[frozenset[str]] = frozenset({"click"})
    stateful: ClassVar[bool] = False
    order_free: ClassVar[bool] = True
    storable: ClassVar[bool] = False

    @abstractmethod
    def encode(self, image: NDArray[np.uint8]) -> Embedding:
        """Everything that depends on the image alone. image: (H, W, 3) uint8 RGB; raises BadInput."""

    @abstractmethod
    def decode(self, embedding: Embedding, prompt: Prompt, state: Any = None) -> Mask:
        """The mask for the whole prompt; an empty prompt gives an empty mask."""

    def decode_batch(self, items: Sequence[tuple[Embedding, Prompt, Any]]) -> list[Mask]:
        """One mask an item (embedding, prompt, state), as if each were decoded alone."""
        return [self.decode(embedding, prompt, state) for embedding, prompt, state in items]

    def to_tensors(self, embedding: Embedding) -> dict[str, Tensor]:
        """What ``from_tensors`` needs beside the image's size, float16 on the CPU. For storable segmenters only."""
        raise NotImplementedError

    def from_tensors(self, tensors: Mapping[str, Tensor], height: int, width: int) -> Embedding:
        """The embedding again; decodes as the fresh one does, as far as float16 goes. BadInput for other tensors."""
        raise NotImplementedError
