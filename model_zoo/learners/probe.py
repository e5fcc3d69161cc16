"""Probes: a frozen pre-trained encoder and a small head on its features at the labelled pixels.

A fit costs seconds on a CPU because it grows with the number of labels, not of pixels: only the vectors at labelled
pixels are needed, and they are cached. It always starts from scratch: a version depends on its labels alone, not on
the rounds before. The encoder sees every image at one working size (``hypercolumn.encoder_scale``), photographs of
many megapixels too: the detail that this costs them buys every image of the queue the same time and memory.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from model_zoo.encoders import Encoder, check_image, create_encoder
from model_zoo.errors import BadInput
from model_zoo.learners.base import UNLABELLED, FitReport, LabelledImage, Learner, Progress
from model_zoo.learners.features import FeatureCache, PixelFeatures
from model_zoo.learners.head import Head, fit_head
from model_zoo.learners.hypercolumn import (
    RECIPE,
    Pyramid,
    at_pixels,
    build_pyramid,
    probabilities,
    vector_length,
)
from model_zoo.learners.labels import check_inside, dense_budget, examples, training_pixels
from model_zoo.learners.pyramid_cache import PyramidCache
from model_zoo.learners.state import Description, read_state, write_state
from model_zoo.learners.temperature import fit_temperature
from model_zoo.registry import register_learner_family

ENCODING_SHARE = 0.9
"""Share of the progress bar that encoding takes; training the head is quick."""


@register_learner_family(
    listed=("lite0",),
    paper="Hariharan et al., Hypercolumns, CVPR 2015; Shin et al., PixelPick, ICCVW 2021 (sparse labels)",
    source="ClickPick",
)
def probe(encoder: str, device: str) -> Learner:
    """Frozen {encoder} and a small head: trains in seconds on two CPU cores."""
    return Probe(f"probe-{encoder}", create_encoder(encoder, device))


class Probe(Learner):
    """A head on hypercolumns of a frozen encoder; without ``use_cache`` it caches features in memory."""

    def __init__(self, name: str, encoder: Encoder) -> None:
        self.name = name
        self.classes: tuple[str, ...] = ()
        self._cache = FeatureCache()
        self._pyramids: PyramidCache | None = None
        self._encoder = encoder
        self._fingerprint = f"{encoder.fingerprint}:{RECIPE}"
        self._head: Head | None = None
        self._recent: tuple[NDArray[np.uint8], Pyramid] | None = None

    def fit(
        self,
        labelled: Sequence[LabelledImage],
        classes: Sequence[str],
        *,
        warm_start: Learner | None = None,  # noqa: ARG002 (every fit starts from scratch, see above)
        progress: Progress | None = None,
        seed: int = 0,
    ) -> FitReport:
        started = time.perf_counter()
        tell = progress or _silent
        pairs = examples(labelled, classes)
        vectors = []
        encode_seconds = 0.0
        for done, (image, chosen) in enumerate(pairs):
            tell(ENCODING_SHARE * done / len(pairs), f"encoding image {done + 1} of {len(pairs)}")
            found, seconds = self._vectors(image, chosen.pixels)
            vectors.append(found)
            encode_seconds += seconds
        labels = np.concatenate([chosen.labels for _, chosen in pairs])
        head, loss = fit_head(
            torch.from_numpy(np.concatenate(vectors)).float(),
            torch.from_numpy(labels),
            len(classes),
            seed=seed,
            report=lambda share: tell(ENCODING_SHARE + (1 - ENCODING_SHARE) * share, "training"),
        )
        self._head, self.classes = head.to(self._encoder.device), tuple(classes)
        return FitReport(len(pairs), len(labels), time.perf_counter() - started, encode_seconds, loss)

    def predict_proba(self, image: NDArray[np.uint8], samples: int = 1) -> NDArray[np.float32]:
        head = self._fitted()
        if samples < 1:
            raise BadInput(f"{samples} samples asked for; expected 1 or more")
        passes = probabilities(self._pyramid(image), head, samples)
        return passes[0] if samples == 1 else passes

    def predict_pixels(self, image: LabelledImage) -> NDArray[np.float32]:
        head = self._fitted()
        wanted = np.stack([image.rows, image.cols], axis=1).astype(np.int64)
        pixels, places = np.unique(wanted, axis=0, return_inverse=True)
        vectors, _ = self._vectors(image, pixels)
        return head.probabilities(vectors)[places.reshape(-1)]

    def calibrate(self, held: Sequence[LabelledImage]) -> float:
        found = [self.predict_pixels(image) for image in held]
        if not found:
            return 1.0
        labels = np.concatenate([image.labels for image in held])
        temperature = fit_temperature(np.concatenate(found), labels)
        self._head = self._fitted().tempered(temperature)
        return temperature

    def use_cache(self, cache: FeatureCache) -> None:
        self._cache = cache

    def use_pyramids(self, cache: PyramidCache) -> None:
        """Keep whole encoder passes there too, for runs that predict the same images again and again."""
        self._pyramids = cache

    def prepare(self, image: LabelledImage) -> None:
        chosen = training_pixels(image, UNLABELLED, dense_budget([image]))
        self._vectors(image, chosen.pixels)

    def save(self, directory: Path) -> None:
        tensors = self._fitted().tensors()
        write_state(directory, Description(self.name, self._fingerprint, self.classes), tensors)

    def load(self, directory: Path) -> None:
        classes, tensors = read_state(directory, self.name, self._fingerprint)
        head = Head.from_tensors(tensors, inputs=vector_length(self._encoder), classes=len(classes))
        self._head, self.classes = head.to(self._encoder.device), classes

    def _fitted(self) -> Head:
        if self._head is None:
            raise BadInput(f"{self.name} has not been trained; call fit or load first")
        return self._head

    def _vectors(self, image: LabelledImage, pixels: NDArray[np.int64]) -> tuple[NDArray[np.float16], float]:
        """Vectors of the pixels, from the cache where it has them all, and the seconds spent on the encoder."""
        cached = self._cache.get(image.key, self._fingerprint)
        places = cached.find(pixels) if cached is not None else None
        if cached is not None and places is not None and (places >= 0).all():
            return cached.values[places], 0.0
        started = time.perf_counter()
        array = image.load()
        check_image(array)
        check_inside(image, pixels, *array.shape[:2])
        vectors = at_pixels(self._pyramid(array), pixels)
        seconds = time.perf_counter() - started
        fresh = PixelFeatures(pixels, vectors)
        self._cache.put(image.key, self._fingerprint, fresh if cached is None else fresh.join(cached))
        return vectors, seconds

    def _pyramid(self, image: NDArray[np.uint8]) -> Pyramid:
        """The image's features; those of the last read-only array are kept, for ``prepare`` after a prediction."""
        check_image(image)
        recent = self._recent
        if recent is not None and recent[0] is image:
            return recent[1]
        build = build_pyramid if self._pyramids is None else self._pyramids.pyramid
        pyramid = build(self._encoder, image)
        if not image.flags.writeable:
            self._recent = (image, pyramid)
        return pyramid


def _silent(share: float, what: str) -> None:
    """No progress bar."""
