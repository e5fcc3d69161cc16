"""Masks <-> Label Studio regions, in the form that the project's output controls ask for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from label_config.errors import LabelConfigError
from label_config.masks import data_url_to_mask, mask_to_data_url, mask_to_rle, rle_to_mask
from label_config.percent import is_number
from label_config.polygons import DEFAULT_FORM, PolygonForm, mask_to_polygons, polygons_to_mask
from label_config.schema import Control, ImageSchema
from label_config.wire import image_size, is_result_of, region_json, region_label


@dataclass(frozen=True, eq=False)
class RegionMask:
    """A mask region of an annotation. ``mask``: (H, W) bool, upright; ``origin`` as Label Studio stores it, or None."""

    label: str | None
    mask: NDArray[np.bool_]
    origin: str | None
    region_id: str
    item_index: int | None


def mask_regions(
    mask: NDArray[np.bool_],
    image: ImageSchema,
    label: str | None,
    *,
    region_id: str,
    score: float | None = None,
    item_index: int | None = None,
    readonly: bool = False,
    note: str = "",
    polygon_over_pixels: int = 4_000_000,
    polygons: PolygonForm = DEFAULT_FORM,
) -> list[dict[str, Any]]:
    """Results that show a mask (H, W); [] for an empty one. Only polygons need more than one (a part each).

    The first output control that holds the label is used; for larger images than ``polygon_over_pixels`` the first
    polygon control that holds it, when there is one. Without a label, the outputs' only label stands in. A control's
    own ``tolerance`` goes before that of ``polygons``.
    Ids follow from ``region_id``; ``note`` goes with the first, the largest part. Raises LabelConfigError when no
    output control holds the label.
    """
    if not mask.any():
        return []
    label = _label(image, label)
    control = _output(image, label, prefer_polygon=mask.size > polygon_over_pixels)
    height, width = mask.shape
    return [
        region_json(
            control, value, label, region_id=f"{region_id}-{part}" if part else region_id,
            height=height, width=width, score=score, item_index=item_index, readonly=readonly,
            note="" if part else note,
        )
        for part, value in enumerate(mask_values(control, mask, polygons))
    ]  # fmt: skip


def read_masks(image: ImageSchema, result: Iterable[Any]) -> list[RegionMask]:
    """The mask regions in an annotation's result; everything else is passed over. Raises LabelConfigError."""
    found = (read_mask(image, region) for region in result)
    return [mask for mask in found if mask is not None]


def read_mask(image: ImageSchema, region: Any) -> RegionMask | None:
    """One mask region; None when it is none of the image's output controls; LabelConfigError when it is broken."""
    control = next((control for control in image.outputs if is_result_of(region, control)), None)
    if control is None:
        return None
    height, width = image_size(region)
    try:
        mask = _decode(control, region.get("value"), height, width)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        reason = error if isinstance(error, LabelConfigError) else f"its value is no {control.type} value"
        raise LabelConfigError(f"region {region.get('id')!r} cannot be read: {reason}") from error
    return RegionMask(
        label=region_label(region, control),
        mask=mask,
        origin=region.get("origin"),
        region_id=str(region.get("id")),
        item_index=region.get("item_index"),
    )


def _label(image: ImageSchema, label: str | None) -> str:
    known = dict.fromkeys(name for control in image.outputs for name in control.labels)
    if label is None and len(known) == 1:
        return next(iter(known))
    if label is None or label not in known:
        raise LabelConfigError(
            f"label {label!r} is in no output control of image {image.name!r} ({', '.join(known) or 'it has none'}); "
            "add it to BrushLabels, BitmaskLabels or PolygonLabels of the labelling config"
        )
    return label


def _output(image: ImageSchema, label: str, *, prefer_polygon: bool) -> Control:
    holding = [control for control in image.outputs if label in control.labels]
    polygons = [control for control in holding if control.tag == "PolygonLabels"]
    return (polygons or holding)[0] if prefer_polygon else holding[0]


def mask_values(
    control: Control, mask: NDArray[np.bool_], form: PolygonForm = DEFAULT_FORM
) -> list[dict[str, Any]]:
    """The ``value`` of each region that shows a mask (H, W) in an output control, without its label."""
    if control.tag == "BrushLabels":
        return [{"format": "rle", "rle": mask_to_rle(mask)}]
    if control.tag == "BitmaskLabels":
        return [{"imageDataURL": mask_to_data_url(mask)}]
    tolerance = form.tolerance if control.tolerance is None else control.tolerance
    found = mask_to_polygons(mask, tolerance=tolerance, max_points=form.max_points)
    return [{"points": points, "closed": True} for points in found]


def _decode(control: Control, value: Mapping[str, Any], height: int, width: int) -> NDArray[np.bool_]:
    if control.tag == "BrushLabels":
        return rle_to_mask(value["rle"], height, width)
    if control.tag == "BitmaskLabels":
        return data_url_to_mask(value["imageDataURL"], height, width)
    points = value["points"]
    if len(points) < 3 or not all(len(point) == 2 and all(is_number(at) for at in point) for point in points):
        raise LabelConfigError("a polygon needs three or more points of two finite numbers")
    return polygons_to_mask([points], height, width)
