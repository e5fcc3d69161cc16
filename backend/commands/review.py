"""``clickpick review``: labels that look wrong, as a table and as a view of the Data Manager."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from backend.commands.evaluate_output import ERR, check_outputs, progress_bar, write_json
from backend.commands.failures import expected_failures
from backend.errors import ConfigProblem, ImageProblem
from backend.settings import MEGABYTE, Settings
from backend.studio.views import MOST_TASKS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from backend.images import ImageFetcher
    from backend.learning.labelled import TaskImage
    from backend.learning.review import Review, Suspect
    from backend.studio import Studio
    from label_config import ImageSchema

TITLE = "ClickPick: review"
"""Title of the view, by which it is found again."""

PROBE = "probe-lite0"
"""Judges where the project's learner is none that trains in seconds."""

OUT = Console(emoji=False)


def review(
    *,
    project: Annotated[int, typer.Option(min=1, help="number of the project in Label Studio")],
    confidence: Annotated[
        float, typer.Option(min=0.5, max=1.0, help="list a label when the model is so sure of another class")
    ] = 0.9,
    limit: Annotated[int, typer.Option(min=1, max=MOST_TASKS, help="list at most so many labels")] = 100,
    json_file: Annotated[Path | None, typer.Option("--json", help="also write the list here")] = None,
    remove: Annotated[bool, typer.Option("--remove", help="delete the view, and review nothing")] = False,
) -> None:
    """List labels that look wrong, and show their tasks in the Data Manager's view "ClickPick: review"."""
    from backend.services import open_studio  # noqa: PLC0415 - each command imports what it needs

    settings = Settings()
    with expected_failures(lambda: ERR, "the view is as it was"), closing(open_studio(settings)) as studio:
        check_outputs(json_file, None)
        target = _query_image(studio, project)
        if remove:
            done = studio.remove_view(project, TITLE)
            _say(f'view "{TITLE}" of project {project}: {"removed" if done else "there is none"}')
            return
        found = _review(settings, studio, project, target, confidence)
        kept = found.suspects[:limit]
        view = _show(studio, project, kept)
        _tell(found, kept, confidence, f"{studio.url}/projects/{project}/data?tab={view}" if view else "")
        if json_file is not None:
            content = {
                **asdict(found),
                "project": project,
                "view": view,
                "suspects": [asdict(s) for s in kept],
            }
            write_json(json_file, content)


def _query_image(studio: Studio, project: int) -> ImageSchema:
    """The image of the project whose pixels are asked about; ConfigProblem without one."""
    from label_config import LabelConfigError, read_schema  # noqa: PLC0415

    try:
        target = read_schema(studio.project(project).label_config).pixel_image
    except LabelConfigError as error:
        raise ConfigProblem(str(error)) from error
    if target is None:
        raise ConfigProblem(
            f"the labelling config of project {project} has no query control, so it has no pixel labels to review; "
            'expected a KeyPointLabels with a "?" label'
        )
    return target


def _review(
    settings: Settings, studio: Studio, project: int, target: ImageSchema, confidence: float
) -> Review:
    from backend.learning.labelled import read_labels  # noqa: PLC0415
    from backend.learning.review import review_labels  # noqa: PLC0415
    from backend.services import open_images  # noqa: PLC0415
    from model_zoo.learners.features import FeatureCache  # noqa: PLC0415
    from model_zoo.registry import create_learner  # noqa: PLC0415

    named = target.learner or settings.learner
    with progress_bar(counted=False) as progress, closing(open_images(settings, studio)) as images:
        bar = progress.add_task("reading the labels", total=1.0)
        labelled = read_labels(target, studio.iter_annotated(project))
        learner = create_learner(named if named.startswith("probe-") else PROBE, device=settings.torch_device)
        learner.use_cache(FeatureCache(settings.features_folder, settings.feature_cache_mb * MEGABYTE))
        return review_labels(
            labelled,
            target.classes,
            _loader(images),
            learner,
            confidence=confidence,
            report=lambda done, what: progress.update(bar, completed=done, description=what),
        )


def _loader(images: ImageFetcher) -> Callable[[TaskImage], NDArray[np.uint8]]:
    def load(image: TaskImage) -> NDArray[np.uint8]:
        array = images.get(image.url, image.labels.task_id).array
        height, width = array.shape[:2]
        if (height, width) != (image.labels.height, image.labels.width):
            raise ImageProblem(
                f"its labels belong to an image of {image.labels.width}x{image.labels.height} and the image is now "
                f"{width}x{height}; label it anew"
            )
        return array

    return load


def _show(studio: Studio, project: int, suspects: tuple[Suspect, ...]) -> int | None:
    """Number of the view that shows their tasks; without suspects there is none."""
    tasks = list(dict.fromkeys(suspect.task_id for suspect in suspects))
    if tasks:
        return studio.show_tasks(project, TITLE, tasks).id
    studio.remove_view(project, TITLE)
    return None


def _tell(found: Review, kept: tuple[Suspect, ...], confidence: float, address: str) -> None:
    """The table, most suspicious first, and what is behind it."""
    for task, reason in found.unreadable:
        ERR.print(f"task {task} is left out: {reason}", highlight=False, markup=False, soft_wrap=True)
    if found.problem:
        _say(found.problem)
    if kept:
        table = Table("task", "pixel", "label", "model says", "confidence")
        for suspect in kept:
            table.add_row(*map(Text, _row(suspect)))
        OUT.print(table)
    more = len(found.suspects) - len(kept)
    _say(
        f"{found.judged} labels judged, {len(found.suspects)} to review"
        + (f" ({more} of them beyond --limit)" if more else "")
        + (f"; {found.unjudged} not judged, for want of others of their class" if found.unjudged else "")
    )
    if address:
        _say(f'their tasks are in the view "{TITLE}": {address}')
    elif not found.problem:
        _say(f"nothing is suspicious at a confidence of {confidence:g}; there is no view")


def _row(suspect: Suspect) -> tuple[str, str, str, str, str]:
    page = "" if suspect.item_index is None else f"page {suspect.item_index + 1}, "
    drawn = "drawn, at " if suspect.kind == "mask" else ""
    return (
        str(suspect.task_id),
        f"{page}{drawn}row {suspect.row}, col {suspect.col}",
        suspect.label if suspect.kind != "tie" else "(annotators disagree)",
        suspect.predicted or "-",
        f"{suspect.confidence:.2f}" if suspect.predicted else "-",
    )


def _say(text: str) -> None:
    OUT.print(text, highlight=False, markup=False, soft_wrap=True)
