"""How long and how fast a click model is trained, and how far it has come."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TrainPolicy:
    """Optimisation. Training ends after ``steps`` steps or ``minutes`` minutes, whichever is given and comes first.

    smoothness: weight of the MIS smoothness loss of the answers; 0 leaves it out.
    """

    steps: int | None = None
    minutes: float | None = None
    rate: float = 1.5e-3
    encoder_rate: float = 1e-4
    weight_decay: float = 1e-3
    warm_up: int = 100  # steps
    last_rate: float = 0.01  # of the full rate, at the end of the cosine
    corrections: tuple[float, ...] = (
        0.4,
        0.25,
        0.2,
        0.15,
    )  # chances of 0, 1, ... before the answer learnt from
    average: float = 0.998  # decay of the averaged weights
    dice: float = 0.2
    coarse: float = 0.4  # weight of the auxiliary output
    smoothness: float = 0.0
    checkpoint_seconds: float = 60.0
    mixed_precision: bool = True
    seed: int = 0


@dataclass(frozen=True)
class Progress:
    """After one step: share of the training that is done, loss and IoU of the step (running means)."""

    step: int
    done: float
    loss: float
    iou: float
    seconds: float
