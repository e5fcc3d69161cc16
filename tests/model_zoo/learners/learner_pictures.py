"""A quick encoder, quick networks, and pictures whose classes are colours."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import timm
import torch
import torch.nn.functional as nnf

from model_zoo.encoders import resize
from model_zoo.learners.augment import Augmentation
from model_zoo.learners.base import LabelledImage
from model_zoo.learners.deeplabv3plus import DeepLabV3Plus
from model_zoo.learners.finetune import Finetune
from model_zoo.learners.finetune_policy import FinetunePolicy
from model_zoo.learners.fpn import Fpn
from model_zoo.learners.trunk import SegmentationNetwork, Trunk

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


TINY = FinetunePolicy(
    rate=2e-2,
    encoder_rate=2e-3,
    batch=4,
    epochs=2,
    epoch_steps=7,
    crop=40,
    average=0.5,
    held_out=0.0,
    warm_epochs=1,
    augmentation=Augmentation(scales=(0.8, 1.25), jitter=0.0, grey=0.0, blur=0.0),
)


@cache
def _tiny_model(name: str, **options: Any) -> Any:
    """A small network of timm with random weights, always the same."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return timm.create_model(name, pretrained=False, num_classes=0, **options)


def tiny_trunk(name: str = "test_resnet", **options: Any) -> Trunk:
    return Trunk(copy.deepcopy(_tiny_model(name, **options)))


def tiny_network(kind: str, classes: int, **options: Any) -> SegmentationNetwork:
    """The kind of network that a learner's name says, a few channels wide."""
    if "fpn" in kind:
        return Fpn(tiny_trunk(**options), classes, lateral=16, block=16)
    return DeepLabV3Plus(tiny_trunk(**options), classes, context=16, low_level=8)


def tiny_finetune(
    name: str = "finetune-deeplabv3plus-tiny", device: str = "cpu", policy: FinetunePolicy = TINY
) -> Finetune:
    """A learner that trains in a second."""
    return Finetune(name, f"tiny {name}", lambda classes: tiny_network(name, classes), device, policy=policy)
