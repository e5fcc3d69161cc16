"""Label colours: distinct from each other, and never red, in which Label Studio draws what is selected."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

from lxml import etree  # type: ignore[import-untyped]
from PIL import ImageColor

QUESTION_COLOUR = "#ff00ff"
VOID_COLOUR = "#808080"
HINT_COLOUR = "#ffffff"  # classes have all hues but red, "?" has magenta

_FIRST_HUE, _HUES = 35, 235  # degrees: orange to violet; red, pink and the magenta of "?" are left out
_GOLDEN = 0.618033988749895  # multiples of it spread evenly, however many there are
_VALUES = (1.0, 0.72, 0.88)


def label_colour(index: int) -> str:
    """Colour "#rrggbb" of the class with that index."""
    hue = (_FIRST_HUE + index * _GOLDEN % 1 * _HUES) / 360
    channels = colorsys.hsv_to_rgb(hue, 1.0 if index % 2 == 0 else 0.7, _VALUES[index % 3])
    return "#" + "".join(f"{round(channel * 255):02x}" for channel in channels)


def class_colours(config: str, classes: Sequence[str]) -> list[tuple[int, int, int]]:
    """RGB of each class as the labelling config has it, or else `label_colour`."""
    root = etree.fromstring(config.encode(), etree.XMLParser(resolve_entities=False, no_network=True))
    written: dict[str, str] = {}
    for label in root.iter("Label"):
        written.setdefault(label.get("alias") or label.get("value") or "", label.get("background") or "")
    colours = []
    for index, name in enumerate(classes):
        try:
            red, green, blue = ImageColor.getrgb(written.get(name, "").strip())[:3]
        except ValueError:
            red, green, blue = ImageColor.getrgb(label_colour(index))[:3]
        colours.append((red, green, blue))
    return colours


def is_red(colour: str) -> bool:
    """True when a ring of this colour could be taken for a selected one; False for what is no colour."""
    try:
        red, green, blue = ImageColor.getrgb(colour.strip())[:3]
    except ValueError:
        return False
    hue, saturation, value = colorsys.rgb_to_hsv(red / 255, green / 255, blue / 255)
    return (hue < 20 / 360 or hue > 340 / 360) and saturation > 0.5 and value > 0.4
