"""A quick encoder and pictures whose classes are colours."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as nnf

from model_zoo.encoders import resize
from model_zoo.learners.base import LabelledImage

COLOURS = np.array([[200, 30, 30], [30, 200, 30], [30, 30, 200]], dtype=np.uint8)
CLASSES = ("red", "green", "blue")


class MeanEncoder:
    """Local mean colours on grids of stride 2, 4 and 8; counts how often it is asked."""

    name = "mean"
    strides = (2, 4, 8)
    channels = (3, 3, 3)
    fingerprint = "mean-v1"
    device = torch.device("cpu")

    def __init__(self) -> None:
        self.calls = 0

    def features(self, image: np.ndarray, scale: float = 1.0) -> tuple[torch.Tensor, ...]:
        self.calls += 1
        pixels = torch.from_numpy(resize(image, scale).astype(np.float32) / 255).permute(2, 0, 1)
        return tuple(nnf.avg_pool2d(pixels[None], s, s, ceil_mode=True)[0] for s in self.strides)


def stripes(height: int, width: int, classes: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A picture (H, W, 3) of noisy vertical stripes, one a class, and its class map (H, W)."""
    truth = np.broadcast_to(np.arange(width) * classes // width, (height, width)).astype(np.uint8)
    noise = np.random.default_rng(seed).integers(-25, 26, (height, width, 3))
    return (COLOURS[truth] + noise).clip(0, 255).astype(np.uint8), truth


def labelled(
    image: np.ndarray, truth: np.ndarray, count: int, seed: int = 0, key: str | None = None
) -> LabelledImage:
    """``count`` random pixels of the picture with their true classes."""
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, truth.shape[0], count)
    cols = rng.integers(0, truth.shape[1], count)
    load: Callable[[], np.ndarray] = lambda: image  # noqa: E731
    return LabelledImage(key or f"image-{seed}", load, rows, cols, truth[rows, cols].astype(np.int64))
