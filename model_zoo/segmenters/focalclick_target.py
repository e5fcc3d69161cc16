"""What a click on FocalClick leaves to the next, and the target crop that the next looks at.

Chen et al., FocalClick, CVPR 2022, section 3.1; the crop is chosen anew at every click.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from model_zoo.segmenters.focalclick_loop import Bools
from model_zoo.segmenters.predictor_maps import Floats, object_window
from model_zoo.segmenters.zoom_in import Region, whole

Pixel = tuple[int, int, bool]  # row, column, positive: a click at the index of its pixel
SURE = 0.49  # probability from which a pixel belongs to the earlier mask
EXPANSION, SMALLEST = 1.4, 10  # of the crop: share of the object's box; pixels


@dataclass(frozen=True, eq=False)
class FocalClickState:
    """What one click leaves to the next.

    probability: (H, W) float32. target: the target crop, None for the whole image. merged: (H, W), the mask that was
    shown where one was started from, else None.
    """

    probability: Floats
    target: Region | None = None
    merged: Bools | None = None

    @property
    def nbytes(self) -> int:
        return self.probability.nbytes + (0 if self.merged is None else self.merged.nbytes)


@dataclass(frozen=True)
class View:
    """seen: what the network is shown. target: the target crop, None for the whole image. pasted: where answers go."""

    seen: Region
    target: Region | None
    pasted: Region


def choose_view(
    before: FocalClickState | None, points: Sequence[Pixel], shape: tuple[int, int], *, paste_always: bool
) -> View:
    """The object as it was shown and its positive clicks, with room around; the whole image where none was.

    shape: the image's height and width. paste_always: in the latter case, the answer goes into the former crop.
    """
    everything = whole(shape)
    if before is None:
        return View(everything, None, everything)
    found = object_window(
        before.probability if before.merged is None else before.merged,
        [(row, col) for row, col, positive in points if positive],
        threshold=SURE,
        expansion=EXPANSION,
        smallest=SMALLEST,
    )
    if found is not None:
        return View(found, found, found)
    kept = before.target if paste_always else None
    return View(everything, kept, kept or everything)
