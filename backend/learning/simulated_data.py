"""Data sets for simulation: a class file, a folder of images and a folder of label images, matched by file stem."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from backend.errors import ImageProblem
from backend.images.decode import UprightImage, decode
from backend.learning.simulated_annotator import VOID
from backend.learning.simulated_queries import SimulatedImage
from model_zoo.errors import BadInput

IMAGES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
LABELS = ".png"
MAX_ID = 65_535
"""Of 16-bit label images."""
UNKNOWN = 254
"""Index of an id that is neither a class nor void."""


@dataclass(frozen=True)
class ClassList:
    """The classes of a label image: ``ids[i]`` is the pixel value of class i, ``void`` those of no class."""

    names: tuple[str, ...]
    ids: tuple[int, ...]
    void: frozenset[int]

    def indices(self, labels: NDArray[np.generic]) -> NDArray[np.uint8] | None:
        """Class indices uint8 of pixel values, 255 = void; None where a value is no id at all."""
        if labels.min() < 0 or labels.max() > MAX_ID:
            return None
        table = np.full(MAX_ID + 1, UNKNOWN, dtype=np.uint8)
        table[list(self.void)] = VOID
        table[list(self.ids)] = np.arange(len(self.ids))
        indices: NDArray[np.uint8] = table[labels]
        return indices


@dataclass(frozen=True)
class Pair:
    """An image file and its label image."""

    image: Path
    labels: Path


def read_classes(path: Path, void: Collection[int] = ()) -> ClassList:
    """The classes of a file of lines ``id name``, in its order; ids in ``void`` are none, listed or not.

    Raises BadInput for a file that cannot be read, a line of another form, an id or name that comes twice, fewer
    than two classes, and void ids out of range.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(
            f"class file {path} cannot be read ({error}); expected lines such as '0 Sky'"
        ) from error
    for wrong in (value for value in void if not 0 <= value <= MAX_ID):
        raise BadInput(f"--void is {wrong}; expected the value of a label image's pixel, 0 to {MAX_ID}")
    named: dict[int, str] = {}
    for number, line in enumerate(lines, start=1):
        text = line.strip()
        if not text:
            continue
        value, _, name = text.partition(" ")
        if not (value.isascii() and value.isdigit() and int(value) <= MAX_ID and name.strip()):
            raise BadInput(
                f"{path}, line {number} is {text!r}; expected an id from 0 to {MAX_ID}, a space and a name, such as "
                "'0 Sky'"
            )
        if int(value) in named or name.strip() in named.values():
            raise BadInput(f"{path}, line {number}: id or name of {text!r} is listed above already")
        named[int(value)] = name.strip()
    kept = {value: name for value, name in named.items() if value not in void}
    if not 2 <= len(kept) < UNKNOWN:
        raise BadInput(f"{path} lists {len(kept)} classes besides void; expected 2 to {UNKNOWN - 1}")
    return ClassList(tuple(kept.values()), tuple(kept), frozenset(void))


def list_pairs(images: Path, labels: Path) -> list[Pair]:
    """The images of a folder, by name, each with the label image (.png) of the same stem in the other folder.

    Raises BadInput for a folder that is not there or has no image, for a stem that comes twice, and for a label
    image that is missing. Files of other kinds, and label images without image, are passed over.
    """
    for folder in (images, labels):
        if not folder.is_dir():
            raise BadInput(
                f"{folder} is no folder; expected one of {'images' if folder == images else 'labels'}"
            )
    files = sorted(path for path in images.iterdir() if path.suffix.lower() in IMAGES and path.is_file())
    if not files:
        raise BadInput(
            f"folder {images} has no image; expected files that end in {', '.join(sorted(IMAGES))}"
        )
    stems = [path.stem for path in files]
    if len(set(stems)) < len(stems):
        twice = next(stem for stem in stems if stems.count(stem) > 1)
        raise BadInput(
            f"folder {images} has several images of the stem {twice!r}; expected one; rename the others"
        )
    found = {path.stem: path for path in labels.iterdir() if path.suffix.lower() == LABELS}
    missing = [path.name for path in files if path.stem not in found]
    if missing:
        others = f" and {len(missing) - 1} others" if len(missing) > 1 else ""
        raise BadInput(
            f"image {missing[0]}{others} of {images} has no label image; expected {Path(missing[0]).stem}{LABELS} "
            f"in {labels}"
        )
    return [Pair(path, found[path.stem]) for path in files]


def open_pair(pair: Pair, classes: ClassList, max_pixels: int) -> SimulatedImage:
    """Read both files once to check them. BadInput if one cannot be read, on other sizes, or on unknown ids."""
    image = _image(pair.image, max_pixels)
    truth = _truth(pair, classes)
    height, width = image.array.shape[:2]
    if truth.shape != (height, width):
        raise BadInput(
            f"label image {pair.labels} is {truth.shape[1]}x{truth.shape[0]} and the upright image "
            f"{width}x{height} (width x height); expected equal sizes"
        )
    return SimulatedImage(
        name=pair.image.stem,
        key=image.digest,
        load=lambda: _image(pair.image, max_pixels).array,
        truth=partial(_truth, pair, classes),
        size=(height, width),
        class_pixels=int(np.count_nonzero(truth != VOID)),
    )


def _image(path: Path, max_pixels: int) -> UprightImage:
    try:
        return decode(path.read_bytes(), str(path), max_pixels=max_pixels)
    except (ImageProblem, OSError) as error:
        raise BadInput(str(error)) from error


def _truth(pair: Pair, classes: ClassList) -> NDArray[np.uint8]:
    """Class indices (H, W) of the label image, 255 where void."""
    try:
        with Image.open(pair.labels, formats=("PNG",)) as opened:
            labels = np.asarray(opened)
    except Exception as error:  # a decoder may raise anything on a damaged file
        raise BadInput(f"label image {pair.labels} cannot be read ({error}); expected a PNG") from error
    if labels.ndim != 2:
        raise BadInput(
            f"label image {pair.labels} has {labels.shape[-1]} channels; expected one, with class ids; save it as "
            "greyscale or palette PNG"
        )
    indices = classes.indices(labels if labels.dtype != bool else labels.astype(np.uint8))
    if indices is None or (indices == UNKNOWN).any():
        known = (*classes.ids, *classes.void)
        others = [int(value) for value in np.unique(labels) if value not in known]
        shown = ", ".join(map(str, others[:5])) + (", ..." if len(others) > 5 else "")
        raise BadInput(
            f"label image {pair.labels} has ids {shown}, which are neither classes nor void; expected those of the "
            "class file; name ids of no class with --void"
        )
    return indices
