"""``clickpick export``: what people and the model have said of a project's images, in a folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console

from backend.commands.evaluate_output import ERR, progress_bar
from backend.commands.failures import expected_failures
from backend.settings import Settings

if TYPE_CHECKING:
    from backend.export import Exported

OUT = Console(emoji=False)
Format = Literal["png", "coco", "npz"]
Source = Literal["all", "people", "model"]


def export(
    *,
    project: Annotated[int, typer.Option(min=1, help="number of the project in Label Studio")],
    format_: Annotated[Format, typer.Option("--format", help="indexed PNG, COCO, or NumPy arrays")] = "png",
    out: Annotated[Path | None, typer.Option(help="folder (default: export-PROJECT-FORMAT)")] = None,
    source: Annotated[
        Source, typer.Option(help="what people said, what the model says of every image, or all there is")
    ] = "all",
    version: Annotated[int | None, typer.Option(min=1, help="of the model (default: the live one)")] = None,
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
    from backend.export import ExportFolder, ExportFormat, ExportRequest, export_project  # noqa: PLC0415 - as needed

    request = ExportRequest(
        project=project,
        format=ExportFormat(format_),
        source=source,
        version=version,
        min_confidence=min_confidence,
        merge=merge,
        images=images,
        image_tag=image_tag,
    )
    folder = ExportFolder(out or Path(f"export-{project}-{format_}"))
    kept = f"what was exported is kept in {folder.draft}; the same command goes on there"
    with expected_failures(lambda: ERR, kept), progress_bar() as progress:
        bar = progress.add_task("exporting", total=None)
        done = export_project(
            Settings(),
            request,
            folder,
            lambda count, total: progress.update(bar, completed=count, total=total),
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
