"""Masks <-> the forms in which Label Studio keeps them: brush RLE, RGBA bitmask, polygons.

A mask is a bool array (H, W) of the upright image.
"""

from __future__ import annotations

import base64
import binascii
import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from label_config import rle as rle_code
from label_config.errors import LabelConfigError
from label_config.polygons import mask_to_polygons, polygons_to_mask

__all__ = [
    "data_url_to_mask",
    "mask_to_data_url",
    "mask_to_polygons",
    "mask_to_rle",
    "polygons_to_mask",
    "rle_to_mask",
]

_PREFIX = "data:image/png;base64,"
_HALF = 128
"""A pixel belongs to a drawn region when at least half of it was covered: brush strokes have soft edges."""


def mask_to_rle(mask: NDArray[np.bool_]) -> list[int]:
    """Brush RLE of an image that is white and opaque in the mask, black and transparent elsewhere."""
    flat = np.ascontiguousarray(mask).ravel()
    starts = np.concatenate(([0], np.flatnonzero(flat[1:] != flat[:-1]) + 1))
    lengths = np.diff(np.append(starts, flat.size)) * 4
    return rle_code.encode_runs(lengths, flat[starts].astype(np.int64) * 255)


def rle_to_mask(rle: Sequence[int], height: int, width: int) -> NDArray[np.bool_]:
    """Mask (height, width) of a brush RLE, by its alpha channel; LabelConfigError when it does not fit."""
    values = rle_code.decode(rle, height * width * 4)
    return values[3::4].reshape(height, width) >= _HALF


def mask_to_data_url(mask: NDArray[np.bool_]) -> str:
    """PNG data URL: white and opaque in the mask, transparent elsewhere (Label Studio draws by alpha).

    One bit a pixel with a palette of two RGBA colours: the browser's canvas sees RGBA all the same.
    """
    buffer = io.BytesIO()
    image = Image.fromarray(np.asarray(mask, np.uint8))
    image.putpalette([0, 0, 0, 255, 255, 255])
    image.save(buffer, "PNG", bits=1, transparency=b"\x00\xff")
    return _PREFIX + base64.b64encode(buffer.getvalue()).decode()


def data_url_to_mask(url: str, height: int, width: int) -> NDArray[np.bool_]:
    """Mask (height, width) of a PNG data URL, by its alpha channel; LabelConfigError when it does not fit."""
    image = _open_png(url)
    if image.size != (width, height):
        raise LabelConfigError(
            f"bitmask is {image.size[0]}x{image.size[1]}; the image is {width}x{height}; both must have one size"
        )
    try:
        return np.asarray(image.convert("RGBA"))[:, :, 3] >= _HALF
    except (OSError, SyntaxError, ValueError) as error:
        raise LabelConfigError("bitmask PNG is cut off or broken; send the region again") from error


def data_url_size(url: str) -> tuple[int, int]:
    """(height, width) of the PNG in a data URL, without decoding its pixels; LabelConfigError when it is none."""
    width, height = _open_png(url).size
    return height, width


def _open_png(url: str) -> Image.Image:
    if not isinstance(url, str) or not url.startswith(_PREFIX):
        raise LabelConfigError(f"bitmask begins with {str(url)[:30]!r}; expected {_PREFIX!r} and a PNG")
    try:
        content = base64.b64decode(url[len(_PREFIX) :], validate=True)
        return Image.open(io.BytesIO(content), formats=["PNG"])
    except (binascii.Error, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise LabelConfigError("bitmask holds no readable PNG; send the region again") from error
