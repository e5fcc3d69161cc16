"""Learners whose speed and skill a test decides, registered as ``fake-instant`` and ``fake-deep``."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from model_zoo import registry
from model_zoo.learners.base import FitReport, LabelledImage, Learner, Progress
from model_zoo.weights import WeightSource

INSTANT, DEEP = "fake-instant", "fake-deep"


@dataclass
class Behaviour:
    """What the learners of one name do, and what was done to them.

    right: share of each half of the image, from its outer border, that is told right: sky above, grass below.
    """

    right: float = 1.0
    free: threading.Event = field(default_factory=threading.Event)
    fitting: threading.Event = field(default_factory=threading.Event)
    warm_starts: list[Learner | None] = field(default_factory=list)
    predicted: int = 0


class FakeLearner(Learner):
    """Tells the classes by the row alone; ``fit`` returns when its behaviour is ``free``."""

    def __init__(self, name: str, behaviour: Behaviour) -> None:
        self.name = name
        self.classes: tuple[str, ...] = ()
        self.right = 0.0
        self._behaviour = behaviour

    def fit(
        self,
        labelled: Sequence[LabelledImage],
        classes: Sequence[str],
        *,
        warm_start: Learner | None = None,
        progress: Progress | None = None,  # noqa: ARG002
        seed: int = 0,  # noqa: ARG002
    ) -> FitReport:
        self._behaviour.fitting.set()
        assert self._behaviour.free.wait(60)
        self._behaviour.warm_starts.append(warm_start)
        self.classes, self.right = tuple(classes), self._behaviour.right
        return FitReport(len(labelled), sum(len(image.labels) for image in labelled), 0.0, 0.0, 0.0)

    def predict_proba(self, image: NDArray[np.uint8], samples: int = 1) -> NDArray[np.float32]:
        self._behaviour.predicted += 1
        height, width = image.shape[:2]
        rows = np.arange(height)
        upper = rows < height / 2
        outer = np.minimum(rows, height - 1 - rows) < self.right * height / 2
        found = np.zeros((len(self.classes), height, width), dtype=np.float32)
        found[0], found[1] = (upper == outer)[:, None], (upper != outer)[:, None]
        return found if samples == 1 else np.stack([found] * samples)

    def save(self, directory: Path) -> None:
        state = {"classes": self.classes, "right": self.right}
        (directory / "state.json").write_text(json.dumps(state))

    def load(self, directory: Path) -> None:
        state = json.loads((directory / "state.json").read_text())
        self.classes, self.right = tuple(state["classes"]), state["right"]


def register(monkeypatch: pytest.MonkeyPatch) -> tuple[Behaviour, Behaviour]:
    """Behaviours of the instant and of the deep learner; both are free."""
    registry.list_models()
    found = []
    for name in (INSTANT, DEEP):
        behaviour = Behaviour()
        behaviour.free.set()
        info = registry.ModelInfo(name, "learner", "a fake", "", "", "", ())
        monkeypatch.setitem(registry._models, name, (info, _builder(name, behaviour)))
        found.append(behaviour)
    return found[0], found[1]


def _builder(name: str, behaviour: Behaviour) -> Callable[[str, WeightSource], Learner]:
    return lambda _device, _source: FakeLearner(name, behaviour)
