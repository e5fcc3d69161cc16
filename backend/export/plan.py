"""What is exported, and in which form."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any

VOID = 255
"""Of a pixel without a label: nobody drew there, annotators disagree, nobody can tell, or the model is unsure."""

LAYOUT = 1
"""Number of the layout of files and JSON; a change of it makes everything anew."""


class ExportFormat(str, Enum):
    """``--format``."""

    PNG = "png"
    COCO = "coco"
    NPZ = "npz"


@dataclass(frozen=True)
class ExportPlan:
    """``classes``: names in the order of their indices; ``colours``: RGB of each.

    ``version``: name of the version whose labels are exported too, "" for none. ``merge``: what is drawn of one label
    in an image is one object. ``images``: the upright images too. ``people``: what people said too.
    """

    project: int
    format: ExportFormat
    classes: tuple[str, ...]
    colours: tuple[tuple[int, int, int], ...]
    people: bool = True
    version: str = ""
    min_confidence: float = 0.5
    merge: bool = True
    images: bool = False

    def digest(self, *facts: Any) -> str:
        """Of all that decides what an image's files hold: equal digests mean equal files."""
        text = json.dumps([LAYOUT, asdict(self), facts], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()
