"""Photographs to try the tool on: the user's own, or some that ship inside scikit-image and scikit-learn."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path

from PIL import Image

from backend.errors import ConfigProblem

SUFFIXES = frozenset((".bmp", ".jpeg", ".jpg", ".png", ".webp"))
"""What a browser shows."""

_QUALITY = 92
_PACKAGED = {
    "cat": ("skimage.data", "chelsea.png"),
    "coffee": ("skimage.data", "coffee.png"),
    "astronaut": ("skimage.data", "astronaut.png"),
    "motorcycle": ("skimage.data", "motorcycle_left.png"),
    "rocket": ("skimage.data", "rocket.jpg"),
    "temple": ("sklearn.datasets.images", "china.jpg"),
    "flower": ("sklearn.datasets.images", "flower.jpg"),
}
_CROPS = {
    "astronaut-shuttle": ("astronaut", (0.0, 0.62, 0.66, 1.0)),
    "motorcycle-wheel": ("motorcycle", (0.3, 0.0, 1.0, 0.5)),
    "temple-roof": ("temple", (0.1, 0.3, 0.75, 1.0)),
}
"""Top, left, bottom and right in parts of the photograph."""


@dataclass(frozen=True)
class Photo:
    """``name`` is safe in an address and stays the same from run to run."""

    name: str
    path: Path


def find_photos(folder: Path) -> list[Photo]:
    """The images in a user's folder and its sub-folders; ConfigProblem when there are none."""
    if not folder.is_dir():
        raise ConfigProblem(f"{folder} is no folder; give one that holds photographs")
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    if not paths:
        raise ConfigProblem(
            f"{folder} holds no photographs; expected files that end in {', '.join(sorted(SUFFIXES))}"
        )
    return [Photo(_safe_name(path.relative_to(folder)), path) for path in paths]


def packaged_photos(folder: Path) -> list[Photo]:
    """Writes the packages' photographs, and crops of them, as JPEG files into ``folder``; what is there stays."""
    folder.mkdir(parents=True, exist_ok=True)
    photos = []
    for name, image in _packaged():
        path = folder / f"{name}.jpg"
        if not path.exists():
            image.convert("RGB").save(path, "JPEG", quality=_QUALITY)
        photos.append(Photo(path.name, path))
    if not photos:
        raise ConfigProblem(
            "scikit-image and scikit-learn are installed without their photographs; give a folder of your own"
        )
    return photos


def _packaged() -> Iterator[tuple[str, Image.Image]]:
    found: dict[str, Image.Image] = {}
    for name, (package, file) in _PACKAGED.items():
        source = files(package) / file
        if source.is_file():
            with as_file(source) as path, Image.open(path) as image:
                found[name] = image.convert("RGB")
            yield name, found[name]
    for name, (whole, (top, left, bottom, right)) in _CROPS.items():
        if whole in found:
            width, height = found[whole].size
            box = (round(left * width), round(top * height), round(right * width), round(bottom * height))
            yield name, found[whole].crop(box)


def _safe_name(path: Path) -> str:
    """Sub-folders become part of the name; a name that had to be changed gets a digest, so that it stays unique."""
    text = path.as_posix()
    safe = re.sub(r"[^A-Za-z0-9.]+", "_", text).strip("_")
    if safe == text:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    return f"{digest}_{safe[-80:]}"
