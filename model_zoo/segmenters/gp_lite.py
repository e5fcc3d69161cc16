"""The training-free segmenter: a Gaussian process over frozen features, colour, position and image edges.

Kernel = radial-basis kernel on (deep feature, Lab, position) plus a diffusion kernel that stops at edges, on a
coarse grid; the clicks are nearly exact observations, the image border (or the outside of a box) is weak evidence
of background. The posterior mean is enlarged by a guided filter. Nothing is trained: features are ImageNet's,
the parameters below were chosen on held-out training photographs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from model_zoo.encoders import LITE0, Encoder, check_image, create_encoder, resize
from model_zoo.prompt import Box, Prompt
from model_zoo.registry import register_segmenter
from model_zoo.segmenters import gp_posterior, guided
from model_zoo.segmenters.base import Embedding, Mask, Segmenter
from model_zoo.segmenters.diffusion import DiffusionKernel
from model_zoo.segmenters.grid import Size, box_cells, cell_of, enlarge, outline, sample_level
from model_zoo.segmenters.probability import confidence, uncertainty

Floats = NDArray[np.float32]
Cells = NDArray[np.int64]


@dataclass(frozen=True)
class GpParameters:
    """Lengths of the kernel, strengths of the evidence, sizes. Logit units unless said otherwise."""

    long_side: int = 512  # pixels of the longer side at the encoder
    cell: int = 8  # grid cell in those pixels
    level_weights: tuple[float, ...] = (0.0, 0.2, 0.5, 1.0, 1.0)  # of squared feature distance, finest first
    feature_length: float = 2.0  # of unit feature vectors
    colour_length: float = 60.0  # Lab
    position_length: float = 0.5  # of the longer side
    diffusion_share: float = 0.4  # of the kernel's variance
    diffusion_range: float = 1000.0  # cells^2
    edge_colour: float = 7.0  # Lab step that is an edge
    edge_feature: float = 0.8  # step of the two middle levels' unit features that is an edge
    prior: float = -0.4
    confidence: float = 3.0  # what a click asks for
    click_noise: float = 1e-3  # variances, of a kernel with variance 1
    border_points: int = 48
    border_target: float = -1.5
    border_noise: float = 0.5
    box_target: float = 1.5
    box_noise: float = 0.5


@dataclass(frozen=True, eq=False)
class _Grid:
    """Of one image: features (n, d) whose half squared distance is the exponent; cells of the border; columns."""

    height: int
    width: int
    features: Floats
    norms: Floats
    diffusion: DiffusionKernel
    border: Cells
    border_columns: Floats
    guide: guided.Guide

    @property
    def nbytes(self) -> int:
        arrays = self.features.nbytes + self.norms.nbytes + self.border_columns.nbytes
        return int(arrays + self.diffusion.nbytes + self.guide.nbytes)


@dataclass(frozen=True, eq=False)
class _Evidence:
    """Observations besides the clicks: cells, kernel columns, target logits, noise variances."""

    cells: Cells
    columns: Floats
    targets: NDArray[np.float64]
    noise: NDArray[np.float64]


class GpSegmenter(Segmenter):
    """GP posterior on the features of an encoder; see the module."""

    prompts = frozenset({"click", "box"})

    def __init__(self, name: str, encoder: Encoder, parameters: GpParameters | None = None) -> None:
        self.name = name
        self.parameters = parameters or GpParameters()
        self.fingerprint = f"{name}:{encoder.fingerprint}:{self.parameters}"
        self._encoder = encoder

    def encode(self, image: NDArray[np.uint8]) -> Embedding:
        check_image(image)
        parameters = self.parameters
        scale = min(2.0, parameters.long_side / max(image.shape[:2]))
        small = resize(image, scale)
        height, width = (max(1, round(side / parameters.cell)) for side in small.shape[:2])
        levels = [
            sample_level(level, stride, (small.shape[0], small.shape[1]), (height, width))
            for level, stride in zip(self._encoder.features(small), self._encoder.strides, strict=True)
        ]
        lab = _lab(small, (height, width))
        features = self._features(levels, lab)
        edges = np.concatenate(
            [lab / parameters.edge_colour, *(f / parameters.edge_feature for f in levels[2:4])]
        )
        diffusion = DiffusionKernel(edges, parameters.diffusion_range)
        norms = np.einsum("ij,ij->i", features, features)
        border = _index(outline(0, 0, height - 1, width - 1, parameters.border_points), width)
        grid = _Grid(
            height,
            width,
            features,
            norms,
            diffusion,
            border,
            self._columns(features, norms, diffusion, border),
            guided.build(image, fine_side=1024, coarse_side=256, radius=4, smoothing=1e-3),
        )
        return Embedding(image.shape[0], image.shape[1], grid.nbytes, grid)

    def _features(self, levels: list[Floats], lab: Floats) -> Floats:
        """(cells, channels): unit deep features, Lab and position, each divided by its length."""
        parameters, (height, width) = self.parameters, lab.shape[1:]
        parts = [
            level * np.float32(np.sqrt(weight) / parameters.feature_length)
            for level, weight in zip(levels, parameters.level_weights, strict=True)
            if weight > 0
        ]
        position = np.mgrid[:height, :width] / (max(height, width) * parameters.position_length)
        stacked = np.concatenate([*parts, lab / parameters.colour_length, position.astype(np.float32)])
        return np.ascontiguousarray(stacked.reshape(len(stacked), -1).T, dtype=np.float32)

    def _columns(self, features: Floats, norms: Floats, diffusion: DiffusionKernel, cells: Cells) -> Floats:
        """Kernel between all cells and the given ones: (h * w, n), variance about 1."""
        squared = norms[:, None] + norms[cells] - 2.0 * features @ features[cells].T
        share = np.float32(self.parameters.diffusion_share)
        return (1 - share) * np.exp(-0.5 * np.maximum(squared, 0.0)) + share * diffusion.columns(cells)

    def decode(self, embedding: Embedding, prompt: Prompt, state: Any = None) -> Mask:  # noqa: ARG002
        parameters, grid = self.parameters, embedding.data
        shape = embedding.height, embedding.width
        if not prompt.clicks and prompt.box is None:
            return Mask(np.full(shape, parameters.prior, dtype=np.float32), 0.0)
        evidence = self._evidence(grid, prompt.box, shape)
        places = [cell_of(click, shape, (grid.height, grid.width)) for click in prompt.clicks]
        cells, positive = gp_posterior.latest_per_cell(
            [row * grid.width + col for row, col in places], [click.positive for click in prompt.clicks]
        )
        columns = self._columns(grid.features, grid.norms, grid.diffusion, cells)
        cross = np.concatenate([columns, evidence.columns], axis=1)
        prior = np.full(len(cells), parameters.prior)
        wanted = np.concatenate(
            [gp_posterior.targets(prior, positive, parameters.confidence), evidence.targets]
        )
        noise = np.concatenate([np.full(len(cells), parameters.click_noise), evidence.noise])
        gram = cross[np.concatenate([cells, evidence.cells])].astype(np.float64)
        posterior = gp_posterior.fit(gram, wanted - parameters.prior, noise)
        mean = posterior.mean(parameters.prior, cross).reshape(grid.height, grid.width)
        variance = posterior.variance(cross).reshape(grid.height, grid.width)
        logits = enlarge(grid.guide.enlarge(mean), shape)
        if prompt.box is not None:
            logits = _inside(logits, prompt.box)
        return Mask(logits, confidence(logits), enlarge(_uncertainty(mean, variance), shape))

    def _evidence(self, grid: _Grid, box: Box | None, shape: Size) -> _Evidence:
        """The border is background; with a box, the ring around it is, and its middle is object."""
        parameters = self.parameters
        if box is None:
            count = len(grid.border)
            targets = np.full(count, parameters.border_target)
            return _Evidence(
                grid.border, grid.border_columns, targets, np.full(count, parameters.border_noise)
            )
        top, left, bottom, right = box_cells(box, shape, (grid.height, grid.width))
        ring = outline(top - 1, left - 1, bottom + 1, right + 1, parameters.border_points)
        ring = ring[np.all((ring >= 0) & (ring < (grid.height, grid.width)), axis=1)]
        rows, cols = np.linspace(top, bottom, 5)[1:-1].round(), np.linspace(left, right, 5)[1:-1].round()
        middle = np.stack(np.meshgrid(rows, cols), axis=-1).reshape(-1, 2).astype(np.int64)
        inside = np.unique(middle, axis=0)
        cells = _index(np.concatenate([ring, inside]), grid.width)
        signs = np.repeat([-1.0, 1.0], [len(ring), len(inside)])
        columns = self._columns(grid.features, grid.norms, grid.diffusion, cells)
        noise = np.full(len(cells), parameters.box_noise)
        return _Evidence(cells, columns, signs * parameters.box_target, noise)


def _index(cells: Cells, width: int) -> Cells:
    """Flat indices of (n, 2) cells."""
    return np.asarray(cells[:, 0] * width + cells[:, 1])


def _lab(image: NDArray[np.uint8], grid: Size) -> Floats:
    """Mean CIE-Lab colour of each cell: (3, h, w)."""
    cells = cv2.resize(image, grid[::-1], interpolation=cv2.INTER_AREA).astype(np.float32) / 255.0
    return np.asarray(cv2.cvtColor(cells, cv2.COLOR_RGB2Lab).transpose(2, 0, 1), dtype=np.float32)


def _inside(logits: Floats, box: Box) -> Floats:
    """No object farther outside the box than 2 % of its longer side."""
    slack = 0.02 * max(abs(box.bottom - box.top), abs(box.right - box.left))
    rows, cols = (
        slice(max(0, int(min(edges) - slack)), max(0, int(np.ceil(max(edges) + slack))))
        for edges in ((box.top, box.bottom), (box.left, box.right))
    )
    limit = np.full_like(logits, -1.0)
    limit[rows, cols] = np.inf
    return np.minimum(logits, limit)


def _uncertainty(mean: Floats, variance: Floats) -> Floats:
    """2 min(p, 1 - p) of the probability moderated by the variance (MacKay 1992), in [0, 1]."""
    moderated = mean / np.sqrt(1.0 + np.pi * variance / 8.0)
    return uncertainty(moderated)


@register_segmenter(
    paper="Zhou et al., Interactive Segmentation as Gaussian Process Classification, CVPR 2023",
    licence=LITE0.licence,
    source="written for ClickPick from the paper",
    weights=(LITE0,),
)
def gp_lite0(device: str) -> GpSegmenter:
    """Gaussian process on frozen EfficientNet-Lite0 features; no training, no GPU."""
    return GpSegmenter("gp-lite0", create_encoder("efficientnet-lite0", device))
