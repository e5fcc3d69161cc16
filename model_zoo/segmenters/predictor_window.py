"""Where a click predictor looks, and what it saw: zoom-in as RITM evaluates it, the limit of the longest side.

Sofiiuk et al., f-BRS (2001.10331), section 3.3; compared with github.com/SamsungLabs/ritm_interactive_segmentation
(commit b9b4460, MIT licence), written from a description. Deliberate differences: an answer in which nothing is
found makes the predictor look at the whole image and forget the window (there, the answer to the whole image is then
pasted into the window; ``Zoom.paste_always`` does that too); the limit acts on what is looked at, and is not undone
by way of the full image after zooming in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model_zoo.segmenters.predictor_maps import Floats, object_window, resize, window_holds
from model_zoo.segmenters.zoom_in import Region, whole

Size = tuple[int, int]
Pixel = tuple[int, int, bool]  # row, column, positive: a click at the index of its pixel
RELOOK = 0.5  # overlap of window and image below which a first answer is worth a closer look


@dataclass(frozen=True)
class Zoom:
    """target: long side of the window as the network sees it, or its exact (height, width), not keeping the aspect.

    skip_clicks: so many clicks are answered on the whole image; 0: so is the first pass, and a second one follows at
    once where the window is much smaller than the image; -1: the whole image is the first window, resized too, and
    ``closer`` says whether a second pass follows as with 0.
    expansion: of the object's box. smallest: side of a window in pixels. keep: overlap of the object's window and
    the one in use from which on the latter is kept. threshold: probability from which a pixel is the object's.
    """

    target: int | Size = 400
    skip_clicks: int = 1
    expansion: float = 1.4
    smallest: int = 200
    keep: float = 0.5
    threshold: float = 0.5
    paste_always: bool = False
    closer: bool = False


@dataclass(frozen=True, eq=False)
class Answer:
    """probability: (h, w) float32 of a region of the image, at the resolution of the network; 0 elsewhere."""

    region: Region
    probability: Floats

    def inside(self, shown: Region) -> Tensor:
        """(1, height, width) of another region, in pixels of the image."""
        full = resize(torch.from_numpy(self.probability)[None], self.region.height, self.region.width)
        if shown == self.region:
            return full
        cut = torch.zeros(1, shown.height, shown.width)
        top, bottom = max(self.region.top, shown.top), min(self.region.bottom, shown.bottom)
        left, right = max(self.region.left, shown.left), min(self.region.right, shown.right)
        if top < bottom and left < right:
            here = slice(top - shown.top, bottom - shown.top), slice(left - shown.left, right - shown.left)
            there = (
                slice(top - self.region.top, bottom - self.region.top),
                slice(left - self.region.left, right - self.region.left),
            )
            cut[:, here[0], here[1]] = full[:, there[0], there[1]]
        return cut


@dataclass(frozen=True, eq=False)
class PredictorState:
    """What one click leaves to the next. window: in use, None while the whole image is looked at. memory: of a
    refinement, with its size in bytes."""

    answer: Answer
    window: Region | None
    memory: Any = None

    @property
    def nbytes(self) -> int:
        return self.answer.probability.nbytes + int(getattr(self.memory, "nbytes", 0))


@dataclass(frozen=True)
class View:
    """What the network is shown: a region, resized to (height, width). pasted: the region that its answer is for.

    window: to be kept with the answer. changed: whether another window was in use before."""

    region: Region
    size: Size
    pasted: Region
    window: Region | None
    changed: bool


def choose_view(
    image: Size,
    clicks: Sequence[Pixel],
    seen: Answer | None,
    window: Region | None,
    *,
    zoom: Zoom | None,
    longest: int | None,
) -> View:
    """Where to look. image: (height, width). seen: the answer by which the object's window is found."""
    found = None
    if zoom is not None and len(clicks) > zoom.skip_clicks:
        found = find_window(image, clicks, seen, zoom)
        if found is None and zoom.skip_clicks < 0:
            found = whole(image)
    if zoom is None or found is None:
        everything = whole(image)
        kept = window if zoom is not None and zoom.paste_always else None
        return View(everything, _limited(image, longest), kept or everything, kept, False)
    positive = [(row, col) for row, col, sign in clicks if sign]
    keep = window is not None and window_holds(window, positive) and found.overlap(window) >= zoom.keep
    chosen = window if keep and window is not None else found
    size = _limited(_resized(chosen, zoom.target), longest)
    return View(chosen, size, chosen, chosen, not keep)


def find_window(image: Size, clicks: Sequence[Pixel], seen: Answer | None, zoom: Zoom) -> Region | None:
    """The object's window by an answer; None without one, or when nothing is found in it."""
    if seen is None:
        return None
    return object_window(
        seen.inside(seen.region)[0].numpy(),
        [(row, col) for row, col, sign in clicks if sign],
        threshold=zoom.threshold,
        expansion=zoom.expansion,
        smallest=zoom.smallest,
        origin=(seen.region.top, seen.region.left),
        image=image,
    )


def worth_a_closer_look(image: Size, state: PredictorState, zoom: Zoom | None) -> bool:
    """Whether a pass without a window found something that a window would show much larger."""
    if zoom is None or zoom.skip_clicks > 0 or state.window not in (None, whole(image)):
        return False
    if zoom.skip_clicks < 0 and not zoom.closer:
        return False
    found = find_window(image, (), state.answer, zoom)
    return found is not None and found.overlap(whole(image)) < RELOOK


def crop_pixels(image: NDArray[np.uint8], view: View, previous: Answer | None) -> Tensor:
    """(4, height, width) float32 of the view: RGB in [0, 1] and the previous probability.

    image: (H, W, 3) uint8. One channel after the other, so that a large photograph needs little memory besides.
    """
    crop = image[view.region.window]
    pixels = torch.zeros(4, *view.size)
    for channel in range(3):
        plane = torch.from_numpy(np.ascontiguousarray(crop[..., channel])).float().div_(255.0)
        pixels[channel] = resize(plane[None], *view.size)[0]
    if previous is not None:
        pixels[3] = resize(previous.inside(view.region), *view.size)[0]
    return pixels


def _resized(region: Region, target: int | Size) -> Size:
    if not isinstance(target, int):
        return target
    scale = target / max(region.height, region.width)
    return max(1, round(region.height * scale)), max(1, round(region.width * scale))


def _limited(size: Size, longest: int | None) -> Size:
    if longest is None or max(size) <= longest:
        return size
    scale = longest / max(size)
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
