"""A prompt as a SAM takes it: points with signs, a box, logits of a mask."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model_zoo.prompt import Box, Prompt
from model_zoo.segmenters.sam_frame import Floats, Frame
from model_zoo.segmenters.stroke_points import stroke_clicks


@dataclass(frozen=True, eq=False)
class SamPrompt:
    """points: (N, 2) float32 (x, y) in pixels of the square; the network adds half a pixel. labels: (N,) int64, 1 for
    the object. box: (4,) float32, x and y of its upper left and of its lower right corner. mask: (low, low) logits."""

    points: Floats
    labels: NDArray[np.int64]
    box: Floats | None
    mask: Floats | None

    @property
    def ambiguous(self) -> bool:
        """One click or a lone box: several masks may be meant, and SAM offers three."""
        return self.mask is None and len(self.points) + (self.box is not None) == 1


def names_an_object(prompt: Prompt) -> bool:
    """Negative clicks and strokes alone say where nothing is."""
    positive = any(click.positive for click in prompt.clicks)
    positive = positive or any(stroke.positive and stroke.points for stroke in prompt.strokes)
    started = prompt.mask is not None and bool(prompt.mask.any())
    return positive or prompt.box is not None or started


def frame_prompt(prompt: Prompt, frame: Frame, low: int, previous: Floats | None) -> SamPrompt:
    """previous: (low, low) logits of the answer one click ago; without it, those of the mask to start from.

    SAM has not learnt to answer to a mask alone: where neither a box nor a positive click says what is meant, the
    mask's own box does.
    """
    height, width = frame.image
    clicks = (*stroke_clicks(prompt.strokes), *prompt.clicks)
    pixels = [click.pixel(height, width) for click in clicks]
    box, mask = prompt.box, previous
    if prompt.mask is not None and prompt.mask.any():
        mask = frame.start(prompt.mask, low) if previous is None else previous
        if box is None and not any(click.positive for click in clicks):
            box = _surrounding(prompt.mask)
    return SamPrompt(
        points=frame.places(pixels),
        labels=np.array([click.positive for click in clicks], dtype=np.int64),
        box=None if box is None else frame.places(_corners(box, height, width)).reshape(4),
        mask=mask,
    )


def _surrounding(mask: NDArray[np.bool_]) -> Box:
    rows, cols = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    return Box(float(rows[0]), float(cols[0]), float(rows[-1] + 1), float(cols[-1] + 1))


def _corners(box: Box, height: int, width: int) -> list[tuple[float, float]]:
    """Upper left and lower right, within the image, whichever way the box was drawn."""
    rows = sorted(min(max(row, 0.0), float(height)) for row in (box.top, box.bottom))
    cols = sorted(min(max(col, 0.0), float(width)) for col in (box.left, box.right))
    return [(rows[0], cols[0]), (rows[1], cols[1])]
