"""One export: each image's files, unless they are there already, and at last the list of all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from backend.export.coco import coco_file
from backend.export.entries import ImageEntry
from backend.export.folder import ExportFolder
from backend.export.plan import VOID, ExportFormat, ExportPlan
from backend.export.record import Facts, ImageExport, Load, Predict


@dataclass(frozen=True)
class Exported:
    """Counts of images. ``left_out``: (name, reason) of those that could not be had; what people said is there."""

    images: int
    kept: int
    human: int
    model: int
    left_out: tuple[tuple[str, str], ...]


def export_images(
    plan: ExportPlan,
    entries: Iterable[ImageEntry],
    folder: ExportFolder,
    load: Load,
    predict: Predict | None,
    *,
    about: Mapping[str, Any],
    tell: Callable[[int], None] = lambda _: None,
) -> Exported:
    """Export into a folder that has begun. load: the upright image; may raise ImageProblem.

    predict: the version of the plan; None where it has none. about: goes into the manifest as it is. tell: hears how
    many images are done.
    """
    one = ImageExport(plan, folder, load, predict)
    records: list[Facts] = []
    left_out: list[tuple[str, str]] = []
    kept = 0
    for number, entry in enumerate(entries, start=1):
        digest = plan.digest(entry.name, entry.stated)
        record = folder.reuse(entry.name, digest)
        kept += record is not None
        if record is None:
            record, problem = one.make(entry, digest)
            left_out += [(entry.name, problem)] if problem else []
        if record is not None:
            records.append(record)
        tell(number)
    if plan.format is ExportFormat.COCO:
        for kind in ("human", "model"):
            if any(kind in record for record in records):
                content = coco_file(plan, records, kind, contributor=_contributor(plan, kind))
                folder.write_json(f"{kind}.json", content)
    folder.finish({**about, **_listed(plan, records, left_out)})
    human, model = (sum(kind in record for record in records) for kind in ("human", "model"))
    return Exported(len(records), kept, human, model, tuple(left_out))


def _contributor(plan: ExportPlan, kind: str) -> str:
    return plan.version if kind == "model" else "people"


def _listed(plan: ExportPlan, records: Iterable[Facts], left_out: Iterable[tuple[str, str]]) -> Facts:
    named = zip(plan.classes, plan.colours, strict=True)
    return {
        "project": plan.project,
        "format": plan.format.value,
        "void": VOID,
        "classes": [
            {"index": index, "name": name, "colour": "#{:02x}{:02x}{:02x}".format(*colour)}
            for index, (name, colour) in enumerate(named)
        ],
        "min_confidence": plan.min_confidence if plan.version else None,
        "merged": plan.merge if plan.format is ExportFormat.COCO else None,
        "images": [record["name"] for record in records],
        "left_out": [{"name": name, "reason": reason} for name, reason in left_out],
    }
