"""Regions of one label in an annotation -> one region, where a person made them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from label_config.annotations import page_of, regions_by_person
from label_config.errors import LabelConfigError
from label_config.regions import mask_values, read_mask
from label_config.schema import Control, ImageSchema
from label_config.wire import is_result_of

_ENDS = ("from_id", "to_id")
_Place = tuple[str, str, "int | None", tuple[int, ...]]
"""Control, label, page and size: regions that may become one."""


@dataclass(frozen=True, eq=False)
class _Member:
    region: Mapping[str, Any]
    mask: NDArray[np.bool_]


@dataclass(frozen=True)
class MergedRegions:
    """``result``: the annotation's new result; ``counts``: label -> (regions before, after), where they are fewer."""

    result: list[Any]
    counts: Mapping[str, tuple[int, int]]


def merge_regions(
    image: ImageSchema, annotation: Mapping[str, Any], labels: Sequence[str] = ()
) -> MergedRegions | None:
    """The annotation with the masks of each label united; None where there is nothing to unite.

    labels: only these; all when it is empty. Left as they are: what no person made, what cannot be read, regions that
    carry anything else (relations, choices, texts), and polygons that do not touch, since a polygon is one part. A
    united region has the id and the place of the first of its parts.
    """
    result = list(annotation.get("result") or ())
    counts: dict[str, tuple[int, int]] = {}
    for (name, label, _, _), members in _groups(image, annotation, labels).items():
        control = next(control for control in image.outputs if control.name == name)
        before, after = counts.get(label, (0, 0))
        counts[label] = (before + len(members), after + len(members))
        for cluster in _clusters(control, members):
            values = mask_values(control, np.any([member.mask for member in cluster], axis=0))
            if len(values) < len(cluster):
                result = _replaced(result, control, cluster, values)
                before, after = counts[label]
                counts[label] = (before, after - len(cluster) + len(values))
    fewer = {label: (before, after) for label, (before, after) in counts.items() if after < before}
    return MergedRegions(result, fewer) if fewer else None


def _groups(
    image: ImageSchema, annotation: Mapping[str, Any], labels: Sequence[str]
) -> dict[_Place, list[_Member]]:
    groups: dict[_Place, list[_Member]] = defaultdict(list)
    bound = _bound(image, annotation.get("result") or ())
    for region in regions_by_person(annotation):
        try:
            found = read_mask(image, region)
            if found is None or found.label is None or found.region_id in bound:
                continue
            if not labels or found.label in labels:
                place = (str(region["from_name"]), found.label, page_of(image, region), found.mask.shape)
                groups[place].append(_Member(region, found.mask))
        except (LabelConfigError, TypeError):
            continue
    return groups


def _bound(image: ImageSchema, result: Iterable[Any]) -> set[str]:
    """Ids of regions that something else refers to; the twin of a mask under the click control is nothing else."""
    masks = [control for control in (*image.outputs, image.click, image.box) if control is not None]
    bound: set[str] = set()
    for region in result:
        if not isinstance(region, Mapping):
            continue
        bound.update(str(region[end]) for end in _ENDS if end in region)
        if not any(is_result_of(region, control) for control in masks):
            bound.add(str(region.get("id")))
    return bound


def _clusters(control: Control, members: Sequence[_Member]) -> list[list[_Member]]:
    """Which members become one: all of them; of polygons those that touch, by the part their first pixel is in."""
    if control.tag != "PolygonLabels":
        return [list(members)]
    union = np.any([member.mask for member in members], axis=0)
    _, parts = cv2.connectedComponents(union.astype(np.uint8), connectivity=8)
    clusters: dict[int, list[_Member]] = defaultdict(list)
    for member in members:
        if member.mask.any():
            clusters[int(parts.flat[member.mask.argmax()])].append(member)
    return list(clusters.values())


def _replaced(
    result: Sequence[Any], control: Control, cluster: Sequence[_Member], values: Sequence[Mapping[str, Any]]
) -> list[Any]:
    """The result with ``values`` in the place of the first members of a cluster, and without the others."""
    fresh = {
        id(member.region): {
            **member.region,
            "value": {**value, control.type: member.region["value"][control.type]},
            "origin": "manual",
        }
        for member, value in zip(cluster, values, strict=False)
    }
    gone = {str(member.region.get("id")) for member in cluster}
    kept = []
    for region in result:
        if id(region) in fresh:
            kept.append(fresh[id(region)])
        elif not isinstance(region, Mapping) or str(region.get("id")) not in gone:
            kept.append(region)
    return kept
