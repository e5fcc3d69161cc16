"""A box, for models that know only points: a click at its middle, and no object beyond its edges."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from model_zoo.prompt import Box, Click, Prompt
from model_zoo.segmenters.base import Mask
from model_zoo.segmenters.predictor_maps import LIMIT
from model_zoo.segmenters.zoom_in import Region


def with_middle(prompt: Prompt) -> Prompt:
    """The prompt with a positive click at the middle of its box, where nothing else says what the object is."""
    box = prompt.box
    hinted = any(click.positive for click in prompt.clicks) or any(one.positive for one in prompt.strokes)
    started = prompt.mask is not None and bool(prompt.mask.any())
    if box is None or hinted or started:
        return prompt
    middle = Click((box.top + box.bottom) / 2, (box.left + box.right) / 2)
    return replace(prompt, clicks=(middle, *prompt.clicks))


def box_region(box: Box, shape: tuple[int, int]) -> Region:
    """The pixels of an image of that (height, width) which the box touches, one at least."""
    (top, bottom), (left, right) = (
        (min(max(int(np.floor(low)), 0), side - 1), min(max(int(np.ceil(high)), 1), side))
        for low, high, side in ((box.top, box.bottom, shape[0]), (box.left, box.right, shape[1]))
    )
    return Region(top, left, max(bottom, top + 1), max(right, left + 1))


def cut_to_box(mask: Mask, prompt: Prompt) -> Mask:
    """The mask without what lies outside the box; with all of it where a positive click or stroke lies outside."""
    if prompt.box is None or not (mask.logits > 0).any():
        return mask
    height, width = mask.logits.shape
    region = box_region(prompt.box, (height, width))
    hints = [(click.row, click.col) for click in prompt.clicks if click.positive]
    hints += [point for stroke in prompt.strokes if stroke.positive for point in stroke.points]
    if not all(region.holds(Click(*hint)) for hint in hints):
        return mask
    logits = np.full_like(mask.logits, -LIMIT)
    logits[region.window] = mask.logits[region.window]
    return replace(mask, logits=logits)
