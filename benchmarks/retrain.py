"""What a round's fit costs against the number of labels and of images (480x360).

first: no feature is cached. next: three images with new labels, all others cached, as in a running project.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.common import photographs, report
from model_zoo.learners.base import LabelledImage
from model_zoo.learners.features import FeatureCache
from model_zoo.registry import create_learner

CLASSES = tuple(f"class {n}" for n in range(11))


def labelled(images: list[np.ndarray], pixels: int, seed: int) -> list[LabelledImage]:
    """Random pixels with labels that follow their colour: the content matters little for the time."""
    rng = np.random.default_rng(seed)
    made = []
    for number, image in enumerate(images):
        rows, cols = rng.integers(0, image.shape[0], pixels), rng.integers(0, image.shape[1], pixels)
        labels = (image[rows, cols].astype(np.int64).sum(axis=1) * len(CLASSES)) // 766
        made.append(LabelledImage(str(number), lambda i=image: i, rows, cols, labels))
    return made


def run(count: int, pixels: int) -> None:
    images = photographs(count, 360, 480)
    with tempfile.TemporaryDirectory() as folder:
        cache = FeatureCache(Path(folder))
        sets = labelled(images, pixels, seed=1)
        for step, data in (("first", sets), ("next", [*labelled(images[:3], pixels, seed=2), *sets[3:]])):
            learner = create_learner("probe-lite0")
            learner.use_cache(cache)
            started = time.perf_counter()
            fit = learner.fit(data, CLASSES)
            seconds = time.perf_counter() - started
            figures = {"seconds": round(seconds, 2), "encode_seconds": round(fit.encode_seconds, 2)}
            report("retrain", step=step, images=count, pixels_per_image=pixels, labels=fit.labels, **figures)


if __name__ == "__main__":
    for images, pixels in ((25, 20), (50, 20), (100, 20), (200, 20), (100, 10), (100, 40), (100, 80)):
        run(images, pixels)
