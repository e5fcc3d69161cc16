"""What is trained for how long, and the trainer that does it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from backend.commands.training_data import data_digest
from model_zoo.errors import BadInput
from model_zoo.segmenters.trainable import find_trainable
from model_zoo.training.batches import BatchMaker, BatchPolicy
from model_zoo.training.pictures import Picture
from model_zoo.training.policy import TrainPolicy
from model_zoo.training.processes import processes
from model_zoo.training.recipes import find_recipe
from model_zoo.training.region_tree import RegionTree
from model_zoo.training.self_labels import TREE_SHARE, SelfRegions
from model_zoo.training.trainer import ClickTrainer
from model_zoo.training.views import ViewPolicy


@dataclass(frozen=True)
class Plan:
    """What both commands decide on."""

    segmenter: str
    steps: int | None
    minutes: float | None
    seed: int
    views: int
    objects: int
    side: int

    def check(self) -> None:
        """BadInput, or UnknownModel for what cannot be trained."""
        find_trainable(self.segmenter)
        if self.steps is None and self.minutes is None:
            raise BadInput(
                "neither --steps nor --minutes is given; training would never end; give one of them"
            )
        if self.minutes is not None and not self.minutes > 0:
            raise BadInput(f"--minutes is {self.minutes}; expected a number above 0")
        if self.side % 32:
            raise BadInput(
                f"--side is {self.side}; expected a multiple of 32, such as {self.side // 32 * 32}"
            )
        fewest = find_recipe(self.segmenter).samples
        if self.views * self.objects < fewest:
            raise BadInput(
                f"--views {self.views} of --objects {self.objects} are fewer samples than {self.segmenter} needs "
                f"in a batch; expected at least {fewest}"
            )


def make_trainer(
    plan: Plan,
    policy: TrainPolicy,
    network: Any,
    pictures: Sequence[tuple[Picture, float]],
    trees: Mapping[str, RegionTree],
    *,
    supervised: bool,
    device: str,
    settings: dict[str, Any],
    answers: Mapping[str, SelfRegions] | None = None,
) -> ClickTrainer:
    """The trainer, with all settings that its checkpoint must agree with. answers: None without self-training."""
    drawn = BatchPolicy(views=plan.views, objects=plan.objects)
    if answers is not None:
        drawn = replace(drawn, unlabelled=TREE_SHARE)
    views = ViewPolicy(side=plan.side)
    maker = BatchMaker(
        pictures,
        trees,
        views=views,
        policy=drawn if trees else replace(drawn, unlabelled=0.0),
        seed=plan.seed,
        supervised=supervised,
        answers=answers,
    )
    clicks = find_recipe(plan.segmenter).clicks
    facts = {
        **asdict(plan),
        **settings,
        "data": data_digest(pictures),
        "trees": len(trees),
        "masks": supervised,
        "rate": policy.rate,
        "smoothness": policy.smoothness,
        "processes": processes()[0],
        "recipe": hashlib.sha256(repr((views, drawn, clicks, policy.corrections)).encode()).hexdigest()[:12],
    }
    return ClickTrainer(network, maker, policy, device, clicks=clicks, settings=facts)
