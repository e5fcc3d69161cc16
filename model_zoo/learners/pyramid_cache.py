"""A cache of whole feature pyramids, for runs that predict the same images again and again.

An encoder pass costs a hundred times more than reading its result from memory. Pyramids are kept in half precision:
an image of 480x360 takes 11 MB.
"""

from __future__ import annotations

import hashlib
import threading
from dataclasses import replace
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray

from model_zoo.encoders import Encoder
from model_zoo.learners.hypercolumn import RECIPE, Pyramid, build_pyramid

Key = tuple[str, tuple[int, ...], bytes]


class PyramidCache:
    """Pyramids by encoder and pixels, in this process's memory; thread-safe.

    max_bytes bounds them. Once it is full, what is in stays and nothing more is taken: when images come round
    in turn, one that pushes out the oldest pushes out the very one that comes next.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._kept: dict[Key, Pyramid] = {}
        self._lock = threading.Lock()

    @torch.inference_mode()
    def pyramid(self, encoder: Encoder, image: NDArray[np.uint8]) -> Pyramid:
        """As ``build_pyramid``, rounded to half precision, so that what fits into memory changes no figure."""
        digest = hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=16).digest()
        key = f"{encoder.fingerprint}:{RECIPE}", image.shape, digest
        with self._lock:
            half = self._kept.get(key)
        if half is None:
            half = _converted(build_pyramid(encoder, image), torch.float16, torch.device("cpu"))
            self._keep(key, half)
        return _converted(half, torch.float32, encoder.device)

    def _keep(self, key: Key, half: Pyramid) -> None:
        size = sum(part.nbytes for part in (*half.levels, *half.wide))
        with self._lock:
            if key not in self._kept and self._bytes + size <= self._max_bytes:
                self._kept[key] = half
                self._bytes += size


@runtime_checkable
class UsesPyramids(Protocol):
    """A learner whose encoder passes can be kept."""

    def use_pyramids(self, cache: PyramidCache) -> None:
        """Take pyramids from there from now on."""


def _converted(pyramid: Pyramid, dtype: torch.dtype, device: torch.device) -> Pyramid:
    return replace(
        pyramid,
        levels=tuple(level.to(device, dtype) for level in pyramid.levels),
        wide=tuple(level.to(device, dtype) for level in pyramid.wide),
    )
