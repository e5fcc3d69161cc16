"""The last look at what goes out: one malformed result replaces Label Studio's editor by an error page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from label_config.errors import LabelConfigError
from label_config.masks import data_url_size
from label_config.percent import is_number, is_percent
from label_config.rle import decode_length
from label_config.schema import Control, ProjectSchema
from label_config.wire import image_size


def invalid_reason(region: Mapping[str, Any], schema: ProjectSchema) -> str | None:
    """Why Label Studio could not take a result of this config; None when it can.

    Checks the control, its type and labels, that numbers are finite and in range, and that the shape is decodable and
    of the image's size. Pixels are not decoded, so that this costs little.
    """
    try:
        control = _control(region, schema)
        size = image_size(region)
        _check_envelope(region)
        value = region.get("value")
        if not isinstance(value, Mapping):
            return f"value is {value!r:.40}; expected an object"
        _check_labels(value, control)
        _SHAPES[control.type](value, *size)
    except LabelConfigError as error:
        return str(error)
    return None


def _control(region: Mapping[str, Any], schema: ProjectSchema) -> Control:
    if not isinstance(region, Mapping):
        raise LabelConfigError(f"the result is a {type(region).__name__}; expected an object")
    found = schema.find_control(region.get("from_name"))
    if found is None:
        raise LabelConfigError(
            f"from_name {region.get('from_name')!r} is no control of this labelling config"
        )
    _, control = found
    for key, expected in (("to_name", control.to_name), ("type", control.type)):
        if region.get(key) != expected:
            raise LabelConfigError(f"{key} is {region.get(key)!r}; control {control.name!r} has {expected!r}")
    return control


def _check_envelope(region: Mapping[str, Any]) -> None:
    index, score = region.get("item_index"), region.get("score")
    if not isinstance(region.get("id"), str) or not region["id"]:
        raise LabelConfigError(f"id is {region.get('id')!r}; expected a text that is not empty")
    if not is_number(region.get("image_rotation", 0)):
        raise LabelConfigError(f"image_rotation is {region['image_rotation']!r}; expected a number")
    if score is not None and not (is_number(score) and 0 <= score <= 1):
        raise LabelConfigError(f"score is {score!r}; expected a number from 0 to 1")
    if index is not None and (isinstance(index, bool) or not isinstance(index, int) or index < 0):
        raise LabelConfigError(f"item_index is {index!r}; expected a whole number from 0")
    for key in ("readonly", "dynamic"):
        if not isinstance(region.get(key, False), bool):
            raise LabelConfigError(f"{key} is {region[key]!r}; expected true or false")
    _check_note(region.get("meta", {}))


def _check_note(meta: object) -> None:
    """The editor shows ``meta.text`` as it is, and breaks when that is an object."""
    text = meta.get("text", []) if isinstance(meta, Mapping) else None
    if not isinstance(text, list) or not all(isinstance(line, str) for line in text):
        raise LabelConfigError(f"meta is {meta!r:.60}; expected an object whose 'text' is a list of texts")


def _check_labels(value: Mapping[str, Any], control: Control) -> None:
    labels = value.get(control.type)
    if not isinstance(labels, list) or not labels:
        raise LabelConfigError(f"{control.type} is {labels!r:.60}; expected a list of label names")
    unknown = [label for label in labels if label not in control.labels]
    if unknown:
        raise LabelConfigError(f"label {unknown[0]!r} is not in control {control.name!r}")


def _check_percents(value: Mapping[str, Any], *keys: str) -> None:
    for key in keys:
        if not is_percent(value.get(key)):
            raise LabelConfigError(f"{key} is {value.get(key)!r:.40}; expected a number from 0 to 100")


def _check_keypoint(value: Mapping[str, Any], _height: int, _width: int) -> None:
    _check_percents(value, "x", "y", "width")


def _check_rectangle(value: Mapping[str, Any], _height: int, _width: int) -> None:
    _check_percents(value, "x", "y", "width", "height")
    if not is_number(value.get("rotation", 0)):
        raise LabelConfigError(f"rotation is {value['rotation']!r:.40}; expected a number")


def _check_polygon(value: Mapping[str, Any], _height: int, _width: int) -> None:
    points = value.get("points")
    if not isinstance(points, list) or len(points) < 3:
        raise LabelConfigError(f"points is {points!r:.60}; expected a list of three or more")
    for point in points:
        if not (isinstance(point, list) and len(point) == 2 and all(is_percent(at) for at in point)):
            raise LabelConfigError(f"point {point!r:.60} of a polygon; expected [x, y] from 0 to 100")


def _check_brush(value: Mapping[str, Any], height: int, width: int) -> None:
    rle = value.get("rle")
    if value.get("format") != "rle" or not isinstance(rle, list):
        raise LabelConfigError("a brush value needs format 'rle' and a list 'rle'")
    count = decode_length(rle)
    if count != height * width * 4:
        raise LabelConfigError(f"brush RLE holds {count} values; the {width}x{height} image needs 4 a pixel")
    try:
        bytes(rle)
    except (TypeError, ValueError) as error:
        raise LabelConfigError("brush RLE holds something else than whole numbers from 0 to 255") from error


def _check_bitmask(value: Mapping[str, Any], height: int, width: int) -> None:
    size = data_url_size(value.get("imageDataURL", ""))
    if size != (height, width):
        raise LabelConfigError(f"bitmask is {size[1]}x{size[0]}; the image is {width}x{height}")


_SHAPES: Mapping[str, Callable[[Mapping[str, Any], int, int], None]] = {
    "keypointlabels": _check_keypoint,
    "rectanglelabels": _check_rectangle,
    "polygonlabels": _check_polygon,
    "brushlabels": _check_brush,
    "bitmasklabels": _check_bitmask,
}
