from __future__ import annotations

import pytest
from PIL import ImageColor

from label_config.colours import (
    HINT_COLOUR,
    QUESTION_COLOUR,
    VOID_COLOUR,
    class_colours,
    is_red,
    label_colour,
)

pytestmark = pytest.mark.unit


def test_colours_are_distinct_and_never_red() -> None:
    colours = [label_colour(index) for index in range(254)]
    assert len({*colours, QUESTION_COLOUR, VOID_COLOUR}) == 256
    assert not any(is_red(colour) for colour in (*colours, QUESTION_COLOUR, VOID_COLOUR))


def test_the_rings_of_hints_and_of_queries_are_told_apart() -> None:
    """The query ring is magenta, or of a class; both kinds may lie on one image."""
    hint = ImageColor.getrgb(HINT_COLOUR)
    others = [QUESTION_COLOUR, VOID_COLOUR, *(label_colour(index) for index in range(254))]
    gaps = [sum(abs(a - b) for a, b in zip(hint, ImageColor.getrgb(other), strict=True)) for other in others]
    assert min(gaps) > 150
    assert gaps[0] > 240


def test_the_first_twelve_are_well_apart() -> None:
    channels = [[int(label_colour(index)[at : at + 2], 16) for at in (1, 3, 5)] for index in range(12)]
    gaps = [
        sum(abs(a - b) for a, b in zip(one, two, strict=True))
        for i, one in enumerate(channels)
        for two in channels[:i]
    ]
    assert min(gaps) > 50


@pytest.mark.parametrize(
    "colour", ["red", "#f00", "#FF0000", "crimson", " #dc143c ", "rgb(200, 0, 10)", "hsl(350, 90%, 50%)"]
)
def test_red_is_recognised(colour: str) -> None:
    assert is_red(colour)


@pytest.mark.parametrize(
    "colour", ["", "no colour", "#ffa500", "gold", "#ff00ff", "black", "pink", "#00f", "rebecca"]
)
def test_what_is_not_red(colour: str) -> None:
    assert not is_red(colour)


def test_class_colours_are_those_of_the_config_or_else_ours() -> None:
    config = """<View><Image name="i" value="$image"/><BrushLabels name="m" toName="i">
      <Label value="car" background="#102030"/><Label value="way" alias="road" background="navy"/>
      <Label value="sky"/><Label value="sea" background="no colour"/></BrushLabels></View>"""
    found = class_colours(config, ["car", "road", "sky", "sea"])
    assert found[:2] == [(16, 32, 48), (0, 0, 128)]
    assert ["#{:02x}{:02x}{:02x}".format(*colour) for colour in found[2:]] == [
        label_colour(2),
        label_colour(3),
    ]
