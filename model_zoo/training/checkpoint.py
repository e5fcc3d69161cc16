"""Checkpoints of a training: written whole or not at all, read without unpickling anything but tensors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from model_zoo.errors import BadInput


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write tensors and plain values; the earlier file stays until the new one is complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".part")
    torch.save(state, temporary)
    temporary.replace(path)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """What ``save_checkpoint`` wrote, on the CPU; raises BadInput for anything else."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, UnpicklingError) as error:
        raise BadInput(f"checkpoint {path} cannot be read: {error}; delete it to start afresh") from error
    if not isinstance(state, dict):
        raise BadInput(f"checkpoint {path} holds no training state; delete it to start afresh")
    return state


def check_settings(path: Path, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Raise BadInput, naming each difference, unless a checkpoint was made with the settings of this training."""
    differences = [
        f"{name} was {found.get(name)!r} and is {wanted.get(name)!r}"
        for name in sorted(found.keys() | wanted.keys())
        if found.get(name) != wanted.get(name)
    ]
    if differences:
        raise BadInput(
            f"checkpoint {path} belongs to other settings: {'; '.join(differences)}; run the earlier command again, "
            "or write to another folder"
        )
