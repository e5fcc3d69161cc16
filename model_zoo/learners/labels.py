"""From what people labelled to the pixels that a learner trains on."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model_zoo.errors import BadInput
from model_zoo.learners.base import UNLABELLED, LabelledImage

DENSE_PIXELS = 256
"""Pixels taken from one dense mask: its neighbours say nearly the same, and clicks must not drown in it."""
DENSE_PIXELS_IN_ALL = 20_000
"""Pixels taken from all dense masks together, which bounds the time of a fit."""


@dataclass(frozen=True, eq=False)
class TrainingPixels:
    """Distinct labelled pixels of one image: pixels int64 (n, 2) rows and columns, labels int64 (n,)."""

    pixels: NDArray[np.int64]
    labels: NDArray[np.int64]


def dense_budget(labelled: Sequence[LabelledImage]) -> int:
    """Pixels to take from each dense mask."""
    masks = sum(image.dense is not None for image in labelled)
    return min(DENSE_PIXELS, max(1, DENSE_PIXELS_IN_ALL // max(1, masks)))


def training_pixels(image: LabelledImage, classes: int, budget: int) -> TrainingPixels:
    """All sparse labels, and at most ``budget`` pixels of the dense mask, from its classes by the root of their areas.

    The same mask gives the same pixels, a slightly changed one nearly the same, and a smaller budget a part of
    them. Raises BadInput for labels that are no class.
    """
    sparse = _sparse(image)
    parts = [sparse] if image.dense is None else [sparse, _from_dense(image, image.dense, sparse, budget)]
    pixels = np.concatenate([part.pixels for part in parts])
    labels = np.concatenate([part.labels for part in parts])
    wrong = labels[(labels < 0) | (labels >= classes)]
    if wrong.size:
        raise BadInput(
            f"image {image.key} has a label of class {wrong[0]}; expected 0 to {classes - 1}, or {UNLABELLED} for none"
        )
    return TrainingPixels(pixels, labels)


def examples(
    labelled: Sequence[LabelledImage], classes: Sequence[str]
) -> list[tuple[LabelledImage, TrainingPixels]]:
    """The images that have labels, with those to train on; raises BadInput unless at least two classes are labelled."""
    if len(set(classes)) < max(2, len(classes)) or len(classes) >= UNLABELLED:
        raise BadInput(f"classes are {list(classes)}; expected 2 to {UNLABELLED - 1} distinct names")
    budget = dense_budget(labelled)
    pairs = [(image, training_pixels(image, len(classes), budget)) for image in labelled]
    pairs = [(image, chosen) for image, chosen in pairs if len(chosen.labels)]
    present = sorted({int(label) for _, chosen in pairs for label in np.unique(chosen.labels)})
    if len(present) < 2:
        named = f"of the class {classes[present[0]]!r} alone" if present else "of no class"
        raise BadInput(
            f"there are labels {named}; expected at least two classes; label a pixel of another one"
        )
    return pairs


def check_inside(image: LabelledImage, pixels: NDArray[np.int64], height: int, width: int) -> None:
    """Raise BadInput unless all pixels lie in the image and the dense mask has its size."""
    if image.dense is not None and image.dense.shape != (height, width):
        raise BadInput(
            f"image {image.key} has a dense mask of shape {image.dense.shape}; expected that of the image, "
            f"{(height, width)}"
        )
    outside = pixels[((pixels < 0) | (pixels >= (height, width))).any(axis=1)]
    if outside.size:
        raise BadInput(
            f"image {image.key} has a label at row {outside[0, 0]}, column {outside[0, 1]}; expected a pixel of the "
            f"upright image, {height} rows x {width} columns"
        )


def _sparse(image: LabelledImage) -> TrainingPixels:
    lengths = {len(image.rows), len(image.cols), len(image.labels)}
    if len(lengths) > 1:
        raise BadInput(
            f"image {image.key} has {len(image.rows)} rows, {len(image.cols)} columns and {len(image.labels)} "
            f"labels; expected as many of each"
        )
    pixels = np.stack([image.rows, image.cols], axis=1).astype(np.int64)
    last = {(row, col): place for place, (row, col) in enumerate(pixels.tolist())}
    kept = np.array(
        sorted(place for place in last.values() if image.labels[place] != UNLABELLED), dtype=np.int64
    )
    return TrainingPixels(pixels[kept], image.labels[kept].astype(np.int64))


def _from_dense(
    image: LabelledImage, dense: NDArray[np.uint8], sparse: TrainingPixels, budget: int
) -> TrainingPixels:
    free = dense != UNLABELLED
    inside = ((sparse.pixels >= 0) & (sparse.pixels < dense.shape)).all(axis=1)
    free[tuple(sparse.pixels[inside].T)] = False
    candidates = np.flatnonzero(free)
    values = dense.ravel()[candidates]
    # A lot drawn for every pixel of the image, once and for all, keeps the choice stable when a mask is edited.
    seed = int.from_bytes(hashlib.sha256(image.key.encode()).digest()[:8], "big")
    lots = np.random.default_rng(seed).random(dense.size, dtype=np.float32)[candidates]
    present, counts = np.unique(values, return_counts=True)
    chosen: list[NDArray[np.int64]] = []
    # In proportion to their areas small classes would be lost, evenly they would be seen everywhere.
    left, roots = budget, np.sqrt(counts)
    ahead = roots.sum()
    for place in np.argsort(counts, kind="stable"):
        members = np.flatnonzero(values == present[place])
        take = min(len(members), left, max(1, round(left * roots[place] / ahead)))
        chosen.append(candidates[members[np.argsort(lots[members], kind="stable")[:take]]])
        left, ahead = left - take, ahead - roots[place]
    flat = np.concatenate(chosen) if chosen else np.empty(0, dtype=np.int64)
    return TrainingPixels(
        np.stack(np.divmod(flat, dense.shape[1]), axis=1), dense.ravel()[flat].astype(np.int64)
    )
