"""Bytes of an image file to an upright RGB array."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from backend.errors import ImageProblem

FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF", "ICO")
"""Raster formats only: Pillow hands others, such as EPS, to outside programs."""


@dataclass(frozen=True, eq=False)
class UprightImage:
    """``array``: (H, W, 3) uint8 RGB, read-only, EXIF applied. ``digest``: hex SHA-256 of the file's bytes."""

    array: NDArray[np.uint8]
    digest: str


def decode(content: bytes, shown: str, *, max_pixels: int) -> UprightImage:
    """The first frame, upright; transparency over white. ImageProblem, naming ``shown``, for anything else."""
    if not content:
        raise ImageProblem(f"image at {shown} is empty (0 bytes); upload it again")
    try:
        with Image.open(io.BytesIO(content), formats=_formats()) as image:
            width, height = image.size
            if width * height > max_pixels:
                raise ImageProblem(
                    f"image at {shown} has {width}x{height} pixels, over the limit of {max_pixels}; make it smaller or "
                    "raise CLICKPICK_MAX_IMAGE_PIXELS"
                )
            if width * height == 0:
                raise ImageProblem(f"image at {shown} has {width}x{height} pixels; expected at least one")
            _check_tile(image, shown, max_pixels)
            array = _upright_rgb(image)
    except UnidentifiedImageError as error:
        raise ImageProblem(f"image at {shown} is {_kind(content)}; expected JPEG, PNG or WebP") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        message = f"image at {shown} has far more pixels than the limit of {max_pixels}; make it smaller"
        raise ImageProblem(message) from error
    except ImageProblem:
        raise
    except Exception as error:  # a decoder may raise anything on a damaged file
        message = f"image at {shown} is damaged or truncated ({error}); upload it again"
        raise ImageProblem(message) from error
    array.setflags(write=False)
    return UprightImage(array, hashlib.sha256(content).hexdigest())


def _check_tile(image: Image.Image, shown: str, max_pixels: int) -> None:
    """A tile of a TIFF is decoded as a whole, however small the image is."""
    tags = getattr(image, "tag_v2", None) or {}
    width, height = (tags.get(tag) for tag in (322, 323))
    if isinstance(width, int) and isinstance(height, int) and width * height > max_pixels:
        raise ImageProblem(
            f"image at {shown} has tiles of {width}x{height} pixels, over the limit of {max_pixels}; save it without "
            "tiles or with small ones"
        )


def _upright_rgb(image: Image.Image) -> NDArray[np.uint8]:
    # Browsers ignore an orientation in XMP; Pillow would fall back to it, and the masks would not line up.
    for key in ("xmp", "XML:com.adobe.xmp"):
        image.info.pop(key, None)
    image.load()
    try:
        upright = ImageOps.exif_transpose(image)
    except Exception:  # unreadable EXIF; browsers show such an image as it is stored
        upright = image
    if upright.mode == "I" or upright.mode.startswith("I;16"):
        upright = Image.fromarray((np.clip(np.asarray(upright), 0, 65535) >> 8).astype(np.uint8))
    elif upright.mode == "F":
        upright = Image.fromarray(_stretched(np.asarray(upright)))
    if upright.has_transparency_data:
        over = Image.new("RGBA", upright.size, "white")
        over.alpha_composite(upright.convert("RGBA"))
        upright = over
    return np.array(upright.convert("RGB"))


def _stretched(values: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Floats of unknown range to 0..255, the least to 0 and the largest to 255."""
    finite = np.nan_to_num(values.astype(np.float64))
    span = float(np.ptp(finite)) or 1.0
    stretched: NDArray[np.uint8] = ((finite - finite.min()) / span * 255).round().astype(np.uint8)
    return stretched


def _kind(content: bytes) -> str:
    """What a file that is no raster image looks like."""
    start = content[:1024].lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return "a web page (perhaps a login page)"
    if b"<svg" in start:
        return "an SVG drawing, which has no pixels of its own"
    if start.startswith(b"%pdf"):
        return "a PDF document"
    if start.startswith((b"{", b"[")):
        return "JSON"
    return "no image that can be read"


@lru_cache(maxsize=1)
def _formats() -> tuple[str, ...]:
    """Those of FORMATS that this Pillow was built with."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)
