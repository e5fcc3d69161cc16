"""Prompts of a batch while it is trained on: dense maps and clicks that grow by one correction at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model_zoo.prompt import Click
from model_zoo.segmenters.click_maps import PREVIOUS, draw_box, draw_click, draw_stroke, empty_maps
from model_zoo.training.batches import Batch
from model_zoo.training.click_simulation import (
    ClickPolicy,
    correction,
    first_clicks,
    loose_box,
    stroke_points,
)

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Prompts:
    """maps: (N, 4, S, S), see click_maps. clicks: those of each sample, oldest first, in pixels of the maps.

    A stroke is its first point among the clicks, a box is none of them. Corrections are added in place.
    """

    maps: Floats
    clicks: tuple[list[Click], ...]


def first_prompts(batch: Batch, policy: ClickPolicy, rng: np.random.Generator) -> Prompts:
    """Clicks, a box, a stroke, as the policy says."""
    found = [_first(truth, valid, policy, rng) for truth, valid in zip(batch.truth, batch.valid, strict=True)]
    return Prompts(np.stack([maps for maps, _ in found]), tuple(clicks for _, clicks in found))


def _first(
    truth: NDArray[np.bool_], valid: NDArray[np.bool_], policy: ClickPolicy, rng: np.random.Generator
) -> tuple[Floats, list[Click]]:
    maps, clicks = empty_maps(*truth.shape), list[Click]()
    boxed = rng.random() < policy.boxes and bool(truth.any())
    if boxed:
        draw_box(maps, loose_box(truth, rng))
    if boxed and rng.random() < 0.5:
        return maps, clicks
    for number, click in enumerate(first_clicks(truth, valid, policy, rng)):
        points = stroke_points(truth, rng) if number == 0 and rng.random() < policy.strokes else ()
        if len(points) > 1:
            draw_stroke(maps, points, positive=True)
            clicks.append(Click(*points[0]))
        else:
            draw_click(maps, click.row, click.col, click.positive)
            clicks.append(click)
    return maps, clicks


def correct(
    prompts: Prompts,
    probabilities: Floats,
    batch: Batch,
    rng: np.random.Generator,
    chosen: Sequence[int] | None = None,
) -> None:
    """Add to each chosen sample, in place, one click on its largest error, and the mask that was wrong.

    probabilities: (len(chosen), H, W). chosen: numbers of samples, None for all. Errors are looked for on every
    second pixel.
    """
    for place, sample in enumerate(range(len(prompts.maps)) if chosen is None else chosen):
        truth, valid = batch.truth[sample, ::2, ::2], batch.valid[sample, ::2, ::2]
        click = correction(probabilities[place, ::2, ::2] > 0.5, truth, valid, rng)
        if click is not None:
            row, col = 2 * click.row - 0.5, 2 * click.col - 0.5  # the middle of the pixel that was looked at
            draw_click(prompts.maps[sample], row, col, click.positive)
            prompts.clicks[sample].append(Click(row, col, click.positive))
        prompts.maps[sample, PREVIOUS] = probabilities[place]
