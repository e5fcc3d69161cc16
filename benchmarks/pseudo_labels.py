"""What the threshold of `clickpick export` is worth: pixels kept, and how many of these are right.

``--data FOLDER`` in the form of CamVid's: classes.txt, train, train_labels, val, val_labels. A learner is fitted to
random pixels of some training images, calibrated on a tenth of them, and labels validation images. One JSON line a
threshold.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from backend.learning.pseudo_labels import label_pixels
from backend.learning.simulated_data import list_pairs, open_pair, read_classes
from backend.learning.simulated_queries import SimulatedImage
from benchmarks.common import report
from model_zoo.learners.base import UNLABELLED, LabelledImage
from model_zoo.registry import create_learner

THRESHOLDS = (0.0, 0.5, 0.7, 0.9)
MOST_PIXELS = 100_000_000


def labelled(image: SimulatedImage, count: int, rng: np.random.Generator) -> LabelledImage:
    truth = image.truth()
    rows, cols = np.nonzero(truth != UNLABELLED)
    chosen = rng.choice(len(rows), count, replace=False)
    rows, cols = rows[chosen], cols[chosen]
    return LabelledImage(image.key, image.load, rows, cols, truth[rows, cols].astype(np.int64))


def read(data: Path, part: str, every: int) -> tuple[tuple[str, ...], list[SimulatedImage]]:
    classes = read_classes(data / "classes.txt", void=(11,))
    pairs = list_pairs(data / part, data / f"{part}_labels")[::every]
    return classes.names, [open_pair(pair, classes, MOST_PIXELS) for pair in pairs]


def split(images: Sequence[LabelledImage], part: slice) -> list[LabelledImage]:
    return [LabelledImage(i.key, i.load, i.rows[part], i.cols[part], i.labels[part]) for i in images]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--learner", default="probe-lite0")
    parser.add_argument("--pixels", type=int, default=20)
    parser.add_argument("--train-every", type=int, default=6)
    parser.add_argument("--val-every", type=int, default=3)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    names, training = read(options.data, "train", options.train_every)
    _, validation = read(options.data, "val", options.val_every)
    images = [labelled(image, options.pixels, rng) for image in training]
    held = options.pixels // 10
    learner = create_learner(options.learner)
    learner.fit(split(images, slice(held, None)), names)
    learner.calibrate(split(images, slice(0, held)))
    kept = np.zeros(len(THRESHOLDS))
    right = np.zeros(len(THRESHOLDS))
    pixels = 0
    for image in validation:
        truth = image.truth()
        known = truth != UNLABELLED
        found = label_pixels(learner, image.load(), names, min_confidence=0)
        pixels += int(known.sum())
        for place, threshold in enumerate(THRESHOLDS):
            sure = known & (found.confidence >= threshold)
            kept[place] += sure.sum()
            right[place] += (found.classes[sure] == truth[sure]).sum()
    for place, threshold in enumerate(THRESHOLDS):
        report(
            "pseudo_labels",
            learner=options.learner,
            training_images=len(training),
            pixels_an_image=options.pixels,
            validation_images=len(validation),
            min_confidence=threshold,
            kept=round(kept[place] / pixels, 4),
            right=round(right[place] / kept[place], 4),
        )


if __name__ == "__main__":
    main()
