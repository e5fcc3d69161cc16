"""Pictures whose right answer is known: textured, not too easy, the same at every run."""

from __future__ import annotations

import io
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

LAND = ("sky", "grass", "wall")
_COLOURS = np.array([(120, 170, 225), (70, 130, 60), (165, 85, 60)], dtype=np.float32)
_ORIENTATION = 0x0112
_INVERSE = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""How the upright picture is turned so that a viewer who heeds the EXIF tag turns it back."""


@dataclass(frozen=True, eq=False)
class Scene:
    """``image``: upright (H, W, 3) uint8; ``truth``: (H, W) uint8 class indices."""

    image: NDArray[np.uint8]
    truth: NDArray[np.uint8]

    def centre(self, index: int) -> tuple[int, int]:
        """The pixel of that class farthest from all others, (row, col)."""
        depth = cv2.distanceTransform(np.pad(self.truth == index, 1).astype(np.uint8), cv2.DIST_L2, 5)
        row, col = np.unravel_index(int(depth[1:-1, 1:-1].argmax()), self.truth.shape)
        return int(row), int(col)


def object_scene(height: int, width: int, seed: int = 0) -> Scene:
    """A red, asymmetric thing, class 1, off the centre of a grey-green ground."""
    truth = np.zeros((height, width), np.uint8)
    centre = (round(0.36 * width), round(0.42 * height))
    cv2.ellipse(truth, centre, (round(0.17 * width), round(0.2 * height)), 0, 0, 360, 1, -1)
    corner = (round(0.62 * width), round(0.52 * height))
    cv2.rectangle(truth, centre, corner, 1, -1)
    colours = np.array([(105, 125, 110), (200, 60, 50)], dtype=np.float32)
    return Scene(_painted(colours[truth], seed), truth)


def ring_scene(height: int, width: int, seed: int = 0) -> Scene:
    """As the object scene, but the thing is a ring: the ground shows through its hole."""
    truth = np.zeros((height, width), np.uint8)
    centre = (round(0.45 * width), round(0.5 * height))
    for share, value in ((0.36, 1), (0.16, 0)):
        cv2.ellipse(truth, centre, (round(share * width), round(share * height)), 0, 0, 360, value, -1)
    colours = np.array([(105, 125, 110), (200, 60, 50)], dtype=np.float32)
    return Scene(_painted(colours[truth], seed), truth)


def land_scene(seed: int, height: int = 240, width: int = 360) -> Scene:
    """Sky over grass with a wall in front, the classes of LAND; each seed has its own horizon and wall."""
    rng = np.random.default_rng(seed)
    truth = np.zeros((height, width), np.uint8)
    truth[round(height * rng.uniform(0.4, 0.6)) :] = 1
    left, top = rng.uniform(0.1, 0.5), rng.uniform(0.25, 0.35)
    truth[round(top * height) : round(0.85 * height), round(left * width) : round((left + 0.35) * width)] = 2
    return Scene(_painted(_COLOURS[truth], seed), truth)


def jpeg(image: NDArray[np.uint8], orientation: int | None = None) -> bytes:
    """An upright picture as a JPEG file; with ``orientation`` its pixels are turned and the EXIF tag says so."""
    stored = Image.fromarray(image)
    exif = Image.Exif()
    if orientation is not None:
        turn = _INVERSE[orientation]
        stored = stored if turn is None else stored.transpose(turn)
        exif[_ORIENTATION] = orientation
    buffer = io.BytesIO()
    stored.save(buffer, "JPEG", quality=95, subsampling=0, exif=exif)
    assert ImageOps.exif_transpose(Image.open(buffer)).size == (image.shape[1], image.shape[0])
    return buffer.getvalue()


def iou(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    return float((one & other).sum() / max(1, (one | other).sum()))


def _painted(colours: NDArray[np.float32], seed: int) -> NDArray[np.uint8]:
    rng = np.random.default_rng(seed)
    fine = rng.normal(0, 9, colours.shape)
    coarse = cv2.resize(rng.normal(0, 12, (8, 12, 3)), colours.shape[1::-1], interpolation=cv2.INTER_CUBIC)
    return np.clip(colours + fine + coarse, 0, 255).astype(np.uint8)
