"""Clicks a segmenter needs: one object clicked until the mask is good enough, by the standard protocol.

An empty mask to start from; click, decode, compare, until the IoU reaches the target or the clicks are used up.
The protocol is that of RITM and of f-BRS before it: all figures in the literature that are called NoC are so made.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from model_zoo.errors import BadInput
from model_zoo.evaluation.clicker import Clicker, center_click
from model_zoo.evaluation.metrics import iou
from model_zoo.prompt import Click, Prompt
from model_zoo.segmenters.base import Embedding, Mask, Segmenter

MAX_CLICKS = 20
TARGET = 0.90
TOLERANCE = 1e-9
"""Thresholds are decimal fractions, IoUs are quotients: equal ones may differ in the last bit."""

Repair = Literal["none", "gp"]
OnClick = Callable[[tuple[Click, ...], Mask, float], None]


@dataclass(frozen=True)
class SampleResult:
    """What one object took. ``ious`` and ``seconds`` (decoding, repair included) have one entry a click.

    violations: over all answers, the clicks whose pixel the answer puts on the other side.
    """

    name: str
    ious: tuple[float, ...]
    violations: int
    seconds: tuple[float, ...]
    encode_seconds: float
    clicks: tuple[Click, ...]


def evaluate_sample(
    segmenter: Segmenter,
    image: NDArray[np.uint8],
    truth: NDArray[np.uint8],
    *,
    name: str = "",
    max_clicks: int = MAX_CLICKS,
    target: float = TARGET,
    clicker: Clicker = center_click,
    repair: Repair = "none",
    on_click: OnClick | None = None,
) -> SampleResult:
    """Click one object until its IoU reaches ``target``, ``max_clicks`` are made, or nothing is left to click.

    image: (H, W, 3) uint8 RGB. truth: (H, W) uint8, 1 object, 0 background, 255 ignored. ``repair`` "gp" scores
    the segmenter with the GP posterior head as its last step. ``on_click`` is told clicks, answer and IoU.
    """
    segmenter = repaired(segmenter, repair)
    embedding, seconds = encode(segmenter, image)
    return click_through(
        segmenter,
        embedding,
        truth,
        name=name,
        max_clicks=max_clicks,
        target=target,
        clicker=clicker,
        on_click=on_click,
        encode_seconds=seconds,
    )


def encode(segmenter: Segmenter, image: NDArray[np.uint8]) -> tuple[Embedding, float]:
    """The image's embedding and the seconds that it took."""
    started = time.perf_counter()
    embedding = segmenter.encode(image)
    return embedding, time.perf_counter() - started


def click_through(
    segmenter: Segmenter,
    embedding: Embedding,
    truth: NDArray[np.uint8],
    *,
    name: str = "",
    max_clicks: int = MAX_CLICKS,
    target: float = TARGET,
    clicker: Clicker = center_click,
    on_click: OnClick | None = None,
    encode_seconds: float = 0.0,
) -> SampleResult:
    """As ``evaluate_sample``, of an image that is encoded already."""
    if truth.shape != (embedding.height, embedding.width):
        size = embedding.height, embedding.width
        raise BadInput(f"truth has shape {truth.shape} and the image {size}; expected equal sizes")
    clicks: tuple[Click, ...] = ()
    ious: list[float] = []
    seconds: list[float] = []
    violations = 0
    state: Any = None
    region: NDArray[np.bool_] = np.zeros(truth.shape, dtype=bool)
    while len(clicks) < max_clicks and not (ious and _reaches(ious[-1], target)):
        click = clicker(region, truth, clicks)
        if click is None:
            break
        clicks = (*clicks, click)
        started = time.perf_counter()
        mask = segmenter.decode(embedding, Prompt(clicks=clicks), state)
        seconds.append(time.perf_counter() - started)
        state = mask.state if segmenter.stateful else None
        region = mask.logits > 0
        violations += contradictions(region, clicks)
        ious.append(iou(truth, region))
        if on_click is not None:
            on_click(clicks, mask, ious[-1])
    return SampleResult(name, tuple(ious), violations, tuple(seconds), encode_seconds, clicks)


def repaired(segmenter: Segmenter, repair: Repair) -> Segmenter:
    """The segmenter with the repair as its last step; one whose name ends in "+gp" has it already."""
    if repair == "none" or segmenter.name.endswith("+gp"):
        return segmenter
    from model_zoo.segmenters.gp_head import GpHead  # noqa: PLC0415 - only runs that repair need it

    return GpHead(segmenter)


def contradictions(region: NDArray[np.bool_], clicks: Sequence[Click]) -> int:
    """How many clicked pixels lie on the wrong side of a (H, W) mask; of two clicks at a pixel the later counts."""
    wanted = {click.pixel(*region.shape): click.positive for click in clicks}
    return sum(bool(region[pixel]) != positive for pixel, positive in wanted.items())


def noc(ious: Sequence[float], target: float, max_clicks: int = MAX_CLICKS) -> int:
    """Number of clicks: 1-based index of the first IoU that reaches the target, ``max_clicks`` if none does.

    A success exactly at the last click and none at all are told apart by ``never_reached`` only.
    """
    for number, value in enumerate(ious[:max_clicks], start=1):
        if _reaches(value, target):
            return number
    return max_clicks


def never_reached(ious: Sequence[float], target: float) -> bool:
    """Whether no click reached the target: a failure (NoF) in the strict sense.

    Published tables mostly count NoC == 20, a success exactly at click 20 among them.
    """
    return not any(_reaches(value, target) for value in ious)


def iou_after(ious: Sequence[float], clicks: int) -> float:
    """IoU after so many clicks; an object that was finished earlier keeps its last IoU, 0 before any click."""
    return ious[min(clicks, len(ious)) - 1] if ious and clicks > 0 else 0.0


def _reaches(value: float, target: float) -> bool:
    return value >= target - TOLERANCE
