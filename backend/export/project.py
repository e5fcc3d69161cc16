"""A project's export: the image of its labelling config, its tasks, a published version, and the folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Literal

from backend.errors import ConfigProblem
from backend.export.entries import ImageEntry, image_entries
from backend.export.folder import ExportFolder
from backend.export.plan import ExportFormat, ExportPlan
from backend.export.record import Predict
from backend.export.run import Exported, export_images
from backend.learning.pseudo_labels import label_pixels
from backend.learning.versions import Versions
from backend.services import open_images, open_shared, open_studio
from backend.settings import Settings
from backend.store import Store, Version
from backend.studio import Studio
from label_config import ImageSchema, LabelConfigError, class_colours, read_schema


@dataclass(frozen=True)
class ExportRequest:
    """What is asked for. ``version``: its number, or the live one; ``image_tag``: name of the Image tag.

    ``source``: "all" is what people said, and the model's labels where there is a version.
    """

    project: int
    format: ExportFormat
    source: Literal["all", "people", "model"] = "all"
    version: int | None = None
    min_confidence: float = 0.5
    merge: bool = True
    images: bool = False
    image_tag: str | None = None


@dataclass(frozen=True)
class ExportTarget:
    """One Image tag of a project. ``colours``: RGB of its classes; ``tasks``: how many the project has."""

    project: int
    schema: ImageSchema
    colours: tuple[tuple[int, int, int], ...]
    tasks: int


def export_project(
    settings: Settings,
    request: ExportRequest,
    folder: ExportFolder,
    tell: Callable[[int, int | None], None],
) -> Exported:
    """Export as asked. tell: hears the images done and, where it is known, about how many there are.

    Raises ConfigProblem, ModelUnavailable, StudioUnavailable, StudioRefused, and BadInput for the folder.
    """
    with ExitStack() as stack:
        studio = stack.enter_context(closing(open_studio(settings)))
        target = find_target(studio, request.project, request.image_tag)
        store = stack.enter_context(closing(Store(settings.store_url)))
        version = (
            None if request.source == "people" else find_version(store, request.project, request.version)
        )
        if request.source == "model" and version is None:
            raise ConfigProblem(
                f"project {request.project} has no version yet; expected one: label some pixels and start a round"
            )
        plan = _plan(request, target, version)
        predict = open_predictor(settings, store, version, plan) if version else None
        folder.begin()
        images = stack.enter_context(closing(open_images(settings, studio)))
        return export_images(
            plan,
            project_entries(studio, target, all_tasks=version is not None),
            folder,
            lambda entry: images.get(entry.url, entry.task.id).array,
            predict,
            about={"written": _now(), "version": version_facts(version) if version else None},
            tell=lambda count: tell(count, target.tasks if version else None),
        )


def _plan(request: ExportRequest, target: ExportTarget, version: Version | None) -> ExportPlan:
    return ExportPlan(
        project=request.project,
        format=request.format,
        classes=target.schema.classes,
        colours=target.colours,
        people=request.source != "model",
        version=version.name if version else "",
        min_confidence=request.min_confidence,
        merge=request.merge,
        images=request.images,
    )


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


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
    wanted.sort(key=lambda image: image.query is None)
    if not wanted:
        asked = (
            "no image with a query or an output control" if tag is None else f"no image {tag!r} with classes"
        )
        there = ", ".join(image.name for image in able) or "none"
        raise ConfigProblem(
            f"the labelling config of project {project} has {asked} (there are: {there}); expected an Image tag with "
            'a KeyPointLabels that has a "?" label, or with BrushLabels, BitmaskLabels or PolygonLabels'
        )
    colours = class_colours(info.label_config, wanted[0].classes)
    return ExportTarget(project, wanted[0], tuple(colours), info.task_number)


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
    learner = Versions(
        store, settings.versions_folder, lambda: settings.torch_device, storage=open_shared(settings)
    ).load(version)
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
