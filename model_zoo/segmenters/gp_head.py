"""A Gaussian-process head for any segmenter: the last step at image resolution, after which no click is contradicted.

    f = g + k(., Z) (K + eps I)^-1 (u - g(Z)),   u_i = y_i max(c, y_i g(z_i))

g are the logits of the wrapped segmenter, Z the clicked pixels. A click that g obeys asks for nothing and anchors
what is right around it. The kernel is Wendland's C2 function of position times a radial-basis function of colour;
the former is zero beyond its reach, so that only windows around contradicted clicks are touched.

Formulae: Zhou et al., Interactive Segmentation as Gaussian Process Classification, CVPR 2023; Wendland, Piecewise
polynomial, positive definite and compactly supported radial functions, 1995; MacKay, The evidence framework
applied to classification networks, 1992 (the moderated probability). Deliberate differences from GPCIS: nothing is
learned, g is any segmenter's, the correction never exceeds the residuals that cause it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from model_zoo.encoders import resize
from model_zoo.modifiers import register_modifier
from model_zoo.prompt import Prompt
from model_zoo.segmenters import gp_posterior
from model_zoo.segmenters.base import Embedding, Mask, Segmenter
from model_zoo.segmenters.grid import enlarge
from model_zoo.segmenters.probability import uncertainty
from model_zoo.segmenters.repair import honour_clicks

Floats = NDArray[np.float32]
Cells = NDArray[np.int64]
COLOUR_SIDE = 2048  # pixels of the longer side at which colours are kept
DOUBT_SIDE = 96  # cells of the longer side of the grid of variances
WINDOW = 64  # cells that a contradicted click reaches, at most
L_UNIT = 100.0 / 255.0  # of OpenCV's 8-bit L


@dataclass(frozen=True)
class HeadParameters:
    """Lengths and strengths of the head; chosen by simulated clicks on held-out training photographs."""

    reach: float = 0.15  # of the longer side: how far a contradicted click reaches at most
    colour: float = 20.0  # Lab: length of the colour factor
    confidence: float = 1.5  # logit that a contradicted click gets
    limit: float = 10.0  # logits of the wrapped segmenter are cut off here: they say no more than "sure"
    noise: float = 1e-3  # of a click, of a kernel with variance 1
    smoothing: float = 1.5  # sigma of the colours' blur, in pixels of at most COLOUR_SIDE
    doubt_reach: float = 0.5  # as reach and colour, for the variance
    doubt_colour: float = 40.0
    doubt: float = 1.0  # variance far from all clicks, logits^2


@dataclass(frozen=True, eq=False)
class _Embedding:
    """The wrapped segmenter's embedding and the smoothed Lab colours (h, w, 3), L 0 to 100, a and b plus 128."""

    wrapped: Embedding
    lab: NDArray[np.uint8]


@dataclass(frozen=True)
class _Kernel:
    """Product of Wendland's C2 function of position (reach in pixels) and a Gaussian of colour; variance 1."""

    reach: float
    colour: float

    def __call__(self, squared_distance: Floats, lab: Floats, centre: Floats) -> Floats:
        """squared_distance: (...) pixels^2. lab: (..., 3) there. centre: (3,) or broadcast to lab."""
        away = np.sqrt(squared_distance) * np.float32(1.0 / self.reach)
        near = np.maximum(1.0 - away, 0.0)
        near *= near
        difference = lab - centre
        exponent = np.einsum("...i,...i->...", difference, difference) * np.float32(-0.5 / self.colour**2)
        return np.asarray(near * near * (4.0 * away + 1.0) * np.exp(exponent), dtype=np.float32)


class GpHead(Segmenter):
    """Any segmenter followed by the correction above; ``state``, prompts and score are the wrapped segmenter's.

    ``uncertainty`` is 2 min(p, 1 - p) of the probability moderated by the kernel's posterior variance.
    """

    def __init__(self, wrapped: Segmenter, parameters: HeadParameters | None = None) -> None:
        self.parameters = parameters or HeadParameters()
        self.name = f"{wrapped.name}+gp"
        self.fingerprint = f"{self.name}:{wrapped.fingerprint}:{self.parameters}"
        # The contract declares these by class; a head has those of whatever it wraps.
        vars(self).update(prompts=wrapped.prompts, stateful=wrapped.stateful, order_free=wrapped.order_free)
        self._wrapped = wrapped

    def encode(self, image: NDArray[np.uint8]) -> Embedding:
        wrapped = self._wrapped.encode(image)
        small = resize(image, min(1.0, COLOUR_SIDE / max(image.shape[:2])))
        blurred = cv2.GaussianBlur(small, (0, 0), self.parameters.smoothing)
        lab = np.array(cv2.cvtColor(blurred, cv2.COLOR_RGB2Lab), dtype=np.uint8)
        lab[..., 0] = cv2.convertScaleAbs(lab[..., 0], alpha=L_UNIT).reshape(lab.shape[:2])
        nbytes = wrapped.nbytes + lab.nbytes
        return Embedding(image.shape[0], image.shape[1], nbytes, _Embedding(wrapped, lab))

    def decode(self, embedding: Embedding, prompt: Prompt, state: Any = None) -> Mask:
        return self._finish(embedding, prompt, self._wrapped.decode(embedding.data.wrapped, prompt, state))

    def decode_batch(self, items: Sequence[tuple[Embedding, Prompt, Any]]) -> list[Mask]:
        masks = self._wrapped.decode_batch([(e.data.wrapped, prompt, state) for e, prompt, state in items])
        return [
            self._finish(embedding, prompt, mask)
            for (embedding, prompt, _), mask in zip(items, masks, strict=True)
        ]

    def _finish(self, embedding: Embedding, prompt: Prompt, mask: Mask) -> Mask:
        if not prompt.clicks:
            return mask
        height, width = mask.logits.shape
        pixels = [click.pixel(height, width) for click in prompt.clicks]
        cells, positive = gp_posterior.latest_per_cell(
            [row * width + col for row, col in pixels], [click.positive for click in prompt.clicks]
        )
        places = np.stack(np.divmod(cells, width), axis=1)
        lab: NDArray[np.uint8] = embedding.data.lab
        corrected = _correct(mask.logits, lab, places, positive, self.parameters)
        logits, _ = honour_clicks(corrected, prompt.clicks)
        return Mask(logits, mask.score, _doubt(logits, lab, places, self.parameters), mask.state)


def _correct(
    logits: Floats,
    lab: NDArray[np.uint8],
    places: Cells,
    positive: NDArray[np.bool_],
    parameters: HeadParameters,
) -> Floats:
    """Logits that pass through the clicks, or the same array when all clicks are obeyed. places: (n, 2) pixels."""
    at_clicks = np.clip(logits[places[:, 0], places[:, 1]], -parameters.limit, parameters.limit)
    prior = at_clicks.astype(np.float64)
    residual = gp_posterior.targets(prior, positive, parameters.confidence) - prior
    if not residual.any():
        return logits
    kernel = _Kernel(max(2.0, parameters.reach * max(logits.shape)), parameters.colour)
    colours = _colours(lab, logits.shape, places[:, 0], places[:, 1])
    gram = _between(kernel, places, colours, places, colours).astype(np.float64)
    posterior = gp_posterior.fit(gram, residual, np.full(len(places), parameters.noise))
    active = np.abs(posterior.weights) > 1e-9  # the others are anchors that no contradicted click reaches
    pull = _Pull(kernel, places[active], colours[active], posterior.weights[active])
    corrected = np.clip(logits, -parameters.limit, parameters.limit)
    pull.add_to(corrected, lab, min(0.0, residual.min()), max(0.0, residual.max()))
    # Far-reaching windows are coarse; at the clicks themselves the posterior is exact.
    corrected[places[:, 0], places[:, 1]] = prior + gram @ posterior.weights
    return corrected


@dataclass(frozen=True, eq=False)
class _Pull:
    """k(., Z) v: places (n, 2) in pixels, colours (n, 3), weights (n,)."""

    kernel: _Kernel
    places: Cells
    colours: Floats
    weights: gp_posterior.Array

    def add_to(self, logits: Floats, lab: NDArray[np.uint8], least: float, most: float) -> None:
        """Add it in place, on a grid of which the reach covers WINDOW cells at most.

        It stays between least and most: behind an anchor the posterior swings to the other side, and nobody asked
        for that.
        """
        span = int(self.kernel.reach)
        step = -(-span // WINDOW)
        top, left = np.maximum(self.places.min(axis=0) - span, 0)
        bottom, right = np.minimum(self.places.max(axis=0) + span + 1, logits.shape)
        rows = np.minimum(np.arange(top, bottom, step) + step // 2, logits.shape[0] - 1)
        cols = np.minimum(np.arange(left, right, step) + step // 2, logits.shape[1] - 1)
        around = _colours(lab, logits.shape, rows[:, None], cols)
        change = np.zeros((len(rows), len(cols)), dtype=np.float32)
        for (row, col), colour, weight in zip(self.places, self.colours, self.weights, strict=True):
            down = slice(*np.searchsorted(rows, (row - span, row + span + 1)))
            across = slice(*np.searchsorted(cols, (col - span, col + span + 1)))
            squared = (((rows[down] - row) ** 2)[:, None] + (cols[across] - col) ** 2).astype(np.float32)
            change[down, across] += np.float32(weight) * self.kernel(squared, around[down, across], colour)
        np.clip(change, least, most, out=change)
        fine = enlarge(change, (len(rows) * step, len(cols) * step)) if step > 1 else change
        logits[top:bottom, left:right] += fine[: bottom - top, : right - left]


def _doubt(logits: Floats, lab: NDArray[np.uint8], places: Cells, parameters: HeadParameters) -> Floats:
    """2 min(p, 1 - p) of the moderated probability, (H, W) in [0, 1]; computed on a coarse grid."""
    shape = logits.shape[0], logits.shape[1]
    scale = min(1.0, DOUBT_SIDE / max(shape))
    grid = max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale))
    rows, cols = (
        ((np.arange(cells) + 0.5) * side / cells).astype(np.int64)
        for cells, side in zip(grid, shape, strict=True)
    )
    centres = np.stack(np.meshgrid(rows, cols, indexing="ij"), axis=-1).reshape(-1, 2)
    kernel = _Kernel(max(2.0, parameters.doubt_reach * max(shape)), parameters.doubt_colour)
    at_clicks = _colours(lab, shape, places[:, 0], places[:, 1])
    at_centres = _colours(lab, shape, centres[:, 0], centres[:, 1])
    gram = _between(kernel, places, at_clicks, places, at_clicks).astype(np.float64)
    posterior = gp_posterior.fit(gram, np.zeros(len(places)), np.full(len(places), parameters.noise))
    variance = posterior.variance(_between(kernel, centres, at_centres, places, at_clicks)).reshape(grid)
    mean = np.asarray(cv2.resize(logits, grid[::-1], interpolation=cv2.INTER_AREA)).reshape(grid)
    moderated = mean / np.sqrt(1.0 + np.pi / 8.0 * parameters.doubt * variance)
    return enlarge(uncertainty(moderated), shape)


def _between(kernel: _Kernel, one: Cells, one_lab: Floats, two: Cells, two_lab: Floats) -> Floats:
    """Kernel matrix (len(one), len(two)) of pixels and their colours."""
    columns = [
        kernel(((one - place) ** 2).sum(axis=1).astype(np.float32), one_lab, colour)
        for place, colour in zip(two, two_lab, strict=True)
    ]
    return np.stack(columns, axis=1)


def _colours(lab: NDArray[np.uint8], shape: tuple[int, ...], rows: Cells, cols: Cells) -> Floats:
    """Lab colours (..., 3) at image pixels, rows and cols broadcast: those of the nearest kept pixel."""
    found = lab[rows * lab.shape[0] // shape[0], cols * lab.shape[1] // shape[1]]
    return found.astype(np.float32)


@register_modifier()
def gp(segmenter: Segmenter) -> GpHead:
    """Gaussian-process head: obeys every click."""
    return GpHead(segmenter)
