"""A learner's state on disk: tensors as safetensors, the rest as JSON; nothing that could run code when read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from model_zoo.errors import BadInput

FORMAT = 1
TENSORS, DESCRIPTION = "head.safetensors", "learner.json"


@dataclass(frozen=True)
class Description:
    """What the tensors belong to. ``features``: fingerprint of the vectors that the head was trained on, or the
    recipe of the whole network."""

    learner: str
    features: str
    classes: tuple[str, ...]
    format: int = FORMAT


def write_state(
    directory: Path, description: Description, tensors: Mapping[str, torch.Tensor], file: str = TENSORS
) -> None:
    """Write into an existing directory; whether that becomes visible at once is the caller's business."""
    (directory / file).write_bytes(save({name: part.cpu().contiguous() for name, part in tensors.items()}))
    text = json.dumps(asdict(description), indent=2, ensure_ascii=False)
    (directory / DESCRIPTION).write_text(text + "\n", encoding="utf-8")


def read_state(
    directory: Path, learner: str, features: str, file: str = TENSORS
) -> tuple[tuple[str, ...], dict[str, torch.Tensor]]:
    """Classes and tensors of a state of that learner on those features; raises BadInput otherwise."""
    found = _read_description(directory / DESCRIPTION)
    for field, expected in (("format", FORMAT), ("learner", learner), ("features", features)):
        if found.get(field) != expected:
            raise BadInput(
                f"{directory} was saved with {field} {found.get(field)!r}; expected {expected!r}; "
                f"train a new version with this release"
            )
    classes = found.get("classes")
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        raise BadInput(f"{directory / DESCRIPTION} has classes {classes!r}; expected a list of names")
    try:
        return tuple(classes), load((directory / file).read_bytes())
    except (OSError, SafetensorError) as error:
        raise BadInput(f"{directory / file} cannot be read: {error}; train a new version") from error


def _read_description(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadInput(f"{path} cannot be read: {error}; train a new version") from error
    if not isinstance(found, dict):
        raise BadInput(f"{path} holds a {type(found).__name__}; expected an object")
    return found
