"""Objects as COCO's annotations have them: run lengths of columns, areas and boxes that fit them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.export.plan import ExportPlan


def coco_object(mask: NDArray[np.bool_], category: int, **facts: Any) -> dict[str, Any]:
    """One object, without its ids. mask: (H, W) with at least one pixel; category: class index."""
    rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    top, left = int(rows[0]), int(cols[0])
    return {
        "category_id": category + 1,
        "segmentation": encode(mask),
        "area": int(mask.sum()),
        "bbox": [left, top, int(cols[-1]) + 1 - left, int(rows[-1]) + 1 - top],
        "iscrowd": 0,
        **facts,
    }


def encode(mask: NDArray[np.bool_]) -> dict[str, Any]:
    """COCO's compressed run-length code of a mask (H, W): holes and parts cost nothing, no pixel is lost."""
    flat = mask.ravel(order="F")
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    starts = np.concatenate(([0], changes, [flat.size]))
    counts = np.diff(starts).tolist()
    return {"size": list(mask.shape), "counts": _packed([0, *counts] if flat[0] else counts)}


def _packed(counts: Sequence[int]) -> str:
    """The counts, from the fourth on as differences to the last but one, in digits of five bits and a sign."""
    digits = []
    for place, count in enumerate(counts):
        rest = count - counts[place - 2] if place > 2 else count
        more = True
        while more:
            digit = rest & 31
            rest >>= 5
            more = rest != (-1 if digit & 16 else 0)
            digits.append(chr(48 + digit + 32 * more))
    return "".join(digits)


def coco_file(
    plan: ExportPlan, records: Iterable[Mapping[str, Any]], kind: str, *, contributor: str
) -> dict[str, Any]:
    """The whole file of one kind of labels ("human" or "model"): numbers follow the order of the records."""
    images: list[dict[str, Any]] = []
    objects: list[dict[str, Any]] = []
    for record in records:
        if kind not in record:
            continue
        images.append(
            {
                "id": len(images) + 1,
                "file_name": record["image"] or record["url"].rpartition("/")[2] or record["name"],
                "width": record["width"],
                "height": record["height"],
                "task": record["task"],
                "page": record["page"],
            }
        )
        for found in record[kind]["objects"]:
            objects.append({"id": len(objects) + 1, "image_id": len(images), **found})
    return {
        "info": {"description": f"project {plan.project}: {kind} labels", "contributor": contributor},
        "images": images,
        "categories": [
            {"id": index + 1, "name": name, "color": list(colour)}
            for index, (name, colour) in enumerate(zip(plan.classes, plan.colours, strict=True))
        ],
        "annotations": objects,
    }
