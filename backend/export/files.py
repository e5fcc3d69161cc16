"""Masks as the bytes of files: indexed PNG, and npz."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor

from backend.export.plan import VOID, ExportPlan
from label_config.colours import VOID_COLOUR


def indexed_png(classes: NDArray[np.uint8], plan: ExportPlan) -> bytes:
    """A palette PNG whose values are the class indices (H, W) and whose colours are those of the project."""
    palette = np.zeros((256, 3), np.uint8)
    palette[: len(plan.colours)] = np.array(plan.colours, np.uint8).reshape(-1, 3)
    palette[VOID] = ImageColor.getrgb(VOID_COLOUR)[:3]
    image = Image.fromarray(classes)
    image.putpalette(palette.ravel().tolist())
    return _png(image)


def grey_png(confidence: NDArray[np.float32]) -> bytes:
    """An 8-bit PNG: 0 to 255 for a confidence (H, W) of 0 to 1."""
    return _png(Image.fromarray(np.round(confidence * 255).astype(np.uint8)))


def colour_png(image: NDArray[np.uint8]) -> bytes:
    """The image (H, W, 3)."""
    return _png(Image.fromarray(image))


def npz(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Compressed, without pickles."""
    stream = io.BytesIO()
    np.savez_compressed(stream, **cast(Any, arrays))
    return stream.getvalue()


def _png(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()
