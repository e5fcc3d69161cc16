"""Lists of images with masks: a samples.csv with columns name, image and mask, the files relative to it.

A mask holds 0 (background), 1 (object) and 255 (ignored), or 0 and 255 alone, as many tools write masks: then 255 is
the object.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from model_zoo.errors import BadInput

IGNORE = 255
"""Value of a mask's pixels that do not count."""

COLUMNS = ("name", "image", "mask")


@dataclass(frozen=True)
class Sample:
    """One object to segment. ``name`` need not be unique; ``image`` and ``mask`` are files."""

    name: str
    image: Path
    mask: Path

    def load(self) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """The image (H, W, 3) uint8 RGB, EXIF applied, and its truth (H, W) uint8.

        The truth is 0 where background is, 1 where the object is, 255 (``IGNORE``) where nobody knows. Raises
        BadInput for a file that cannot be read, sizes that differ, other values, or a mask without object.
        """
        image = np.array(_open(self.image, "image", self.name).convert("RGB"))
        truth = np.array(_open(self.mask, "mask", self.name))
        values = self._check(image, truth)
        if values == [0, IGNORE]:
            return image, (truth == IGNORE).astype(np.uint8)
        return image, truth.astype(np.uint8)

    def _check(self, image: NDArray[np.uint8], truth: NDArray[np.generic]) -> list[int]:
        """The mask's values, in order."""
        if truth.ndim != 2:
            raise BadInput(
                f"sample {self.name!r}: mask {self.mask} has {truth.shape[-1]} channels; expected one, "
                f"with 0, 1 and {IGNORE}; save it as greyscale or palette PNG"
            )
        if truth.shape != image.shape[:2]:
            raise BadInput(
                f"sample {self.name!r}: mask {self.mask} is {truth.shape[1]}x{truth.shape[0]} and the upright image "
                f"{image.shape[1]}x{image.shape[0]} (width x height); expected equal sizes"
            )
        values = [int(value) for value in np.unique(truth)]
        others = [value for value in values if value not in (0, 1, IGNORE)]
        if others:
            shown = ", ".join(map(str, others[:5])) + (", ..." if len(others) > 5 else "")
            raise BadInput(
                f"sample {self.name!r}: mask {self.mask} has values {shown}; expected only 0 (background), "
                f"1 (object) and {IGNORE} (ignored), or 0 and {IGNORE} (object)"
            )
        if 1 not in values and values != [0, IGNORE]:
            raise BadInput(
                f"sample {self.name!r}: mask {self.mask} has no object pixel (value 1), only {values}; "
                "leave this sample out"
            )
        return values


def read_samples(path: Path) -> list[Sample]:
    """The samples of a csv file, in order; files are relative to its folder, further columns are allowed.

    Raises BadInput for a missing or unreadable file, a missing column, an empty field, a file
    that is not there, or no sample at all.
    """
    if not path.is_file():
        raise BadInput(f"{path} is no file; expected a csv file with columns {', '.join(COLUMNS)}")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, skipinitialspace=True)
            missing = [column for column in COLUMNS if column not in (reader.fieldnames or ())]
            if missing:
                raise BadInput(
                    f"{path} has columns {', '.join(reader.fieldnames or ()) or '(none)'}; "
                    f"{' and '.join(missing)} missing; its first line must name {', '.join(COLUMNS)}"
                )
            samples = [_sample(path, reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadInput(f"{path} cannot be read as csv in UTF-8: {error}") from error
    if not samples:
        raise BadInput(f"{path} lists no sample; expected at least one line after the first")
    return samples


def check_samples(samples: Sequence[Sample], checked: Callable[[], object] = lambda: None) -> None:
    """Read every image and mask once: a broken one is found before hours of measuring, not in the middle of them.

    ``checked`` is called after each. Raises BadInput as ``Sample.load`` does.
    """
    for sample in samples:
        sample.load()
        checked()


def _sample(path: Path, line: int, row: dict[str, str | None]) -> Sample:
    fields = [(row[column] or "").strip() for column in COLUMNS]
    if not all(fields):
        raise BadInput(
            f"{path}, line {line}: {COLUMNS[fields.index('')]} is empty; every line needs all three"
        )
    sample = Sample(fields[0], path.parent / fields[1], path.parent / fields[2])
    for kind, file in (("image", sample.image), ("mask", sample.mask)):
        if not file.is_file():
            raise BadInput(
                f"{path}, line {line}: there is no {kind} {file}; files are relative to the csv file's folder"
            )
    return sample


def _open(path: Path, kind: str, name: str) -> Image.Image:
    """The file's first frame, upright; BadInput, naming the sample, when there is none."""
    try:
        with Image.open(path) as opened:
            return ImageOps.exif_transpose(opened)
    except Exception as error:  # a decoder may raise anything on a damaged file
        raise BadInput(f"sample {name!r}: {kind} {path} cannot be read ({error})") from error
