"""``clickpick precompute``: a project's images encoded before anybody clicks, for segmenters that take seconds each."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from backend.commands.evaluate_output import ERR, progress_bar
from backend.commands.failures import expected_failures
from backend.errors import ConfigProblem, ImageProblem
from backend.settings import MEGABYTE, Settings

if TYPE_CHECKING:
    from backend.embeddings import Decoder
    from backend.images import ImageFetcher
    from backend.precomputed import EmbeddingFiles
    from backend.studio import ProjectInfo, Studio
    from label_config import ProjectSchema

OUT = Console(emoji=False)
FAMILY = "sam-*, sam-hq-*, slimsam-*, mobile-sam, sam2.1-* and edge-tam"
INTERRUPTED = "what was encoded is kept; the same command goes on there"


def precompute(
    *,
    project: Annotated[int, typer.Option(min=1, help="number of the project in Label Studio")],
    segmenter: Annotated[
        str | None, typer.Option(help="encode for this one [default: the project's own]")
    ] = None,
) -> None:
    """Encode a project's images to the disk, so that the first click on each is as quick as all others.

    Tasks without annotations come first. What is there already is not encoded again, and a running server finds the
    files at once.
    """
    from backend.embeddings import Decoder  # noqa: PLC0415 - each command imports what it needs
    from backend.precomputed import EmbeddingFiles  # noqa: PLC0415
    from backend.services import open_images, open_shared, open_studio  # noqa: PLC0415
    from label_config import LabelConfigError, read_schema  # noqa: PLC0415
    from model_zoo.weights import WeightSource  # noqa: PLC0415

    settings = Settings()
    files = EmbeddingFiles(
        settings.embeddings_folder, settings.precomputed_mb * MEGABYTE, open_shared(settings)
    )
    decoder = Decoder(
        lambda: settings.torch_device, 1, settings.segmenter, source=WeightSource(settings.weights_folder)
    )
    with expected_failures(lambda: ERR, INTERRUPTED), closing(open_studio(settings)) as studio:
        info = studio.project(project)
        try:
            schema = read_schema(info.label_config)
        except LabelConfigError as error:
            raise ConfigProblem(str(error)) from error
        names = _names(schema, segmenter, settings.segmenter)
        for name in sorted(set(names.values())):
            _check(decoder, name)
        with closing(open_images(settings, studio)) as images:
            _encode_all(_images(schema, names, studio, info), decoder, files, images)


def _names(schema: ProjectSchema, wanted: str | None, default: str) -> dict[str, str]:
    """Segmenter by the name of the Image tag; raises ConfigProblem where nothing is clicked."""
    names = {image.name: wanted or image.segmenter or default for image in schema.click_images}
    if not names:
        raise ConfigProblem("the labelling config has no smart control, so nobody clicks; nothing to encode")
    return names


def _check(decoder: Decoder, name: str) -> None:
    from model_zoo.registry import public_name  # noqa: PLC0415 - imports the models

    if not decoder.segmenter(name).storable:
        raise ConfigProblem(
            f"segmenter {public_name(name)!r} keeps no embeddings on the disk, because reading them would hardly be "
            f"quicker than encoding the image; those that do are {FAMILY}"
        )


def _images(
    schema: ProjectSchema, names: dict[str, str], studio: Studio, project: ProjectInfo
) -> Iterator[tuple[float, str, int, str]]:
    """(share of the tasks that have been listed, segmenter, task, address); a million tasks are never held at once."""
    from backend.learning.labelled import image_urls  # noqa: PLC0415

    listed = 0
    for labelled in (False, True):
        for task in studio.tasks(project.id):
            if task.is_labeled != labelled:
                continue
            listed += 1
            for image in schema.click_images:
                for _, url in image_urls(image, task.data):
                    yield min(1.0, listed / project.task_number), names[image.name], task.id, url


def _encode_all(
    found: Iterator[tuple[float, str, int, str]],
    decoder: Decoder,
    files: EmbeddingFiles,
    images: ImageFetcher,
) -> None:
    made = kept = left_out = 0
    since = time.time()
    with progress_bar(counted=False) as progress:
        bar = progress.add_task("encoding", total=1.0)
        for share, name, task, url in found:
            segmenter = decoder.segmenter(name)
            try:
                image = images.get(url, task)
            except ImageProblem as problem:
                ERR.print(
                    f"task {task} is left out: {problem}", style="yellow", highlight=False, markup=False
                )
                left_out += 1
            else:
                # What is read counts as used, so that it makes no room for others.
                if files.read(segmenter, image) is None:
                    files.write(segmenter, image, decoder.embed(name, image), since=since)
                    made += 1
                else:
                    kept += 1
            progress.update(bar, completed=share)
    OUT.print(f"{made} images encoded, {kept} were there already, {left_out} left out", highlight=False)
