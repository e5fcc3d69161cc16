"""The envelope that every image region has in Label Studio's JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from label_config.errors import LabelConfigError
from label_config.percent import is_number
from label_config.schema import Control


def region_json(
    control: Control,
    value: dict[str, Any],
    label: str,
    *,
    region_id: str,
    height: int,
    width: int,
    score: float | None = None,
    item_index: int | None = None,
    readonly: bool = False,
    note: str = "",
) -> dict[str, Any]:
    """One result. ``height`` and ``width`` are those of the upright image, so ``image_rotation`` is always 0.

    ``note`` is a text that Label Studio shows with the region and keeps with it. ``origin`` is left to Label Studio:
    it knows whether a person accepted the region.
    """
    region: dict[str, Any] = {
        "id": region_id,
        "type": control.type,
        "from_name": control.name,
        "to_name": control.to_name,
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
        "value": {**value, control.type: [label]},
    }
    if score is not None:
        region["score"] = score
    if item_index is not None:
        region["item_index"] = item_index
    if readonly:
        region["readonly"] = True
    if note:
        region["meta"] = {"text": [note]}
    return region


def is_result_of(region: object, control: Control) -> bool:
    """True when the result was made with this control, and is of its type (Label Studio also makes foreign twins)."""
    return (
        isinstance(region, Mapping)
        and region.get("from_name") == control.name
        and region.get("to_name") == control.to_name
        and region.get("type") == control.type
    )


def image_size(region: Mapping[str, Any]) -> tuple[int, int]:
    """(height, width) of the upright image, as the region tells it; LabelConfigError without whole numbers."""
    height, width = (_whole(region.get(key)) for key in ("original_height", "original_width"))
    if height is None or width is None:
        raise LabelConfigError(
            f"region {region.get('id')!r} gives the image size {region.get('original_width')!r}x"
            f"{region.get('original_height')!r}; expected whole numbers in original_width and original_height"
        )
    return height, width


def _whole(value: Any) -> int | None:
    return int(value) if is_number(value) and value == int(value) and value > 0 else None


def region_label(region: Mapping[str, Any], control: Control) -> str | None:
    """The first label of a result, None when it has none; LabelConfigError when labels are no list of strings."""
    value = region.get("value")
    labels = value.get(control.type) if isinstance(value, Mapping) else None
    if labels is None:
        return None
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise LabelConfigError(
            f"region {region.get('id')!r} has {control.type} {labels!r}; expected a list of label names"
        )
    return labels[0] if labels else None
