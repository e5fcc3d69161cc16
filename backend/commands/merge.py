"""``clickpick merge``: masks that were drawn in parts become one region each, in Label Studio."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer
from rich.console import Console

from backend.commands.evaluate_output import ERR
from backend.commands.failures import expected_failures
from backend.errors import ConfigProblem
from backend.settings import Settings
from model_zoo.errors import BadInput

if TYPE_CHECKING:
    from backend.studio import Studio
    from label_config import ImageSchema

OUT = Console(emoji=False)
INTERRUPTED = "what was merged stays merged; the file of before has it"


@dataclass(frozen=True)
class _Found:
    """An annotation whose regions can be merged: its new result, and label -> (regions before, after)."""

    task: int
    annotation: int
    updated: str
    result: list[Any]
    counts: dict[str, tuple[int, int]]


def merge(
    *,
    project: Annotated[int, typer.Option(min=1, help="number of the project in Label Studio")],
    label: Annotated[
        list[str] | None, typer.Option(help="only this label; may be given several times")
    ] = None,
    apply: Annotated[
        bool, typer.Option("--apply", help="change the annotations; else they are only listed")
    ] = False,
    undo: Annotated[
        Path | None, typer.Option(help="put back what a merge has changed, from its file")
    ] = None,
) -> None:
    """Unite the regions of one label in each annotation. Lists them, and changes them with --apply.

    What people drew is kept as it was in a file of the data folder, from which --undo puts it back.
    """
    from backend.services import open_studio  # noqa: PLC0415 - each command imports what it needs

    settings = Settings()
    with expected_failures(lambda: ERR, INTERRUPTED), closing(open_studio(settings)) as studio:
        if undo is not None:
            _undo(studio, project, undo)
            return
        images = _images(studio, project, label or [])
        found = list(_find(studio, project, images, label or []))
        for one in found:
            counts = ", ".join(f"{name} {old} -> {new}" for name, (old, new) in one.counts.items())
            _say(f"task {one.task}, annotation {one.annotation}: {counts}")
        if not found:
            _say(f"project {project}: nothing to merge")
        elif apply:
            _apply(studio, project, found, settings.data / "merged")
        else:
            _say(f"{len(found)} annotations have regions to merge; with --apply they are changed")


def _images(studio: Studio, project: int, labels: list[str]) -> list[ImageSchema]:
    from label_config import LabelConfigError, read_schema  # noqa: PLC0415

    try:
        images = [
            image for image in read_schema(studio.project(project).label_config).images if image.outputs
        ]
    except LabelConfigError as error:
        raise ConfigProblem(str(error)) from error
    known = {name for image in images for control in image.outputs for name in control.labels}
    if not known:
        raise ConfigProblem(
            f"project {project} has no output control, so nobody draws masks; nothing to merge"
        )
    for name in labels:
        if name not in known:
            there = ", ".join(sorted(known))
            raise ConfigProblem(f"project {project} has no mask label {name!r}; expected one of: {there}")
    return images


def _find(studio: Studio, project: int, images: list[ImageSchema], labels: list[str]) -> Iterator[_Found]:
    """Annotations that count, of which something can be merged."""
    from label_config import latest_annotations, merge_regions  # noqa: PLC0415

    for task in studio.iter_annotated(project):
        for annotation in latest_annotations(task):
            counts: dict[str, tuple[int, int]] = {}
            result = annotation["result"]
            for image in images:
                merged = merge_regions(image, {**annotation, "result": result}, labels)
                if merged is not None:
                    result = merged.result
                    counts |= merged.counts
            if counts:
                yield _Found(int(task["id"]), int(annotation["id"]), annotation["updated_at"], result, counts)


def _apply(studio: Studio, project: int, found: list[_Found], folder: Path) -> None:
    """What there was is written down before each change, and after it when it was."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{project}-{time.strftime('%Y%m%d-%H%M%S')}.jsonl"
    done = 0
    with path.open("w", encoding="utf-8") as lines:
        for one in found:
            now = studio.annotation(one.annotation)
            if now["updated_at"] == one.updated:
                _write(lines, project=project, id=one.annotation, before=now["result"])
                changed = studio.replace_result(one.annotation, one.result)
                _write(lines, project=project, id=one.annotation, updated=changed["updated_at"])
                done += 1
    left = len(found) - done
    _say(
        f"{done} annotations merged" + (f", {left} left: somebody has changed them meanwhile" if left else "")
    )
    _say(f"as they were before: {path}")


def _write(lines: TextIO, **facts: Any) -> None:
    lines.write(json.dumps(facts) + "\n")
    lines.flush()


def _undo(studio: Studio, project: int, path: Path) -> None:
    before: dict[int, list[Any]] = {}
    updated: dict[int, str] = {}
    try:
        for line in path.read_text(encoding="utf-8").splitlines():
            facts = json.loads(line)
            if facts["project"] != project:
                raise BadInput(
                    f"{path} is of project {facts['project']}; expected --project {facts['project']}"
                )
            kept = before if "before" in facts else updated
            kept[int(facts["id"])] = facts["before" if "before" in facts else "updated"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(
            f"{path} is no file of a merge; expected one of the folder merged in the data folder"
        ) from error
    back = [number for number in before if studio.annotation(number)["updated_at"] == updated.get(number)]
    for number in back:
        studio.replace_result(number, before[number])
    others = "; the others have been changed since" if len(back) < len(before) else ""
    _say(f"{len(back)} of {len(before)} annotations are as they were{others}")


def _say(text: str) -> None:
    OUT.print(text, highlight=False, markup=False, soft_wrap=True)
