"""Prompts of a batch while it is trained on: dense maps that grow by one correction at a time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

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


def first_maps(batch: Batch, policy: ClickPolicy, rng: np.random.Generator) -> Floats:
    """(N, 4, S, S) maps of the first prompts: clicks, a box, a stroke, as the policy says."""
    return np.stack(
        [_first(truth, valid, policy, rng) for truth, valid in zip(batch.truth, batch.valid, strict=True)]
    )


def _first(
    truth: NDArray[np.bool_], valid: NDArray[np.bool_], policy: ClickPolicy, rng: np.random.Generator
) -> Floats:
    maps = empty_maps(*truth.shape)
    boxed = rng.random() < policy.boxes
    if boxed:
        draw_box(maps, loose_box(truth, rng))
    if boxed and rng.random() < 0.5:
        return maps
    for number, click in enumerate(first_clicks(truth, valid, policy, rng)):
        points = stroke_points(truth, rng) if number == 0 and rng.random() < policy.strokes else ()
        if len(points) > 1:
            draw_stroke(maps, points, positive=True)
        else:
            draw_click(maps, click.row, click.col, click.positive)
    return maps


def correct(maps: Floats, probabilities: Floats, batch: Batch, rng: np.random.Generator) -> None:
    """Add to each sample, in place, one click on its largest error, and the mask that was wrong.

    probabilities: (N, S, S). Errors are looked for on every second pixel.
    """
    for sample, (truth, valid) in enumerate(zip(batch.truth, batch.valid, strict=True)):
        predicted = probabilities[sample, ::2, ::2] > 0.5
        click = correction(predicted, truth[::2, ::2], valid[::2, ::2], rng)
        if click is not None:
            draw_click(maps[sample], 2 * click.row, 2 * click.col, click.positive)
    maps[:, PREVIOUS] = probabilities
