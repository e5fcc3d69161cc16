"""How a network is trained end to end: the paper's way and ours."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from model_zoo.learners.augment import Augmentation
from model_zoo.learners.tiles import Tiling


@dataclass(frozen=True)
class FinetunePolicy:
    """Optimisation, augmentation and when to stop.

    optimiser: "adam" adds the weight decay to the gradient of all weights, "adamw" shrinks matrices and kernels only.
    rate, encoder_rate: of the new layers and of the encoder. milestones: epochs after which rates are a tenth of
    before; without any they follow a cosine to 0. epoch_steps: least number of steps an epoch, for small pools.
    crop: longest side in pixels of what is trained on. dense_points: pixels drawn anew from a dense mask whenever its
    image is shown. average: decay a step of the moving average of the weights that answers; 0 answers with the last.
    warm_epochs: epochs after a warm start; 0 never starts warm. held_out: share of the labels that only decide when to
    stop, once there are ``held_out_from`` labels; patience: epochs without a better loss on them before stopping.
    """

    optimiser: Literal["adam", "adamw"] = "adamw"
    rate: float = 1e-3
    encoder_rate: float = 1e-4
    weight_decay: float = 1e-2
    milestones: tuple[int, ...] = ()
    batch: int = 8
    epochs: int = 50
    epoch_steps: int = 10
    crop: int = 512
    dense_points: int = 256
    average: float = 0.999
    warm_epochs: int = 20
    held_out: float = 0.1
    held_out_from: int = 100
    patience: int = 10
    mixed_precision: bool = True  # where it is quick: CUDA, and processors with AMX
    augmentation: Augmentation = field(default_factory=Augmentation)
    tiling: Tiling = field(default_factory=Tiling)

    def __post_init__(self) -> None:
        if self.batch < 2:
            raise ValueError(f"batch is {self.batch}; expected 2 or more: batch norm needs them")
        if self.epochs < 1 or self.epoch_steps < 1:
            raise ValueError(f"{self.epochs} epochs of {self.epoch_steps} steps; expected 1 or more of each")


DEFAULT = FinetunePolicy()

PIXELPICK = FinetunePolicy(
    optimiser="adam",
    rate=5e-4,
    encoder_rate=5e-5,
    weight_decay=2e-4,
    milestones=(20, 40),
    batch=4,
    epochs=50,
    epoch_steps=1,
    crop=512,
    dense_points=8192,
    average=0.0,
    warm_epochs=0,
    held_out=0.0,
    augmentation=Augmentation(
        anchored=False, brightness=0.8, contrast=0.8, saturation=0.8, hue=0.2, jitter=0.8, grey=0.2, blur=0.5
    ),
)
"""Shin et al., PixelPick, ICCVW 2021, as its code trains on CamVid.

Differences: labelled pixels move as coordinates (they resize a mask, which loses or doubles some), images are
normalised as the encoder was trained (they use the data set's mean and deviation), and dense masks give 8192 pixels
an image and step instead of all.
"""
