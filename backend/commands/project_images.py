"""The images of a Label Studio project as files, so that a training can read them again and again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from backend.errors import ConfigProblem, ImageProblem
from backend.learning.labelled import image_key, image_urls
from backend.services import open_images, open_studio
from backend.settings import Settings
from backend.studio.records import TaskInfo
from label_config import LabelConfigError, ProjectSchema, read_schema
from model_zoo.training.pictures import LONGEST


@dataclass(frozen=True)
class ProjectImages:
    """Files of the tasks there are now, and how many images could not be had."""

    paths: tuple[Path, ...]
    skipped: int


def fetch_project(
    settings: Settings, project: int, folder: Path, tell: Callable[[int, int], None]
) -> ProjectImages:
    """Fetch what is not in the folder yet, as PNG with a longer side of at most LONGEST; no error for bad images.

    ``tell`` hears the tasks seen and the tasks there are. Raises StudioUnavailable, StudioRefused, ConfigProblem.
    """
    studio = open_studio(settings)
    info = studio.project(project)
    try:
        schema = read_schema(info.label_config)
    except LabelConfigError as error:
        raise ConfigProblem(str(error)) from error
    folder.mkdir(parents=True, exist_ok=True)
    paths: dict[Path, None] = {}
    skipped = 0
    images = open_images(settings, studio)
    try:
        for number, task in enumerate(studio.tasks(project), start=1):
            for name, url in _named(schema, task):
                path = folder / name
                try:
                    if not path.is_file():
                        _save(images.get(url, task.id).array, path)
                except ImageProblem:
                    skipped += 1
                else:
                    paths[path] = None
            tell(number, info.task_number)
    finally:
        images.close()
    return ProjectImages(tuple(paths), skipped)


def _named(schema: ProjectSchema, task: TaskInfo) -> Iterator[tuple[str, str]]:
    """File name and address of each image of a task; another address is another file."""
    for shown in schema.images:
        for item, url in image_urls(shown, task.data):
            yield f"task-{task.id}-{image_key(url, task.id, item)[:12]}.png", url


def _save(array: NDArray[np.uint8], path: Path) -> None:
    image = Image.fromarray(array)
    image.thumbnail((LONGEST, LONGEST), Image.Resampling.LANCZOS)
    unfinished = path.with_suffix(".part")
    image.save(unfinished, "PNG")
    unfinished.replace(path)
