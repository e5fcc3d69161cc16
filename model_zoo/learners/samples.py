"""Labelled images as batches of random views, for learners that are trained end to end.

Views are made by a few threads ahead of the training; what is drawn depends on seed, epoch and place alone.
"""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from model_zoo.encoders import check_image
from model_zoo.errors import BadInput
from model_zoo.learners.augment import Size, draw_view, recolour
from model_zoo.learners.base import UNLABELLED, LabelledImage
from model_zoo.learners.finetune_policy import FinetunePolicy
from model_zoo.learners.labels import TrainingPixels, check_inside, training_pixels
from model_zoo.learners.sparse_loss import Points

KEPT_BYTES = 1 << 30
"""Decoded images kept in memory during a fit; further ones are loaded whenever they are shown."""
THREADS = 4
AHEAD = 4
"""Batches made before they are wanted."""


@dataclass(frozen=True, eq=False)
class Sample:
    """One image of a fit: its labelled pixels to train on, those held out, and its mask, uint8 (H, W), if it has one.

    image: from memory where it fits, else loaded at each call.
    """

    key: str
    image: Callable[[], NDArray[np.uint8]]
    size: Size
    train: TrainingPixels
    held: TrainingPixels
    dense: NDArray[np.uint8] | None

    @property
    def labels(self) -> int:
        """Number of pixels trained on."""
        if self.dense is None:
            return len(self.train.labels)
        return int((self.dense != UNLABELLED).sum())  # sparse ones are drawn into it


@dataclass(frozen=True, eq=False)
class Batch:
    """images: uint8 (B, H, W, 3); points: their labelled places."""

    images: NDArray[np.uint8]
    points: Points


def read_samples(
    examples: Sequence[tuple[LabelledImage, TrainingPixels]],
    classes: int,
    held_share: float,
    tell: Callable[[float], None],
) -> list[Sample]:
    """Load every image once, in the order of their keys; ``tell`` is told the share done.

    examples: as ``model_zoo.learners.labels.examples`` gives them. Raises BadInput for labels outside their image.
    """
    samples = []
    left = KEPT_BYTES
    for done, (image, chosen) in enumerate(sorted(examples, key=lambda pair: pair[0].key)):
        tell(done / len(examples))
        array = image.load()
        check_image(array)
        size = array.shape[0], array.shape[1]
        check_inside(image, chosen.pixels, *size)
        left -= array.nbytes
        load = image.load if left < 0 else _kept(array)
        held = _held(image.key, chosen.pixels, held_share)
        sparse = training_pixels(replace(image, dense=None), classes, 0)
        train = _part(sparse, ~_held(image.key, sparse.pixels, held_share))
        dense = _mask(image, sparse, chosen.pixels[held], classes)
        samples.append(Sample(image.key, load, size, train, _part(chosen, held), dense))
    return samples


def _kept(array: NDArray[np.uint8]) -> Callable[[], NDArray[np.uint8]]:
    return lambda: array


def _part(pixels: TrainingPixels, which: NDArray[np.bool_]) -> TrainingPixels:
    return TrainingPixels(pixels.pixels[which], pixels.labels[which])


def _held(key: str, pixels: NDArray[np.int64], share: float) -> NDArray[np.bool_]:
    """Which pixels are held out: a lot drawn for each, once and for all."""
    lots = [zlib.crc32(f"{key}:{row}:{col}".encode()) % 10_000 for row, col in pixels.tolist()]
    return np.array(lots, dtype=np.int64) < round(share * 10_000)


def _mask(
    image: LabelledImage, sparse: TrainingPixels, held: NDArray[np.int64], classes: int
) -> NDArray[np.uint8] | None:
    """The dense mask with the sparse labels drawn into it and without the held-out pixels."""
    if image.dense is None:
        return None
    mask = image.dense.copy()
    mask[tuple(sparse.pixels.T)] = sparse.labels
    wrong = mask[(mask >= classes) & (mask != UNLABELLED)]
    if wrong.size:
        raise BadInput(
            f"image {image.key} has a dense mask with class {wrong[0]}; expected 0 to {classes - 1}, or {UNLABELLED} "
            "for none"
        )
    mask[tuple(held.T)] = UNLABELLED
    return mask


def crop_size(samples: Sequence[Sample], longest: int, multiple: int) -> Size:
    """Size of the training views: that of the largest image, at most ``longest``, rounded up to the multiple."""
    height, width = (min(longest, max(sample.size[axis] for sample in samples)) for axis in range(2))
    return -(-height // multiple) * multiple, -(-width // multiple) * multiple


def steps_of(samples: Sequence[Sample], policy: FinetunePolicy) -> int:
    """Steps an epoch: every image once, or more where that would be less than ``policy.epoch_steps``."""
    return max(policy.epoch_steps, -(-len(samples) // policy.batch))


def batches(
    samples: Sequence[Sample],
    policy: FinetunePolicy,
    crop: Size,
    fill: NDArray[np.uint8],
    seed: tuple[int, int],
) -> Iterator[Batch]:
    """The batches of one epoch, all full: each image once before any comes again. seed: that of the fit, the epoch."""
    rng = np.random.default_rng(seed)
    count = steps_of(samples, policy) * policy.batch
    order = np.concatenate([rng.permutation(len(samples)) for _ in range(-(-count // len(samples)))])[:count]

    def make(step: int) -> Batch:
        places = range(step * policy.batch, (step + 1) * policy.batch)
        views = [
            _view(samples[order[place]], policy, crop, fill, np.random.default_rng((*seed, place)))
            for place in places
        ]
        owners = np.repeat(np.arange(policy.batch), [len(labels) for _, _, labels in views])
        images, where, labels = zip(*views, strict=True)
        return Batch(np.stack(images), Points(owners, np.concatenate(where), np.concatenate(labels)))

    steps = count // policy.batch
    with ThreadPoolExecutor(THREADS) as threads:
        waiting: deque[Future[Batch]] = deque(threads.submit(make, step) for step in range(min(AHEAD, steps)))
        for step in range(steps):
            batch = waiting.popleft().result()
            if step + AHEAD < steps:
                waiting.append(threads.submit(make, step + AHEAD))
            yield batch


def _view(
    sample: Sample, policy: FinetunePolicy, crop: Size, fill: NDArray[np.uint8], rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.float64], NDArray[np.int64]]:
    """One random view (H, W, 3) with its labelled places (n, 2) and labels (n,)."""
    anchor: tuple[int, int] | None = None
    if len(sample.train.labels):
        row, col = sample.train.pixels[rng.integers(len(sample.train.labels))].tolist()
        anchor = row, col
    view = draw_view(rng, sample.size, crop, policy.augmentation, anchor)
    image = recolour(rng, view.render(sample.image(), crop, fill), policy.augmentation)
    places, seen = view.places(sample.train.pixels)
    labels = sample.train.labels[seen]
    if sample.dense is None:
        return image, places, labels
    more = np.floor(rng.uniform(0, view.shown, (policy.dense_points, 2))) + 0.5
    found = sample.dense[tuple(view.pixels(more).T)]
    known = found != UNLABELLED
    return (
        image,
        np.concatenate([places, more[known]]),
        np.concatenate([labels, found[known].astype(np.int64)]),
    )
