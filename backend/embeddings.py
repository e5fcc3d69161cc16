"""Clicks to logits with everything that can be reused: embeddings of images, and states of earlier prompts.

The state of click n is found under the prompt of clicks 1..n, so click n + 1 finds it without any session. What
the caches have lost is computed again click by click: an answer never depends on them.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from backend.caches import ByteLRU, SingleFlight
from backend.engines.out_of_memory import with_room
from backend.images import UprightImage
from backend.metrics import Metrics
from backend.precomputed import EmbeddingFiles
from model_zoo.prompt import Click, Prompt
from model_zoo.registry import create_segmenter, find_model, open_segmenter, public_name
from model_zoo.segmenters.base import Embedding, Mask, Segmenter
from model_zoo.weights import WeightSource, locate

LOG = logging.getLogger(__name__)
REPLAYED = 20
"""Clicks after which a chain of earlier masks begins anew: a lost cache costs so many decodings, and no minutes."""
T = TypeVar("T")


@dataclass(frozen=True)
class _Loaded:
    """files: the weights that it was built from, and what they were like then."""

    segmenter: Segmenter
    files: Mapping[Path, tuple[int, int] | None]

    def is_outdated(self) -> bool:
        """Whether a file is another one now; what was deleted stays in use."""
        return any(_stamp(file) not in (stamp, None) for file, stamp in self.files.items())


def _stamp(file: Path) -> tuple[int, int] | None:
    """Time of the last change and size; None where there is no such file."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def _earlier(prompt: Prompt) -> Prompt | None:
    """The prompt whose mask this one looks at: one click ago, and none at the first click of a chain."""
    return None if len(prompt.clicks) % REPLAYED == 1 else prompt.before_last_click()


class Decoder:
    """Segmenters of one device with their caches; its methods run on the engine's model threads."""

    def __init__(
        self,
        device: Callable[[], str],
        cache_bytes: int,
        trusted: str = "",
        *,
        source: WeightSource | None = None,
        loaded: int = 2,
        precomputed: EmbeddingFiles | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        """trusted: the one name that may hold a weight file, "NAME:FILE", because the settings gave it; other names
        come from labelling configs, which must not make this process read files. cache_bytes: for embeddings and
        states together: a few people keep more images, many the states of all. source: where networks find their
        weights. loaded: segmenters kept at once; the one that was used longest ago goes. precomputed: where embeddings
        may lie that need not be made."""
        self._trusted = trusted
        self._device = device
        self._source = source or WeightSource()
        self._loaded = loaded
        self._precomputed = precomputed
        self._metrics = metrics or Metrics()
        self._segmenters: OrderedDict[str, _Loaded] = OrderedDict()
        self._built: set[str] = set()
        self._cache: ByteLRU[tuple[str, ...], Any] = ByteLRU(cache_bytes)
        self._encoding: SingleFlight[tuple[str, str], Embedding] = SingleFlight()
        self._building = threading.Lock()
        self._lock = threading.Lock()

    def segmenter(self, name: str) -> Segmenter:
        """The segmenter of that name, built at its first use. A failure is not remembered: weights may come later."""
        found = self._recall(name)
        if found is None:
            with self._building:
                found = self._recall(name) or self._build(name)
        return found

    def _recall(self, name: str) -> Segmenter | None:
        """The segmenter in memory, unless its weights were imported anew."""
        with self._lock:
            found = self._segmenters.get(name)
            if found is None:
                return None
            if found.is_outdated():
                LOG.info("segmenter %s has new weights and is loaded again", public_name(name))
                del self._segmenters[name]
                return None
            self._segmenters.move_to_end(name)
            return found.segmenter

    def _build(self, name: str) -> Segmenter:
        """Room is made before, but not for a model that cannot be built."""
        create = open_segmenter if name == self._trusted else create_segmenter
        info = find_model(name, "segmenter")
        files: dict[Path, tuple[int, int] | None] = {}
        if info is not None:
            places = [locate(spec, self._source.folder) for spec in info.weights]
            files = {place: _stamp(place) for place in places}
            self._make_room()
        made = create(name, self._device(), self._source)
        self._make_room()
        with self._lock:
            self._segmenters[name] = _Loaded(made, files)
            self._built.add(name)
        return made

    def has_built(self, name: str) -> bool:
        """Whether this process has built that segmenter: it can, even where it is not in memory now."""
        return name in self._built

    @property
    def nbytes(self) -> int:
        """Bytes of embeddings and states in memory."""
        return self._cache.nbytes

    def _make_room(self) -> None:
        """For one more segmenter."""
        with self._lock:
            while len(self._segmenters) >= self._loaded:
                name, _ = self._segmenters.popitem(last=False)
                LOG.info("segmenter %s leaves the memory; it comes back when it is used", public_name(name))

    def warm_up(self, name: str) -> None:
        """Build the segmenter and run it once: the first call of a network costs many times the second.

        What looks at earlier masks is run once more, from the mask of a small object: it may zoom in to that, as it
        does at second clicks, and look at a view of another size.
        """
        self._with_room(name, lambda: self._warm_up(name))

    def _warm_up(self, name: str) -> None:
        segmenter = self.segmenter(name)
        clicks = (Click(32, 32),)
        embedding = segmenter.encode(np.zeros((64, 64, 3), dtype=np.uint8))
        segmenter.decode(embedding, Prompt(clicks))
        if segmenter.stateful:
            small = np.zeros((64, 64), dtype=np.bool_)
            small[24:40, 24:40] = True
            segmenter.decode(embedding, Prompt(clicks, mask=small))

    def make_room(self, keep: str = "") -> None:
        """Forget embeddings, states, and all segmenters but one; all of them come back when they are asked for."""
        self._cache.clear()
        with self._lock:
            self._segmenters = OrderedDict(
                (name, one) for name, one in self._segmenters.items() if name == keep
            )

    def embed(self, name: str, image: UprightImage) -> Embedding:
        """The image's embedding, from the cache where it is. Raises ModelUnavailable where memory does not suffice."""
        return self._with_room(name, lambda: self._embedding(self.segmenter(name), image))

    def _with_room(self, name: str, call: Callable[[], T]) -> T:
        return with_room(call, lambda: self.make_room(name), f"segmenter {public_name(name)!r}")

    def _embedding(self, segmenter: Segmenter, image: UprightImage) -> Embedding:
        """Model threads that want the same one at the same time encode it once."""
        key = (image.digest, segmenter.fingerprint)

        def encode() -> Embedding:
            stored = self._precomputed.read(segmenter, image) if self._precomputed else None
            if stored is None:
                with self._metrics.timed("encode"):
                    made = segmenter.encode(image.array)
            else:
                made = stored
            self._cache.put(key, made, made.nbytes)
            return made

        embedding: Embedding | None = self._cache.get(key)
        self._metrics.looked_up("embedding", hit=embedding is not None)
        return self._encoding.do(key, encode) if embedding is None else embedding

    def decode(self, name: str, image: UprightImage, prompt: Prompt) -> Mask:
        """The raw mask of a prompt; for segmenters that look at earlier masks, the clicks before it first.

        Raises ModelUnavailable where the device's memory does not suffice.
        """
        return self._with_room(name, lambda: self._decode(name, image, prompt))

    def _decode(self, name: str, image: UprightImage, prompt: Prompt) -> Mask:
        segmenter = self.segmenter(name)
        embedding = self._embedding(segmenter, image)
        with self._metrics.timed("decode"):
            return self._decode_prompt(segmenter, embedding, image, prompt)

    def _decode_prompt(
        self, segmenter: Segmenter, embedding: Embedding, image: UprightImage, prompt: Prompt
    ) -> Mask:
        if not segmenter.stateful:
            return segmenter.decode(embedding, prompt)
        missing = [prompt]
        state: Any = None
        while (earlier := _earlier(missing[0])) is not None:
            state = self._cache.get((image.digest, segmenter.fingerprint, earlier.key()))
            self._metrics.looked_up("state", hit=state is not None)
            if state is not None:
                break
            missing.insert(0, earlier)
        for step in missing:
            mask = segmenter.decode(embedding, step, state)
            state = mask.state
            if state is not None:
                key = (image.digest, segmenter.fingerprint, step.key())
                size = getattr(state, "nbytes", mask.logits.nbytes)
                self._cache.put(key, state, size, getattr(state, "parts", ()))
        return mask
