"""The context of an interactive request -> the prompt of one object.

Label Studio sends all clicks of one label and image with each click, oldest first. They are one prompt, together with
the last box. A click is negative by ``is_positive: false`` on the region (Alt+click) or ``value.positive: false``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from label_config.errors import LabelConfigError, RequestMalformed
from label_config.percent import is_number, is_percent, to_pixels
from label_config.schema import Control, ImageSchema, ProjectSchema
from label_config.wire import is_result_of, region_label
from model_zoo.prompt import Box, Click, Prompt

_FOREIGN = frozenset(("rle", "format", "points", "imageDataURL", "vertices"))
"""Keys of shapes: Label Studio repeats a mask under the click control's name when a label stays selected."""


@dataclass(frozen=True)
class PercentClick:
    """A click at (x, y) percent of the image."""

    x: float
    y: float
    positive: bool


@dataclass(frozen=True)
class PercentBox:
    """A rectangle in percent of the image, turned by ``rotation`` degrees clockwise around its (x, y) corner."""

    x: float
    y: float
    width: float
    height: float
    rotation: float


@dataclass(frozen=True)
class PromptRequest:
    """What an interactive request asks for. ``image``: name of the Image tag; ``label``: of the newest region."""

    image: str
    item_index: int | None
    label: str | None
    control: Control
    clicks: tuple[PercentClick, ...]
    box: PercentBox | None

    def prompt(self, height: int, width: int) -> Prompt:
        """The prompt in pixels of the upright image of that size. A box without area is left out."""
        clicks = (Click(to_pixels(at.y, height), to_pixels(at.x, width), at.positive) for at in self.clicks)
        return Prompt(tuple(clicks), _pixel_box(self.box, height, width) if self.box else None)


@dataclass(frozen=True)
class _Entry:
    image: ImageSchema
    control: Control
    item_index: int | None
    label: str | None
    shape: PercentClick | PercentBox


def read_prompt(schema: ProjectSchema, context: Any) -> PromptRequest | None:
    """The prompt in a request's ``params.context``; None when it holds no click or box of the project's controls.

    Everything belongs to the image (and page) of the newest region. Raises RequestMalformed, naming the region.
    """
    results = _results(context)
    hints = _hint_ids(schema, results)
    entries = [
        entry
        for region in results
        if (entry := _read(schema, region)) is not None and region.get("id") not in hints
    ]
    if not entries:
        return None
    newest = entries[-1]
    shapes = [
        entry.shape
        for entry in entries
        if entry.image.name == newest.image.name and (entry.item_index or 0) == (newest.item_index or 0)
    ]
    boxes = [shape for shape in shapes if isinstance(shape, PercentBox)]
    return PromptRequest(
        image=newest.image.name,
        item_index=newest.item_index,
        label=newest.label,
        control=newest.control,
        clicks=tuple(shape for shape in shapes if isinstance(shape, PercentClick)),
        box=boxes[-1] if boxes else None,
    )


def _results(context: Any) -> list[Any]:
    if context is None:
        return []
    if not isinstance(context, Mapping):
        raise RequestMalformed(f"context is {_kind(context)}; expected an object with the list 'result'")
    result = context.get("result")
    if result is None:
        return []
    if not isinstance(result, list):
        raise RequestMalformed(f"context.result is {_kind(result)}; expected a list of regions")
    return result


def _hint_ids(schema: ProjectSchema, results: Sequence[Any]) -> list[str]:
    """Ids of suggested clicks: Label Studio writes an accepted one down under the click control too."""
    controls = [image.hint for image in schema.images if image.hint is not None]
    hints = (region for region in results if any(is_result_of(region, control) for control in controls))
    return [hint["id"] for hint in hints if isinstance(hint.get("id"), str)]


def _read(schema: ProjectSchema, region: Any) -> _Entry | None:
    if not isinstance(region, Mapping):
        raise RequestMalformed(f"context.result holds {_kind(region)}; expected region objects only")
    found = schema.find_control(region.get("from_name"))
    if found is None or found[1] not in (found[0].click, found[0].box) or not is_result_of(region, found[1]):
        return None
    image, control = found
    value = region.get("value")
    if not isinstance(value, Mapping):
        _malformed(region, f"has the value {value!r:.40}", "an object with x and y")
    if _FOREIGN & value.keys():
        return None
    try:
        label = region_label(region, control)
    except LabelConfigError as error:
        raise RequestMalformed(str(error)) from error
    shape = _click(region, value) if control is image.click else _box(region, value)
    return _Entry(image, control, _item_index(region), label, shape)


def _click(region: Mapping[str, Any], value: Mapping[str, Any]) -> PercentClick:
    x, y = value.get("x"), value.get("y")
    if not (is_percent(x) and is_percent(y)):
        _malformed(region, f"is a click at x={x!r}, y={y!r}", "percent from 0 to 100")
    flags = [flag for flag in (region.get("is_positive"), value.get("positive")) if flag is not None]
    if not all(isinstance(flag, bool) for flag in flags):
        _malformed(region, f"has the sign {flags!r}", "is_positive true or false")
    return PercentClick(float(x), float(y), all(flags))  # type: ignore[arg-type]


def _box(region: Mapping[str, Any], value: Mapping[str, Any]) -> PercentBox:
    numbers = [
        value.get("x"),
        value.get("y"),
        value.get("width"),
        value.get("height"),
        value.get("rotation") or 0,
    ]
    if not all(is_number(number) for number in numbers):
        _malformed(region, f"is a box of x, y, width, height, rotation = {numbers!r}", "five finite numbers")
    return PercentBox(*(float(number) for number in numbers))  # type: ignore[arg-type]


def _item_index(region: Mapping[str, Any]) -> int | None:
    index = region.get("item_index")
    if index is not None and (not isinstance(index, int) or isinstance(index, bool) or index < 0):
        _malformed(region, f"has item_index {index!r}", "a whole number from 0, or none")
    return index


def _malformed(region: Mapping[str, Any], got: str, expected: str) -> NoReturn:
    raise RequestMalformed(f"region {region.get('id')!r} {got}; expected {expected}; remove it and try again")


def _kind(value: object) -> str:
    return f"a {type(value).__name__}"


def _pixel_box(box: PercentBox, height: int, width: int) -> Box | None:
    """Smallest upright box around the (turned) rectangle, cut off at the image's edges."""
    across, down = to_pixels(box.width, width), to_pixels(box.height, height)
    cosine, sine = math.cos(math.radians(box.rotation)), math.sin(math.radians(box.rotation))
    xs = [
        to_pixels(box.x, width) + x for x in (0, across * cosine, -down * sine, across * cosine - down * sine)
    ]
    ys = [
        to_pixels(box.y, height) + y for y in (0, across * sine, down * cosine, across * sine + down * cosine)
    ]
    top, bottom = max(min(ys), 0.0), min(max(ys), float(height))
    left, right = max(min(xs), 0.0), min(max(xs), float(width))
    return Box(top, left, bottom, right) if top < bottom and left < right else None
