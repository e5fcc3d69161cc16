"""``clickpick export``: what people and the model have said of a project's images, in a folder."""

from __future__ import annotations

from contextlib import ExitStack, closing
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console

from backend.commands.evaluate_output import ERR, progress_bar
from backend.commands.failures import expected_failures
from backend.errors import ConfigProblem
from backend.settings import Settings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from backend.export import Exported
    from backend.export.entries import ImageEntry

OUT = Console(emoji=False)
Format = Literal["png", "coco", "npz"]
Source = Literal["all", "people", "model"]


def export(
    *,
    project: Annotated[int, typer.Option(min=1, help="number of the project in Label Studio")],
    format_: Annotated[Format, typer.Option("--format", help="indexed PNG, COCO, or NumPy arrays")] = "png",
    out: Annotated[Path | None, typer.Option(help="folder [default: export-PROJECT-FORMAT]")] = None,
    source: Annotated[
        Source, typer.Option(help="what people said, what the model says of every image, or all there is")
    ] = "all",
    version: Annotated[int | None, typer.Option(min=1, help="of the model [default: the live one]")] = None,
    min_confidence: Annotated[
        float, typer.Option(min=0, max=1, help="pixels of which the model is less sure are void")
    ] = 0.5,
    merge: Annotated[
        bool, typer.Option(help="coco: all that is drawn of one label in an image is one object")
    ] = True,
    images: Annotated[bool, typer.Option("--images", help="also the images, upright, as PNG")] = False,
    image_tag: Annotated[str | None, typer.Option(help="which Image tag, where there are several")] = None,
) -> None:
    """Export masks of people and dense labels of the model, with who made them.

    The folder is replaced when all is there. Started again after a break, it goes on where it stopped.
    """
    from backend.export import ExportFolder, ExportFormat, ExportPlan, export_images  # noqa: PLC0415 - as needed
    from backend.export import project as found  # noqa: PLC0415
    from backend.services import open_images, open_studio  # noqa: PLC0415
    from backend.store import Store  # noqa: PLC0415

    settings = Settings()
    folder = ExportFolder(out or Path(f"export-{project}-{format_}"))
    kept = f"what was exported is kept in {folder.draft}; the same command goes on there"
    with expected_failures(lambda: ERR, kept), ExitStack() as stack:
        studio = stack.enter_context(closing(open_studio(settings)))
        target = found.find_target(studio, project, image_tag)
        store = stack.enter_context(closing(Store(settings.store_url)))
        model = None if source == "people" else found.find_version(store, project, version)
        if source == "model" and model is None:
            raise ConfigProblem(f"project {project} has no version yet; label some pixels and start a round")
        plan = ExportPlan(
            project=project,
            format=ExportFormat(format_),
            classes=target.schema.classes,
            colours=target.colours,
            people=source != "model",
            version=model.name if model else "",
            min_confidence=min_confidence,
            merge=merge,
            images=images,
        )
        predict = found.open_predictor(settings, store, model, plan) if model else None
        folder.begin()
        fetcher = stack.enter_context(closing(open_images(settings, studio)))
        progress = stack.enter_context(progress_bar())
        bar = progress.add_task("exporting", total=None if model is None else target.tasks)

        def load(entry: ImageEntry) -> NDArray[np.uint8]:
            return fetcher.get(entry.url, entry.task.id).array

        done = export_images(
            plan,
            found.project_entries(studio, target, all_tasks=model is not None),
            folder,
            load,
            predict,
            about={
                "written": datetime.now(timezone.utc).isoformat(timespec="seconds"),
                "version": found.version_facts(model) if model else None,
            },
            tell=lambda count: progress.update(bar, completed=count),
        )
    _tell(done, folder.target)


def _tell(done: Exported, folder: Path) -> None:
    for name, reason in done.left_out:
        text = f"{name}: {reason}"
        ERR.print(text, style="yellow", highlight=False, markup=False, soft_wrap=True)
    text = (
        f"{done.images} images ({done.human} with labels of people, {done.model} of the model) are in {folder}; "
        f"{done.kept} were there already, {len(done.left_out)} have a problem"
    )
    OUT.print(text, highlight=False, markup=False, soft_wrap=True)
