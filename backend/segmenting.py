"""Clicks to regions: image, prompt, mask, repair, and the form that the project's controls ask for."""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.caches import SingleFlight
from backend.embeddings import Decoder
from backend.engines.model_queue import Urgency
from backend.engines.model_threads import ModelThreads
from backend.errors import BadRequest, ModelUnavailable
from backend.images import ImageFetcher, UprightImage
from backend.learning.labelled import image_urls
from backend.learning.proposals import drop_invalid
from backend.metrics import Metrics
from backend.settings import Settings
from label_config import (
    ImageSchema,
    LabelConfigError,
    PolygonForm,
    ProjectSchema,
    PromptRequest,
    hint_region,
    mask_regions,
)
from model_zoo.errors import BadInput, ModelZooError, WeightsMissing
from model_zoo.mask_quality import QualityLimits, QualityWarning, check_mask
from model_zoo.prompt import Click, Prompt
from model_zoo.registry import public_name
from model_zoo.segmenters.repair import honour_clicks
from model_zoo.segmenters.suggestion import suggest_click

LOG = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class _Answer:
    """``mask``: (H, W) bool; ``score`` in [0, 1]; ``hint``: where the next click would help, None if not asked for.

    ``warnings``: what is unusual about the mask.
    """

    mask: NDArray[np.bool_]
    score: float
    hint: Click | None
    warnings: tuple[QualityWarning, ...] = ()


class Segmenting:
    """Answers interactive requests."""

    def __init__(
        self,
        settings: Settings,
        images: ImageFetcher,
        decoder: Decoder,
        models: ModelThreads,
        metrics: Metrics | None = None,
    ) -> None:
        self._metrics = metrics or Metrics()
        self._settings = settings
        self._images = images
        self._decoder = decoder
        self._models = models
        self._flights: SingleFlight[tuple[str, str, str, bool], _Answer] = SingleFlight()
        self._limits = QualityLimits(
            min_area=settings.quality_min_area,
            max_share=settings.quality_max_share,
            max_parts=settings.quality_max_parts,
            max_holes=settings.quality_max_holes,
            min_compactness=settings.quality_min_compactness,
        )
        self._warned: Counter[tuple[str, str]] = Counter()  # by segmenter and kind
        self._counting = threading.Lock()

    def segment(
        self,
        schema: ProjectSchema,
        task: Mapping[str, Any],
        request: PromptRequest,
        deadline: float | None = None,
    ) -> dict[str, Any]:
        """The prediction for one object: its mask in the project's output form, then the next click as a hint.

        A hint answers clicks only, and only where the image has a control for it. deadline: of time.monotonic, after
        which TooLate is raised where the model has not begun.
        """
        with self._metrics.timed("click"):
            return self._segment(schema, task, request, deadline)

    def _segment(
        self,
        schema: ProjectSchema,
        task: Mapping[str, Any],
        request: PromptRequest,
        deadline: float | None,
    ) -> dict[str, Any]:
        target = schema.image(request.image)
        with self._metrics.timed("image"):
            image = self._images.get(image_url(target, task, request), task.get("id"))
        height, width = image.array.shape[:2]
        prompt = request.prompt(height, width)
        name = target.segmenter or self._settings.segmenter
        answer = self._answer(name, image, prompt, deadline, hinted=_wants_hint(target, prompt))
        begun = time.perf_counter()
        try:
            regions = _regions(
                answer,
                target,
                request,
                region_id=_region_id(task, request, prompt),
                polygon_over_pixels=self._settings.polygon_over_pixels,
                polygons=PolygonForm(self._settings.polygon_tolerance, self._settings.polygon_points),
            )
        except LabelConfigError as error:
            raise BadRequest(str(error)) from error
        prediction = {"result": regions, "score": round(answer.score, 4), "model_version": public_name(name)}
        checked = drop_invalid(prediction, schema)
        self._metrics.observe("regions", time.perf_counter() - begun)
        return checked

    def _answer(
        self, name: str, image: UprightImage, prompt: Prompt, deadline: float | None, *, hinted: bool
    ) -> _Answer:
        """Equal requests under way share one computation."""

        asked = time.perf_counter()

        def compute() -> _Answer:
            self._metrics.observe("wait", time.perf_counter() - asked)
            mask = self._decoder.decode(name, image, prompt)
            with self._metrics.timed("repair"):
                logits, contradicted = honour_clicks(mask.logits, prompt.clicks)
                if contradicted:
                    LOG.info(
                        "%s contradicted %d of %d clicks; repaired", name, contradicted, len(prompt.clicks)
                    )
                hint = suggest_click(replace(mask, logits=logits), prompt) if hinted else None
                return _Answer(logits > 0, float(min(1.0, max(0.0, mask.score))), hint)

        try:
            return self._flights.do(
                (name, image.digest, prompt.key(), hinted),
                lambda: self._checked(name, self._models.run(compute, Urgency.CLICK, deadline)),
            )
        except BadInput as error:
            raise BadRequest(str(error)) from error
        except WeightsMissing as error:
            LOG.error("%s", error)  # names files of this server
            to_do = error.advice or "its log says what is missing"
            raise ModelUnavailable(
                f"segmenter {public_name(name)!r} has no weights on this server; {to_do}"
            ) from error
        except ModelZooError as error:
            raise ModelUnavailable(str(error)) from error

    def _checked(self, name: str, answer: _Answer) -> _Answer:
        """With warnings, which are counted; not on the model thread, where others wait."""
        warnings = check_mask(answer.mask, self._limits)
        for warning in warnings:
            with self._counting:
                self._warned[name, warning.kind] += 1
                count = self._warned[name, warning.kind]
            LOG.info(
                "unusual mask no. %d of %s by %s: %s", count, warning.kind, public_name(name), warning.message
            )
        return replace(answer, warnings=warnings)


def _wants_hint(target: ImageSchema, prompt: Prompt) -> bool:
    return target.hint is not None and bool(target.hint.labels) and bool(prompt.clicks)


def _regions(
    answer: _Answer,
    target: ImageSchema,
    request: PromptRequest,
    *,
    region_id: str,
    polygon_over_pixels: int,
    polygons: PolygonForm,
) -> list[dict[str, Any]]:
    regions = mask_regions(
        answer.mask,
        target,
        request.label,
        region_id=region_id,
        score=round(answer.score, 4),
        item_index=request.item_index,
        note=_note(answer.warnings),
        polygon_over_pixels=polygon_over_pixels,
        polygons=polygons,
    )
    if answer.hint is not None:
        height, width = answer.mask.shape
        regions.append(
            hint_region(answer.hint, target, height, width, mask_id=region_id, item_index=request.item_index)
        )
    return regions


def _note(warnings: Sequence[QualityWarning]) -> str:
    """What the annotator reads in the details of the region; empty without warnings."""
    return f"Check this mask: {'; '.join(warning.message for warning in warnings)}." if warnings else ""


def image_url(target: ImageSchema, task: Mapping[str, Any], request: PromptRequest) -> str:
    """Address of the image that a request is about; BadRequest where the task has none."""
    data = task.get("data")
    urls = dict(image_urls(target, data if isinstance(data, Mapping) else {}))
    if request.item_index in urls:
        return urls[request.item_index]
    if None not in urls and urls and request.item_index is None:
        return next(iter(urls.values()))
    if None in urls:
        return urls[None]
    raise BadRequest(
        f"task {task.get('id')} has no image in its field {target.field!r}"
        f"{'' if request.item_index is None else f' at page {request.item_index}'}; expected an address there"
    )


def _region_id(task: Mapping[str, Any], request: PromptRequest, prompt: Prompt) -> str:
    """The same for all refinements of one object, so that Label Studio replaces its mask."""
    anchor: object = prompt.box if prompt.box is not None else prompt.clicks[:1]
    text = repr((task.get("id"), request.image, request.item_index, request.label, anchor))
    return "cp" + hashlib.sha256(text.encode()).hexdigest()[:10]
