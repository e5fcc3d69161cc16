"""What polygons keep of a mask, and with how many points: masks of data sets, as polygons and back.

``--masks NAME=FOLDER`` (any number): PNGs of one object (0 and 1, or 0 and 255; where there is a 1, 255 is ignored), or
with ``--classes`` of class indices, each class being a mask. One JSON line a data set and tolerance: points of a
polygon, the share of polygons with more than 99, IoU of the polygons with the mask, and how far the largest part's
outline turns in all (360 degrees when it is convex).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.common import report
from label_config import mask_to_polygons, polygons_to_mask

VOID = 11


def masks(folder: Path, every: int, *, classes: bool) -> Iterator[NDArray[np.bool_]]:
    for path in sorted(folder.rglob("*.png"))[::every]:
        values = np.asarray(Image.open(path))
        if classes:
            yield from (values == index for index in np.unique(values) if index < VOID)
        else:
            mask = values == 1 if (values == 1).any() else values == 255
            if mask.any():
                yield mask


def turning(polygon: list[list[float]], height: int, width: int) -> float:
    sides = np.diff(np.array([*polygon, polygon[0]]) * [width / 100, height / 100], axis=0)
    angles = np.arctan2(sides[:, 1], sides[:, 0])
    turns = (np.diff(np.append(angles, angles[0])) + np.pi) % (2 * np.pi) - np.pi
    return float(np.degrees(np.abs(turns).sum()))


def measure(name: str, found: list[NDArray[np.bool_]], tolerance: float) -> None:
    points: list[int] = []
    likeness: list[float] = []
    turns: list[float] = []
    seconds: list[float] = []
    for mask in found:
        since = time.perf_counter()
        polygons = mask_to_polygons(mask, tolerance=tolerance)
        seconds.append(time.perf_counter() - since)
        again = polygons_to_mask(polygons, *mask.shape)
        points += map(len, polygons)
        likeness.append(float((again & mask).sum() / (again | mask).sum()))
        turns.append(turning(polygons[0], *mask.shape))
    report(
        "polygons",
        data=name,
        tolerance=tolerance,
        masks=len(found),
        polygons=len(points),
        points_median=float(np.median(points)),
        points_p90=float(np.percentile(points, 90)),
        over_99=round(float(np.mean(np.array(points) > 99)), 4),
        iou_median=round(float(np.median(likeness)), 4),
        iou_p5=round(float(np.percentile(likeness, 5)), 4),
        turning_median=round(float(np.median(turns))),
        ms_median=round(1000 * float(np.median(seconds)), 1),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--masks", action="append", default=[], metavar="NAME=FOLDER")
    parser.add_argument("--classes", action="append", default=[], metavar="NAME=FOLDER")
    parser.add_argument("--tolerance", type=float, nargs="+", default=[0.5, 1.0, 2.0])
    parser.add_argument("--every", type=int, default=1, help="take each so-manieth file")
    options = parser.parse_args()
    for classes, given in ((False, options.masks), (True, options.classes)):
        for name, _, folder in (text.partition("=") for text in given):
            found = list(masks(Path(folder), options.every, classes=classes))
            for tolerance in options.tolerance:
                measure(name, found, tolerance)


if __name__ == "__main__":
    main()
