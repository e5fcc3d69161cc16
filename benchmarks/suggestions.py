"""What next-click suggestions are worth: annotators who answer them, choose for themselves, or click at random.

suggestion: clicks only where the segmenter suggests, with the true sign. oracle: clicks the largest error, as the
standard protocol does. random: a random pixel among the uncertain ones. The first click is the oracle's for all. One
JSON line an annotator: mean IoU after 1, 3 and 5 clicks.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backend.settings import Settings
from benchmarks.common import report
from model_zoo.evaluation.clicker import center_click
from model_zoo.evaluation.metrics import iou
from model_zoo.evaluation.samples import IGNORE, read_samples
from model_zoo.prompt import Click, Prompt
from model_zoo.registry import create_segmenter
from model_zoo.segmenters.base import Mask, Segmenter
from model_zoo.segmenters.probability import uncertainty
from model_zoo.segmenters.suggestion import LEAST, suggest_click
from model_zoo.weights import WeightSource

COUNTS = (1, 3, 5)
Truth = NDArray[np.uint8]
Annotator = Callable[[Mask, Prompt, Truth], Click | None]


def oracle(mask: Mask, prompt: Prompt, truth: Truth) -> Click | None:
    return center_click(mask.logits > 0, truth, prompt.clicks)


def suggestion(mask: Mask, prompt: Prompt, truth: Truth) -> Click | None:
    return _answered(suggest_click(mask, prompt), truth)


class RandomUncertain:
    """Uniform over the pixels at least as uncertain as a suggestion must be, each image with its own draws."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)

    def __call__(self, mask: Mask, prompt: Prompt, truth: Truth) -> Click | None:  # noqa: ARG002
        uncertain = uncertainty(mask.logits) if mask.uncertainty is None else mask.uncertainty
        candidates = np.flatnonzero((uncertain >= LEAST) & (truth != IGNORE))
        if not len(candidates):
            return None
        row, col = divmod(int(self._rng.choice(candidates)), truth.shape[1])
        return _answered(Click(row + 0.5, col + 0.5), truth)


def _answered(asked: Click | None, truth: Truth) -> Click | None:
    """The click with its true sign; a pixel of which nobody knows counts as background."""
    if asked is None:
        return None
    return Click(asked.row, asked.col, bool(truth[asked.pixel(*truth.shape)] == 1))


def run(segmenter: Segmenter, image: NDArray[np.uint8], truth: Truth, annotator: Annotator) -> list[float]:
    """IoU after each click; an annotator without a further click keeps the last mask."""
    embedding = segmenter.encode(image)
    first = center_click(np.zeros(truth.shape, dtype=np.bool_), truth, ())
    clicks, state, ious = (first,) if first else (), None, []
    for _ in range(max(COUNTS)):
        prompt = Prompt(clicks)
        mask = segmenter.decode(embedding, prompt, state)
        ious.append(iou(truth, mask.logits > 0))
        following = annotator(mask, prompt, truth)
        if following is None:
            break
        clicks, state = (*clicks, following), mask.state
    return ious + [ious[-1]] * (max(COUNTS) - len(ious))


def main(samples: Path, name: str, limit: int | None) -> None:
    segmenter = create_segmenter(name, source=WeightSource(Settings().weights_folder))
    chosen = read_samples(samples)[:limit]
    results: dict[str, list[list[float]]] = {"oracle": [], "suggestion": [], "random": []}
    for number, sample in enumerate(chosen):
        image, truth = sample.load()
        annotators: dict[str, Annotator] = {
            "oracle": oracle,
            "suggestion": suggestion,
            "random": RandomUncertain(number),
        }
        for kind, annotator in annotators.items():
            results[kind].append(run(segmenter, image, truth, annotator))
    for kind, ious in results.items():
        mean = np.asarray(ious).mean(axis=0)
        after = {str(count): round(float(mean[count - 1]), 4) for count in COUNTS}
        report("suggestions", segmenter=name, annotator=kind, samples=len(chosen), iou_after=after)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=Path, required=True, help="samples.csv: name, image, mask")
    parser.add_argument("--segmenter", default="gp-lite0+gp")
    parser.add_argument("--limit", type=int, default=None, help="use the first so many samples")
    given = parser.parse_args()
    main(given.samples, given.segmenter, given.limit)
