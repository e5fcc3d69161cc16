"""What each family of click networks is trained with where nobody says otherwise."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from model_zoo.training.click_simulation import ClickPolicy
from model_zoo.training.policy import TrainPolicy


@dataclass(frozen=True)
class Recipe:
    """side: pixels of the square that is learnt from. samples: of a batch, at least."""

    policy: TrainPolicy = field(default_factory=TrainPolicy)
    clicks: ClickPolicy = field(default_factory=ClickPolicy)
    side: int = 320
    samples: int = 1


CLICKNET = Recipe()
GPCIS = Recipe(
    policy=TrainPolicy(
        rate=5e-3, encoder_rate=5e-4, weight_decay=0.0, dice=0.0, coarse=0.0, mixed_precision=False
    ),
    clicks=ClickPolicy(single=0.0, most=24, boxes=0.0, strokes=0.0),
    side=256,
    samples=2,
)
"""As published: a tenth of the rate for the trunk, Adam, the focal loss alone, clicks alone. Differences: the cosine
here for two steps of a tenth there, the crops of ``views`` here for its own, clicks and corrections placed as for
clicknet. Batch normalisation of one pooled vector needs two samples."""


def find_recipe(segmenter: str) -> Recipe:
    """Of a segmenter that can be trained."""
    return GPCIS if segmenter.startswith("gpcis-") else CLICKNET


def slower(policy: TrainPolicy, share: float) -> TrainPolicy:
    """The same with a share of its learning rates."""
    return replace(policy, rate=share * policy.rate, encoder_rate=share * policy.encoder_rate)
