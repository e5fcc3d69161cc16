"""What the training commands learn from and start from: folders, projects, weights."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from backend.commands.project_images import fetch_project
from backend.commands.training_run import Outputs, bars
from backend.settings import Settings
from model_zoo.errors import BadInput
from model_zoo.segmenters.trainable import TRAINABLE, find_trainable
from model_zoo.training.pictures import Picture, list_pictures
from model_zoo.training.processes import first_alone
from model_zoo.training.region_tree import RegionTree
from model_zoo.training.tree_cache import Grown
from model_zoo.weights import file_digest


def sources(data: Sequence[str], exclude: Path | None, labelled: bool) -> list[tuple[Picture, float]]:
    """Photographs of all folders with their weights; each folder's sum up to its own, 1 where none is given.

    labelled: without those that have no masks or regions to learn from.
    """
    try:
        excluded = [] if exclude is None else exclude.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"--exclude {exclude} cannot be read: {error}; expected one image a line") from error
    names = [line.strip() for line in excluded if line.strip()]
    found: list[tuple[Picture, float]] = []
    for text in data:
        folder, weight = _weighted(text)
        pictures = list_pictures(folder, names)
        if labelled:
            pictures = [p for p in pictures if p.masks or (p.regions and p.objects != ())]
        if not pictures:
            raise BadInput(
                f"no image of {folder} has a mask or a region map of its name; add masks/, or leave out --no-trees"
            )
        found += [(picture, weight / len(pictures)) for picture in pictures]
    before = sum(len(list_pictures(_weighted(text)[0])) for text in data) if names else 0
    if names and not labelled and before == len(found):
        raise BadInput(
            f"none of the {len(names)} names in {exclude} is an image of the folders given; expected lines such as "
            f"{found[0][0].image.parent.parent.name}/images/{found[0][0].image.name}"
        )
    return found


def _weighted(text: str) -> tuple[Path, float]:
    """A folder and its share of the draws, of FOLDER or FOLDER=0.5."""
    folder, sign, number = text.rpartition("=")
    if not sign or Path(text).is_dir():
        return Path(text), 1.0
    try:
        weight = float(number)
    except ValueError:
        return Path(text), 1.0
    if not 0 < weight < float("inf"):
        raise BadInput(f"--data {text}: the weight is {number}; expected a number above 0")
    return Path(folder), weight


def readable(grown: Sequence[Grown]) -> dict[str, RegionTree]:
    """Trees by image path; BadInput for a photograph that cannot be read: labelled data are worth repairing."""
    for one in grown:
        if one.tree is None:
            raise BadInput(one.problem)
    return {str(one.picture.image): one.tree for one in grown if one.tree is not None}


def start_network(segmenter: str, init: str, trained_stages: int, seed: int) -> Any:
    """The network to start from: packaged weights by name, a file, or "" for the ImageNet encoder alone."""
    family = find_trainable(segmenter)
    if trained_stages and not family.staged:
        raise BadInput(f"--trained-stages is {trained_stages}; all of {segmenter} is trained; leave it out")
    if not init:
        return family.start(trained_stages, seed)
    relatives = {name: other for name, other in TRAINABLE.items() if other.read is family.read}
    if init in relatives:
        network = relatives[init].packaged()
    elif Path(init).is_file():
        network = family.read(Path(init))
    else:
        names = " or ".join(relatives)
        raise BadInput(f"--init {init} is no file; expected one that train-clicks wrote, or {names}")
    if family.staged:
        network.trained_stages = trained_stages
    return network


def init_digest(init: str) -> str:
    """What tells one start from another in a checkpoint; a file by its content."""
    return file_digest(Path(init))[:16] if Path(init).is_file() else init


def data_digest(pictures: Sequence[tuple[Picture, float]]) -> str:
    """What tells one choice of photographs from another, wherever the folders lie."""
    facts = [(picture.image.name, round(weight, 9)) for picture, weight in pictures]
    return f"{len(facts)} images {hashlib.sha256(repr(facts).encode()).hexdigest()[:12]}"


def unlabelled(images: Path | None, project: int | None, outputs: Outputs) -> tuple[list[Picture], int]:
    """Photographs of a folder or of a project of Label Studio, and how many of the latter could not be had."""
    if images is not None and project is None:
        return [Picture(found.name, found.image) for found in list_pictures(images)], 0
    if images is not None or project is None:
        raise BadInput("expected one of --images and --project; give the one that has your images")
    folder = outputs.folder / "images"
    with bars("images of the project") as (progress, bar), first_alone():
        fetched = fetch_project(
            Settings(), project, folder, lambda done, of: progress.update(bar, completed=done, total=of)
        )
    if not fetched.paths:
        raise BadInput(
            f"project {project} has no readable image ({fetched.skipped} could not be had); add tasks"
        )
    return [Picture(path.stem, path) for path in sorted(fetched.paths)], fetched.skipped
