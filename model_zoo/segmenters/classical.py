"""Segmenters without any network: GrabCut and the random walker, on a bounded number of pixels."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage import segmentation

from model_zoo.encoders import check_image, resize
from model_zoo.prompt import Click, Prompt
from model_zoo.registry import register_segmenter
from model_zoo.segmenters.base import Embedding, Mask, Segmenter
from model_zoo.segmenters.grid import Size, box_cells, cell_of, enlarge

Image = NDArray[np.uint8]
Probability = NDArray[np.float32]
LOGIT = 3.0  # of a pixel that is certain
SEED_RADIUS = 0.012  # of the longer side: a click marks a disk


class SmallImageSegmenter(Segmenter):
    """Shrinks the image once and enlarges each answer; subclasses give a probability for the small image."""

    prompts: ClassVar[frozenset[str]] = frozenset({"click", "box"})
    long_side: ClassVar[int]

    def __init__(self, name: str) -> None:
        self.name = name
        self.fingerprint = f"{name}:{self.long_side}"

    def encode(self, image: NDArray[np.uint8]) -> Embedding:
        check_image(image)
        small = resize(image, min(1.0, self.long_side / max(image.shape[:2])))
        return Embedding(image.shape[0], image.shape[1], small.nbytes, small)

    def decode(self, embedding: Embedding, prompt: Prompt, state: Any = None) -> Mask:  # noqa: ARG002
        shape = embedding.height, embedding.width
        if not prompt.clicks and prompt.box is None:
            return Mask(np.full(shape, -LOGIT, dtype=np.float32), 0.0)
        small: NDArray[np.uint8] = embedding.data
        seeds = _seeds(prompt, shape, (small.shape[0], small.shape[1]))
        probability = self.probability(small, seeds)
        logits = enlarge(LOGIT * (2.0 * probability - 1.0), shape)
        chosen = probability[probability > 0.5]
        return Mask(logits, float(chosen.mean()) if chosen.size else 0.0)

    @abstractmethod
    def probability(self, image: Image, seeds: Image) -> Probability:
        """(h, w) in [0, 1] of a (h, w, 3) image; seeds hold OpenCV's GrabCut marks."""


def _seeds(prompt: Prompt, shape: Size, small: Size) -> NDArray[np.uint8]:
    """(h, w) marks: GC_FGD and GC_BGD where the annotator said so, GC_PR_FGD or GC_PR_BGD elsewhere.

    Outside a box all is background. Of overlapping disks the later click's counts; its own pixel always does.
    """
    marks = np.full(small, cv2.GC_PR_BGD, dtype=np.uint8)
    if prompt.box is not None:
        marks[:] = cv2.GC_BGD
        top, left, bottom, right = box_cells(prompt.box, shape, small)
        marks[top : bottom + 1, left : right + 1] = cv2.GC_PR_FGD
    radius = max(1, round(SEED_RADIUS * max(small)))
    centres = [cell_of(click, shape, small) for click in prompt.clicks]
    for click, centre in zip(prompt.clicks, centres, strict=True):
        cv2.circle(marks, centre[::-1], radius, _sign(click), thickness=-1)
    for click, centre in zip(prompt.clicks, centres, strict=True):
        marks[centre] = _sign(click)
    return marks


def _sign(click: Click) -> int:
    return int(cv2.GC_FGD if click.positive else cv2.GC_BGD)


class GrabCut(SmallImageSegmenter):
    """GrabCut; without a box, whatever is within reach of a positive click may be object."""

    long_side = 384
    iterations = 3
    reach = 0.25  # of the longer side

    def probability(self, image: Image, seeds: Image) -> Probability:
        marks = seeds.copy()
        if not (marks == cv2.GC_PR_FGD).any():
            away = np.asarray(marks != cv2.GC_FGD, dtype=np.uint8)
            near = cv2.distanceTransform(away, cv2.DIST_L2, 5) < self.reach * max(marks.shape)
            marks[near & (marks == cv2.GC_PR_BGD)] = cv2.GC_PR_FGD
        marked = _is_foreground(marks)
        if marked.all() or not marked.any():
            return np.asarray(marked, dtype=np.float32)
        models = np.zeros((2, 1, 65), dtype=np.float64)
        bgr = np.ascontiguousarray(image[..., ::-1])
        cv2.setRNGSeed(0)  # the generator that starts the colour models belongs to the thread
        cv2.grabCut(bgr, marks, None, models[0], models[1], self.iterations, cv2.GC_INIT_WITH_MASK)  # type: ignore[call-overload]
        return np.asarray(_is_foreground(marks), dtype=np.float32)


class RandomWalker(SmallImageSegmenter):
    """Random walker on Lab colours; without a box or a negative click the image border is background."""

    long_side = 256
    beta = 130.0

    def probability(self, image: Image, seeds: Image) -> Probability:
        labels = np.zeros(seeds.shape, dtype=np.int32)
        labels[seeds == cv2.GC_FGD] = 1
        labels[seeds == cv2.GC_BGD] = 2
        if not (labels == 2).any():
            border = np.ones(labels.shape, dtype=bool)
            border[1:-1, 1:-1] = False
            labels[border & (labels == 0)] = 2
        if not (labels == 1).any() and (seeds == cv2.GC_PR_FGD).any():  # a box alone: its middle is object
            rows, cols = np.nonzero(seeds == cv2.GC_PR_FGD)
            labels[int(np.median(rows)), int(np.median(cols))] = 1
        if not (labels == 0).any() or len(np.unique(labels[labels > 0])) < 2:
            return np.asarray(labels == 1, dtype=np.float32)
        lab = cv2.cvtColor(image.astype(np.float32) / 255.0, cv2.COLOR_RGB2Lab)
        # Direct solution: faster here than conjugate gradients, which do not converge across strong edges.
        answer = segmentation.random_walker(
            lab, labels, beta=self.beta, mode="bf", channel_axis=-1, return_full_prob=True
        )
        return np.asarray(np.clip(answer[0], 0.0, 1.0), dtype=np.float32)


def _is_foreground(marks: Image) -> NDArray[np.bool_]:
    return np.asarray((marks == cv2.GC_FGD) | (marks == cv2.GC_PR_FGD))


@register_segmenter(
    paper="Rother, Kolmogorov and Blake, GrabCut, SIGGRAPH 2004",
    licence="Apache-2.0 (OpenCV; no weights)",
    source="OpenCV",
)
def grabcut(device: str) -> GrabCut:  # noqa: ARG001
    """Colour mixtures and a graph cut; no network."""
    return GrabCut("grabcut")


@register_segmenter(
    paper="Grady, Random Walks for Image Segmentation, TPAMI 2006",
    licence="BSD-3-Clause (scikit-image; no weights)",
    source="scikit-image",
)
def random_walker(device: str) -> RandomWalker:  # noqa: ARG001
    """Random walks between the clicks on Lab colours; no network."""
    return RandomWalker("random-walker")
