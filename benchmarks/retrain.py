"""What a round's fit, and choosing the queries of one image, cost against the number of labelled images.

first: no feature is cached. next: three images with new labels, all others cached, as in a running project, those
three encoded within that time; median of five. acquisition: prediction, scores, selection and the image's uncertainty,
by the learner fitted last. ``--plot`` draws the times of next and of acquisition over the number of images.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import numpy as np

from backend.learning.acquisition import get_acquisition
from backend.learning.image_context import ImageContext
from backend.learning.selection import get_selection, task_uncertainty
from backend.settings import Settings
from benchmarks.common import photographs, report
from model_zoo.learners.base import LabelledImage, Learner
from model_zoo.learners.features import FeatureCache
from model_zoo.registry import create_learner

CLASSES = tuple(f"class {n}" for n in range(11))
SIZES = ((360, 480), (960, 1280))
TARGETS = {"retrain": 3.0, "acquisition": 0.4}
"""Seconds on two cores."""
REPEATS = 5
Curves = dict[str, list[tuple[int, float]]]
"""Points (images, seconds) by the name of the line."""


def labelled(images: list[np.ndarray], pixels: int, seed: int) -> list[LabelledImage]:
    """Random pixels with labels that follow their colour: the content matters little for the time."""
    rng = np.random.default_rng(seed)
    made = []
    for number, image in enumerate(images):
        rows, cols = rng.integers(0, image.shape[0], pixels), rng.integers(0, image.shape[1], pixels)
        labels = (image[rows, cols].astype(np.int64).sum(axis=1) * len(CLASSES)) // 766
        made.append(LabelledImage(str(number), lambda i=image: i, rows, cols, labels))
    return made


def run(name: str, count: int, pixels: int, curves: Curves) -> None:
    images = photographs(count, *SIZES[0])
    size = {"learner": name, "images": count, "pixels_per_image": pixels}
    with tempfile.TemporaryDirectory() as folder:
        cache = FeatureCache(Path(folder))
        sets = labelled(images, pixels, seed=1)
        learner, figures, labels = fit(name, cache, sets)
        report("retrain", step="first", **size, labels=labels, seconds=figures[0], encode_seconds=figures[1])
        later = []
        for seed in range(2, 2 + REPEATS):
            learner, figures, labels = fit(name, cache, [*labelled(images[:3], pixels, seed), *sets[3:]])
            later.append(figures)
    seconds, encoding = np.median(later, axis=0)
    spread = {
        "seconds": round(seconds, 2),
        "encode_seconds": round(encoding, 2),
        "max_seconds": max(later)[0],
    }
    report("retrain", step="next", **size, labels=labels, repeats=REPEATS, **spread)
    curves["retrain"].append((count, float(seconds)))
    for height, width in SIZES:
        seconds = acquire(learner, height, width)
        curves[f"acquisition, {width}x{height}"].append((count, seconds))
        report("acquisition", **size, image=f"{width}x{height}", median_ms=round(1000 * seconds, 1))


def fit(
    name: str, cache: FeatureCache, data: list[LabelledImage]
) -> tuple[Learner, tuple[float, float], int]:
    """A learner fitted from scratch, the seconds in all and those of encoding, and the number of labels."""
    learner = create_learner(name)
    learner.use_cache(cache)
    started = time.perf_counter()
    done = learner.fit(data, CLASSES)
    return learner, (round(time.perf_counter() - started, 2), round(done.encode_seconds, 2)), done.labels


def acquire(learner: Learner, height: int, width: int, images: int = 5) -> float:
    """Median seconds of choosing an image's queries as the product does; the first image warms up."""
    settings = Settings()
    acquisition, selection = get_acquisition(settings.acquisition), get_selection(settings.selection)
    times = []
    for image in photographs(images + 1, height, width):
        rng = np.random.default_rng(0)
        started = time.perf_counter()
        probabilities = learner.predict_proba(image)
        context = ImageContext(lambda i=image: i, np.empty((0, 2), dtype=np.int64))
        selection(acquisition(probabilities, rng), settings.queries_per_task, rng, None, context)
        task_uncertainty(probabilities)
        times.append(time.perf_counter() - started)
    return float(np.median(times[1:]))


def plot(curves: Curves, file: Path) -> None:
    """Seconds over the number of images, a panel for each of ``TARGETS``, which is dashed."""
    import matplotlib as mpl  # noqa: PLC0415 - an extra

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    figure, panels = plt.subplots(1, len(TARGETS), figsize=(9, 3.5), layout="constrained")
    for panel, (what, target) in zip(panels, TARGETS.items(), strict=True):
        for name, points in curves.items():
            if name.startswith(what):
                panel.plot(
                    *zip(*sorted(points), strict=True), marker="o", label=name.removeprefix(f"{what}, ")
                )
        panel.axhline(target, linestyle="--", color="grey", label=f"target, {target:g} s")
        panel.set(xlabel="labelled images", ylabel="seconds", ylim=(0, None), title=what)
        panel.legend()
    figure.savefig(file, dpi=120)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--learner", default="probe-lite0")
    parser.add_argument("--images", type=int, nargs="+", default=[25, 50, 100, 200, 400])
    parser.add_argument("--pixels", type=int, default=20, help="labelled pixels an image")
    parser.add_argument(
        "--also", type=int, nargs="*", default=[10, 40, 80], help="pixels an image at 100 images"
    )
    parser.add_argument("--plot", type=Path, help="PNG file; needs matplotlib (extra plot)")
    chosen = parser.parse_args()
    found: Curves = defaultdict(list)
    for images in chosen.images:
        run(chosen.learner, images, chosen.pixels, found)
    if chosen.plot is not None:
        plot(found, chosen.plot)
    for pixels in chosen.also:
        run(chosen.learner, 100, pixels, defaultdict(list))
