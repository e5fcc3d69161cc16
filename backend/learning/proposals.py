"""What a task shows when it is opened: queries, the live version's pre-annotation, and a score for the queue."""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from backend.learning.acquisition import Scores, get_acquisition, passes_of
from backend.learning.budgets import MOST_QUERIES, share
from backend.learning.frozen_features import FrozenFeatures
from backend.learning.image_context import ImageContext
from backend.learning.selection import RANDOM, Selection, get_initial, get_selection, task_uncertainty
from label_config import (
    ImageSchema,
    PolygonForm,
    ProjectSchema,
    Query,
    invalid_reason,
    mask_regions,
    query_regions,
)
from label_config.polygons import DEFAULT_FORM
from model_zoo.learners.base import LabelledImage, Learner

LOG = logging.getLogger(__name__)
WORKING_PIXELS = 2_000_000
"""Images are shrunk to this many pixels before a learner sees them: queries and borders stay within 2 px at 8 MP."""
SPECK = 5
"""Side in pixels of the median filter that takes specks out of a pre-annotation; they cost bytes, not work."""


@dataclass(frozen=True)
class Recipe:
    """How queries are chosen, and in which form masks are written.

    initial: chooses them while there is no learner. device: for the encoder of a selection that needs one.
    """

    acquisition: str
    selection: str
    queries: int
    polygon_over_pixels: int
    initial: str = RANDOM
    device: str = "cpu"
    polygons: PolygonForm = DEFAULT_FORM


@dataclass(frozen=True, eq=False)
class Page:
    """One image of a task.

    ``key``: its identity for feature caches. ``answered``: (row, col) that a person has answered already,
    "cannot tell" included.
    """

    task: int
    item: int | None
    key: str
    image: NDArray[np.uint8]
    answered: Collection[tuple[int, int]] = ()


def propose(
    pages: Sequence[Page],
    schema: ImageSchema,
    learner: Learner | None,
    version: str,
    recipe: Recipe,
    *,
    mean_uncertainty: float | None = None,
    confirm: bool = False,
) -> dict[str, Any]:
    """A Label Studio prediction: queries first, then the pre-annotation, and the score (1 - uncertainty).

    Without a learner the recipe's initial selection chooses the queries and there is no pre-annotation. The same
    version and task always give the same queries. Several pages share the budget of queries evenly.
    mean_uncertainty: of the queue; a page's budget then goes with its own uncertainty, as ``share`` says, and a task
    has at most MOST_QUERIES, or one a page. confirm: queries show the class that the learner expects instead of "?".
    """
    queries: list[dict[str, Any]] = []
    masks: list[dict[str, Any]] = []
    uncertainties: list[float] = []
    budget = math.ceil(recipe.queries / max(1, len(pages)))
    selection = get_initial(recipe.initial) if learner is None else get_selection(recipe.selection)
    frozen = FrozenFeatures(recipe.device)
    for page in pages:
        rng = np.random.default_rng(_seed(version, page))
        height, width = page.image.shape[:2]
        small = shrink(page.image)
        probabilities = None if learner is None else learner.predict_proba(small)
        if learner is not None and probabilities is not None:
            masks += _preannotation(probabilities, page, schema, learner.classes, recipe)
        uncertainties.append(1.0 if probabilities is None else task_uncertainty(probabilities))
        scores = _scores(small, learner, probabilities, recipe, rng)
        count = share(budget, uncertainties[-1], mean_uncertainty, most=MOST_QUERIES // len(pages))
        picked = _choose(scores, page, count, rng, selection=selection, small=small, frozen=frozen)
        if confirm and learner is not None and probabilities is not None:
            picked = [_guessed(query, probabilities, learner.classes, (height, width)) for query in picked]
        queries += query_regions(picked, schema, height, width, item_index=page.item)
        if learner is not None and small is page.image:
            learner.prepare(_unlabelled(page, picked))
    score = round(1.0 - float(np.mean(uncertainties)), 6) if uncertainties else 0.0
    return {"model_version": version, "score": min(1.0, max(0.0, score)), "result": queries + masks}


def _scores(
    image: NDArray[np.uint8],
    learner: Learner | None,
    probabilities: NDArray[np.float32] | None,
    recipe: Recipe,
    rng: np.random.Generator,
) -> Scores:
    """Acquisition scores (h, w) of an image; several passes see it smaller, so that memory stays the same."""
    if learner is None or probabilities is None:
        return get_acquisition("random")(np.ones((1, *image.shape[:2]), dtype=np.float32), rng)
    passes = passes_of(recipe.acquisition)
    if passes > 1:
        probabilities = learner.predict_proba(shrink(image, WORKING_PIXELS // passes), samples=passes)
    return get_acquisition(recipe.acquisition)(probabilities, rng)


def _choose(
    scores: Scores,
    page: Page,
    count: int,
    rng: np.random.Generator,
    *,
    selection: Selection,
    small: NDArray[np.uint8],
    frozen: FrozenFeatures,
) -> list[Query]:
    """Queries in the image's pixels, of scores of any resolution; small: the image as the learner sees it."""
    height, width = page.image.shape[:2]
    size = scores.shape
    exclude = np.zeros(size, dtype=bool)
    for row, col in page.answered:
        exclude[min(row * size[0] // height, size[0] - 1), min(col * size[1] // width, size[1] - 1)] = True
    context = ImageContext(lambda: small, np.argwhere(exclude), frozen)
    picked = selection(scores, count, rng, exclude, context)
    return [
        Query(row=int((r + 0.5) * height / size[0]), col=int((c + 0.5) * width / size[1])) for r, c in picked
    ]


def _guessed(
    query: Query, probabilities: NDArray[np.float32], classes: Sequence[str], shape: tuple[int, int]
) -> Query:
    """The query with the most probable class of its pixel; shape: (H, W) of the image."""
    row, col = (
        at * side // whole
        for at, side, whole in zip((query.row, query.col), probabilities.shape[1:], shape, strict=True)
    )
    here = probabilities[:, row, col]
    return Query(query.row, query.col, classes[int(here.argmax())], round(float(here.max()), 4))


def _preannotation(
    probabilities: NDArray[np.float32],
    page: Page,
    schema: ImageSchema,
    classes: Sequence[str],
    recipe: Recipe,
) -> list[dict[str, Any]]:
    height, width = page.image.shape[:2]
    best = probabilities.argmax(axis=0).astype(np.uint8)
    if min(best.shape) >= SPECK:
        best = cv2.medianBlur(best, SPECK).astype(np.uint8)
    full = cv2.resize(best, (width, height), interpolation=cv2.INTER_NEAREST)
    regions: list[dict[str, Any]] = []
    for index, label in enumerate(classes):
        where = best == index
        if not where.any() or not any(label in output.labels for output in schema.outputs):
            continue
        confidence = float(probabilities[index][where].mean())
        regions += mask_regions(
            full == index,
            schema,
            label,
            region_id=f"pre-{page.item or 0}-{index}",
            score=round(confidence, 4),
            item_index=page.item,
            polygon_over_pixels=recipe.polygon_over_pixels,
            polygons=recipe.polygons,
        )
    return regions


def _unlabelled(page: Page, queries: Sequence[Query]) -> LabelledImage:
    """The queries as pixels whose labels are still to come: their features are at hand now."""
    rows, cols = np.array([(q.row, q.col) for q in queries], dtype=np.int64).reshape(-1, 2).T
    return LabelledImage(page.key, lambda: page.image, rows, cols, np.zeros_like(rows))


def shrink(image: NDArray[np.uint8], pixels: int = WORKING_PIXELS) -> NDArray[np.uint8]:
    """The image with at most so many pixels."""
    height, width = image.shape[:2]
    factor = math.sqrt(pixels / (height * width))
    if factor >= 1:
        return image
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _seed(version: str, page: Page) -> int:
    text = f"{version}/{page.task}/{page.item}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def drop_invalid(prediction: dict[str, Any], schema: ProjectSchema) -> dict[str, Any]:
    """The prediction without regions that this labelling config cannot show; each is logged."""
    kept: list[dict[str, Any]] = []
    for region in prediction["result"]:
        reason = invalid_reason(region, schema)
        if reason is None:
            kept.append(region)
        else:
            LOG.error("a region was left out of an answer: %s", reason)
    return {**prediction, "result": kept}
