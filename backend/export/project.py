"""What a project has to export: the image of its labelling config, its tasks, and a published version."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from backend.errors import ConfigProblem
from backend.export.entries import ImageEntry, image_entries
from backend.export.plan import ExportPlan
from backend.export.record import Predict
from backend.learning.pseudo_labels import label_pixels
from backend.learning.versions import Versions
from backend.settings import Settings
from backend.store import Store, Version
from backend.studio import Studio
from label_config import ImageSchema, LabelConfigError, class_colours, read_schema


@dataclass(frozen=True)
class ExportTarget:
    """One Image tag of a project. ``colours``: RGB of its classes; ``tasks``: how many the project has."""

    project: int
    schema: ImageSchema
    colours: tuple[tuple[int, int, int], ...]
    tasks: int


def find_target(studio: Studio, project: int, tag: str | None) -> ExportTarget:
    """The Image tag of that name, or else the one with queries, or else the first with an output control.

    Raises ConfigProblem where there is none.
    """
    info = studio.project(project)
    try:
        schema = read_schema(info.label_config)
    except LabelConfigError as error:
        raise ConfigProblem(str(error)) from error
    able = [image for image in schema.images if image.classes]
    wanted = [image for image in able if tag is None or image.name == tag]
    if not wanted:
        asked = (
            "no image with a query or an output control" if tag is None else f"no image {tag!r} with classes"
        )
        there = ", ".join(image.name for image in able) or "none"
        raise ConfigProblem(
            f"the labelling config of project {project} has {asked} (there are: {there}); expected an Image tag with "
            'a KeyPointLabels that has a "?" label, or with BrushLabels, BitmaskLabels or PolygonLabels'
        )
    chosen = schema.pixel_image if schema.pixel_image in wanted else wanted[0]
    assert chosen is not None  # one of wanted
    colours = class_colours(info.label_config, chosen.classes)
    return ExportTarget(project, chosen, tuple(colours), info.task_number)


def find_version(store: Store, project: int, number: int | None) -> Version | None:
    """The version of that number; without a number the live one, None where there is none. Raises ConfigProblem."""
    if number is None:
        return store.live_version(project)
    versions = store.versions(project)
    for version in versions:
        if version.number == number:
            return version
    there = ", ".join(str(version.number) for version in versions) or "none"
    raise ConfigProblem(f"project {project} has no version {number}; there are: {there}")


def version_facts(version: Version) -> dict[str, Any]:
    """What the manifest tells of a version."""
    return {
        "name": version.name, "number": version.number, "learner": version.learner, "labels": version.labels,
        "classes": list(version.classes), "created": version.created, "digest": version.digest,
        "held_out_miou": version.metrics.get("held_out_miou"),
    }  # fmt: skip


def open_predictor(settings: Settings, store: Store, version: Version, plan: ExportPlan) -> Predict:
    """Predicts with a version, as the plan wants it. Raises ModelUnavailable where it cannot be loaded."""
    learner = Versions(store, settings.versions_folder, lambda: settings.torch_device).load(version)
    return lambda image: label_pixels(learner, image, plan.classes, min_confidence=plan.min_confidence)


def project_entries(studio: Studio, target: ExportTarget, *, all_tasks: bool) -> Iterator[ImageEntry]:
    """Images of the annotated tasks, then with ``all_tasks`` of the others."""
    return image_entries(target.schema, _tasks(studio, target.project, all_tasks=all_tasks))


def _tasks(studio: Studio, project: int, *, all_tasks: bool) -> Iterator[Mapping[str, Any]]:
    seen = set()
    for task in studio.iter_annotated(project):
        seen.add(int(task["id"]))
        yield task
    for info in studio.tasks(project) if all_tasks else ():
        if info.id not in seen:
            yield {"id": info.id, "data": info.data}
