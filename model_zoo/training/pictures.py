"""Folders of photographs to learn clicks from: object masks, region maps, or no labels at all.

A folder holds ``images/`` and, for some or all of them by file stem, ``masks/`` (0 background, 1 object, 255 ignored;
0 and 255 alone mean background and object) or ``regions/`` or ``ids/`` (region numbers). Beside ``ids/`` a
``segments.csv`` (name, id, isthing, iscrowd) says which numbers are objects; others are background. There 0 is
unlabelled and a crowd is many objects in one: such pixels do not count.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from model_zoo.errors import BadInput
from model_zoo.training.region_tree import RegionTree
from model_zoo.training.salience import draw_salient, salience

Bools = NDArray[np.bool_]
Labels = NDArray[np.int32]
IGNORED = 255
SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"}
LONGEST = 1024  # pixels that are kept of larger photographs
SEAM = 0.15
"""Where between this and 1 - this of a pixel's surroundings belong to a tree region, its side is in doubt: its cells
are coarser than the photograph."""
SMALLEST = 0.002  # share of the photograph below which a region is not asked for


class Regions(Protocol):
    """What may be asked for in one photograph."""

    def draw(self, rng: np.random.Generator) -> tuple[Bools, Bools]:
        """A random object and the pixels that count, each (H, W) bool."""
        ...


@dataclass(frozen=True, eq=False)
class LabelRegions:
    """Region numbers (H, W); ``objects`` may be drawn, with ``merge`` as the chance to join a neighbour.

    ignored: (H, W) bool pixels that do not count, or None. chances: of each object; None for equal ones.
    """

    labels: Labels
    objects: tuple[int, ...]
    ignored: Bools | None = None
    merge: float = 0.0
    chances: tuple[float, ...] | None = None

    def draw(self, rng: np.random.Generator) -> tuple[Bools, Bools]:
        chosen = self.labels == int(rng.choice(self.objects, p=self.chances))
        if rng.random() < self.merge:
            around = cv2.dilate(chosen.astype(np.uint8), np.ones((5, 5), dtype=np.uint8)).astype(bool)
            others = np.unique(self.labels[around & ~chosen])
            if len(others):
                chosen |= self.labels == int(rng.choice(others))
        valid = np.ones_like(chosen) if self.ignored is None else ~self.ignored
        return chosen & valid, valid


@dataclass(frozen=True, eq=False)
class TreeRegions:
    """Nodes of a region tree, drawn top-down (MIS), salient ones before others; no labels needed.

    Pixels along the region's border do not count, see SEAM.
    """

    tree: RegionTree
    height: int
    width: int
    smallest: float = 0.05

    def draw(self, rng: np.random.Generator) -> tuple[Bools, Bools]:
        soft = self._soft(draw_salient(self.tree, self._chances, rng, self.smallest))
        return np.asarray(soft > 0.5), np.asarray(np.abs(soft - 0.5) > 0.5 - SEAM)

    @cached_property
    def _chances(self) -> NDArray[np.float32]:
        return salience(self.tree)

    def region(self, node: int) -> Bools:
        """A node at the size of the photograph, (height, width), its staircase smoothed."""
        return np.asarray(self._soft(node) > 0.5)

    def _soft(self, node: int) -> NDArray[np.float32]:
        """How much of each pixel's surroundings, as large as a cell, belongs to a node: (height, width), 0 to 1."""
        cells = self.tree.mask(node).astype(np.float32)
        size = self.width, self.height
        return np.asarray(cv2.resize(cells, size, interpolation=cv2.INTER_LINEAR), dtype=np.float32)


@dataclass(frozen=True)
class Picture:
    """One photograph of a folder and where its labels lie; ``objects`` lists ids that are objects, if known, and
    ``crowds`` those that are several."""

    name: str
    image: Path
    masks: Path | None = None
    regions: Path | None = None
    objects: tuple[int, ...] | None = field(default=None)
    crowds: tuple[int, ...] = ()

    def load(self) -> NDArray[np.uint8]:
        """Upright RGB (H, W, 3), shrunk to a longer side of LONGEST; raises BadInput."""
        try:
            with Image.open(self.image) as file:
                upright = ImageOps.exif_transpose(file).convert("RGB")
        except Exception as error:  # a decoder may raise anything on a damaged file
            raise BadInput(
                f"{self.image} cannot be read as an image: {error}; remove or replace it"
            ) from error
        upright.thumbnail((LONGEST, LONGEST), Image.Resampling.LANCZOS)
        return np.array(upright)

    def labelled(self, height: int, width: int) -> Regions | None:
        """Its labelled regions at the size of the loaded photograph, or None when it has none."""
        if self.masks is not None:
            return _object_mask(_read_labels(self.masks, height, width))
        if self.regions is not None:
            labels = _read_labels(self.regions, height, width)
            return (
                _all_regions(labels) if self.objects is None else _listed(labels, self.objects, self.crowds)
            )
        return None


def _listed(labels: Labels, objects: tuple[int, ...], crowds: tuple[int, ...]) -> LabelRegions | None:
    """Objects of a list, one as likely as another."""
    counts = np.bincount(labels.ravel(), minlength=1)
    large = tuple(n for n in objects if n < len(counts) and counts[n] > SMALLEST * labels.size)
    return LabelRegions(labels, large, np.isin(labels, (0, *crowds))) if large else None


def _all_regions(labels: Labels) -> LabelRegions | None:
    """Regions of which nobody says whether they are objects: the larger the likelier."""
    counts = np.bincount(labels.ravel(), minlength=1)
    large = tuple(np.flatnonzero(counts > SMALLEST * labels.size).tolist())
    shares = np.sqrt(counts[list(large)])
    return LabelRegions(labels, large, merge=0.3, chances=tuple(shares / shares.sum())) if large else None


def _read_labels(path: Path, height: int, width: int) -> Labels:
    try:
        with Image.open(path) as file:
            labels = np.array(file)
    except Exception as error:  # as above
        raise BadInput(f"{path} cannot be read as a label image: {error}; remove or replace it") from error
    if labels.ndim != 2:
        raise BadInput(f"{path} has shape {labels.shape}; expected one channel of numbers; convert it first")
    expected = labels.shape[1] * height / width
    if abs(labels.shape[0] - expected) > 2 + 0.01 * expected:
        raise BadInput(
            f"{path} is {labels.shape[1]}x{labels.shape[0]} and its upright photograph has the ratio {width}:{height}; "
            "expected the same size; rotate or replace it"
        )
    resized = cv2.resize(labels.astype(np.float32), (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
    return np.asarray(resized, dtype=np.int32)


def _object_mask(labels: Labels) -> LabelRegions | None:
    values = set(np.unique(labels).tolist())
    if values <= {0, IGNORED}:
        labels = np.asarray(labels == IGNORED, dtype=np.int32)
    if not (labels == 1).any():
        return None
    return LabelRegions(labels, (1,), labels == IGNORED)


def list_pictures(folder: Path, excluded: Iterable[str] = ()) -> list[Picture]:
    """The photographs of a folder sorted by name, without those excluded ("images/0952.jpg", by the path's end).

    A folder without ``images/`` is taken as images alone. Raises BadInput when there are none.
    """
    if not folder.is_dir():
        raise BadInput(
            f"{folder} is no folder; expected one with images/ and perhaps masks/, regions/ or ids/"
        )
    folder = folder.resolve()
    images = folder / "images" if (folder / "images").is_dir() else folder
    skip = {tuple(Path(name).parts[-3:]) for name in excluded}
    segments = _segments(folder / "segments.csv")
    found = [
        Picture(
            path.stem,
            path,
            _beside(folder / "masks", path.stem),
            _beside(folder / "regions", path.stem) or _beside(folder / "ids", path.stem),
            *segments.get(path.stem, ()),
        )
        for path in sorted(images.iterdir())
        if path.suffix.lower() in SUFFIXES and not any(path.parts[-len(end) :] == end for end in skip)
    ]
    if not found:
        raise BadInput(f"{images} holds no images; expected files ending in {', '.join(sorted(SUFFIXES))}")
    return found


def _beside(folder: Path, stem: str) -> Path | None:
    path = folder / f"{stem}.png"
    return path if path.is_file() else None


def _segments(path: Path) -> dict[str, tuple[tuple[int, ...], tuple[int, ...]]]:
    """Image name -> numbers of its objects and of its crowds, for the images that the file lists."""
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8-sig") as stream:
        rows: Sequence[dict[str, str]] = list(csv.DictReader(stream))
    for number, row in enumerate(rows, start=2):
        if not row.get("name") or not (row.get("id") or "").isdecimal():
            raise BadInput(
                f"{path}, line {number}: got {row}; expected the columns name and id, the latter a number"
            )
    chosen: dict[str, tuple[list[int], list[int]]] = {row["name"]: ([], []) for row in rows}
    for row in rows:
        objects, crowds = chosen[row["name"]]
        if row.get("iscrowd") == "1":
            crowds.append(int(row["id"]))
        elif row.get("isthing", "1") == "1":
            objects.append(int(row["id"]))
    return {name: (tuple(objects), tuple(crowds)) for name, (objects, crowds) in chosen.items()}
