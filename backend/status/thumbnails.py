"""A task's queries and pre-annotation drawn on its image, as a small JPEG."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor, ImageDraw

from label_config import ImageSchema
from label_config.colours import VOID_COLOUR, label_colour
from label_config.percent import is_percent
from label_config.regions import read_mask
from label_config.wire import is_result_of

LONG_SIDE = 480
"""Pixels; twice the width at which the page shows it, for screens of high density."""
OPACITY = 0.45
RING = 6.0


def draw(array: NDArray[np.uint8], schema: ImageSchema, result: Iterable[Any], item: int | None) -> bytes:
    """JPEG of an upright image (H, W, 3) with the masks and queries of one prediction; raises LabelConfigError."""
    regions = [
        region for region in result if isinstance(region, Mapping) and region.get("item_index") == item
    ]
    height, width = array.shape[:2]
    scale = min(1.0, LONG_SIDE / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = cv2.resize(array, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    for region in regions:
        mask = read_mask(schema, region)
        if mask is not None:
            share = cv2.resize(mask.mask.astype(np.float32), size, interpolation=cv2.INTER_AREA)
            colour = np.array(ImageColor.getrgb(_colour(schema, mask.label)), dtype=np.float32)
            weight = OPACITY * share[:, :, None]
            small = small * (1 - weight) + colour * weight
    picture = Image.fromarray(small.round().clip(0, 255).astype(np.uint8))
    _rings(ImageDraw.Draw(picture), schema, regions, size)
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=82, optimize=True)
    return stream.getvalue()


def count_queries(schema: ImageSchema, result: Iterable[Any]) -> int:
    """Queries in a prediction."""
    query = schema.query
    return 0 if query is None else sum(is_result_of(region, query) for region in result)


def _rings(
    canvas: ImageDraw.ImageDraw, schema: ImageSchema, regions: Iterable[Any], size: tuple[int, int]
) -> None:
    """White rings with a dark edge: seen on any image."""
    if schema.query is None:
        return
    for region in regions:
        if not is_result_of(region, schema.query):
            continue
        value = region.get("value") or {}
        x, y = value.get("x"), value.get("y")
        if is_percent(x) and is_percent(y) and x is not None and y is not None:
            centre = float(x) / 100 * size[0], float(y) / 100 * size[1]
            for radius, width, colour in ((RING + 1.5, 4, "#101418"), (RING, 2, "#ffffff")):
                canvas.circle(centre, radius, outline=colour, width=width)


def _colour(schema: ImageSchema, label: str | None) -> str:
    return label_colour(schema.classes.index(label)) if label in schema.classes else VOID_COLOUR
