"""Boxes for models that know only points."""

from __future__ import annotations

import numpy as np
import pytest

from model_zoo.prompt import Box, Click, Prompt, Stroke
from model_zoo.segmenters.base import Mask
from model_zoo.segmenters.box_click import box_region, cut_to_box, with_middle
from model_zoo.segmenters.zoom_in import Region

pytestmark = pytest.mark.unit
BOX = Box(10.0, 20.0, 30.5, 60.0)
OUTSIDE = Click(5.0, 5.0)


def full() -> Mask:
    return Mask(np.ones((40, 80), dtype=np.float32), 0.9, None, "state")


def test_a_box_alone_is_a_click_at_its_middle() -> None:
    assert with_middle(Prompt(box=BOX)).clicks == (Click(20.25, 40.0),)


def test_negative_clicks_come_after_the_middle() -> None:
    negative = Click(12.0, 22.0, False)
    assert with_middle(Prompt((negative,), BOX)).clicks == (Click(20.25, 40.0), negative)


@pytest.mark.parametrize(
    "prompt",
    [
        Prompt(),
        Prompt((Click(1.0, 1.0),), BOX),
        Prompt(box=BOX, strokes=(Stroke(((1.0, 1.0),), True, 1.0),)),
        Prompt(box=BOX, mask=np.ones((40, 80), dtype=np.bool_)),
    ],
    ids=["no box", "a positive click", "a positive stroke", "a mask"],
)
def test_what_says_what_the_object_is_stays_as_it_is(prompt: Prompt) -> None:
    assert with_middle(prompt) is prompt


def test_nothing_is_left_outside_the_box() -> None:
    found = cut_to_box(full(), Prompt(box=BOX))
    inside = np.zeros((40, 80), dtype=np.bool_)
    inside[10:31, 20:60] = True
    assert np.array_equal(found.logits > 0, inside)
    assert np.isfinite(found.logits).all()
    assert (found.score, found.state) == (0.9, "state")


@pytest.mark.parametrize(
    "prompt",
    [Prompt(), Prompt((OUTSIDE,), BOX), Prompt(box=BOX, strokes=(Stroke(((5.0, 5.0),), True, 1.0),))],
    ids=["no box", "a click outside", "a stroke outside"],
)
def test_an_object_that_is_clicked_outside_the_box_is_kept(prompt: Prompt) -> None:
    assert (cut_to_box(full(), prompt).logits > 0).all()


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        (Box(-9.0, -9.0, -5.0, -5.0), Region(0, 0, 1, 1)),
        (Box(90.0, 90.0, 95.0, 95.0), Region(39, 79, 40, 80)),
        (Box(40.0, 40.0, 40.0, 40.0), Region(39, 40, 40, 41)),
        (Box(30.0, 60.0, 10.0, 20.0), Region(30, 60, 31, 61)),
        (Box(0.0, 0.0, 40.0, 80.0), Region(0, 0, 40, 80)),
    ],
)
def test_every_box_holds_a_pixel_of_the_image(box: Box, expected: Region) -> None:
    assert box_region(box, (40, 80)) == expected
