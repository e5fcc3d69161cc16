from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from backend.learning import proposals
from backend.learning.acquisition import PASSES
from backend.learning.proposals import Page, Recipe, propose
from label_config import ImageSchema, read_schema, render
from model_zoo.learners.base import FitReport, LabelledImage, Learner, Progress

pytestmark = pytest.mark.unit
RECIPE = Recipe(acquisition="margin", selection="top", queries=3, polygon_over_pixels=10**9)


class Seeing(Learner):
    """Dark pixels are cats, bright ones dogs, grey ones could be either; remembers what it was asked."""

    name = "seeing"
    classes = ("cat", "dog")

    def __init__(self) -> None:
        self.asked: list[tuple[int, int, int]] = []

    def fit(
        self,
        labelled: Sequence[LabelledImage],
        classes: Sequence[str],
        *,
        warm_start: Learner | None = None,
        progress: Progress | None = None,
        seed: int = 0,
    ) -> FitReport:
        raise NotImplementedError

    def predict_proba(self, image: NDArray[np.uint8], samples: int = 1) -> NDArray[np.float32]:
        self.asked.append((samples, *image.shape[:2]))
        dog = image[..., 0].astype(np.float32) / 255.0
        one = np.stack([1.0 - dog, dog])
        return one if samples == 1 else np.stack([one] * samples)

    def save(self, directory: Path) -> None:
        raise NotImplementedError

    def load(self, directory: Path) -> None:
        raise NotImplementedError


@pytest.fixture
def schema() -> ImageSchema:
    found = read_schema(render("pixel", ["cat", "dog"])).pixel_image
    assert found is not None
    return found


def page(height: int = 40, width: int = 60) -> Page:
    """Dark on the left, bright on the right, with a grey column between."""
    image = np.zeros((height, width, 3), dtype=np.uint8)
    image[:, width // 2 :] = 255
    image[:, width // 2] = 127
    return Page(task=1, item=None, key="k", image=image)


def asked_columns(prediction: dict, width: int) -> list[int]:
    points = [region["value"]["x"] for region in prediction["result"] if region["type"] == "keypointlabels"]
    return [int(x / 100 * width) for x in points]


@pytest.mark.parametrize("acquisition", ["margin", "balanced_margin", "entropy", "mc_dropout_soft"])
def test_the_queries_are_where_the_learner_doubts(schema: ImageSchema, acquisition: str) -> None:
    recipe = replace(RECIPE, acquisition=acquisition)
    prediction = propose([page()], schema, Seeing(), "v1", recipe)
    assert asked_columns(prediction, 60) == [30, 30, 30]
    assert 0.0 < prediction["score"] < 1.0


def test_stochastic_passes_see_a_smaller_image(schema: ImageSchema, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proposals, "WORKING_PIXELS", 40 * 60)
    learner = Seeing()
    propose([page()], schema, learner, "v1", replace(RECIPE, acquisition="mc_dropout_hard"))
    (first, *shape), (passes, height, width) = learner.asked
    assert (first, *shape) == (1, 40, 60)
    assert passes == PASSES
    assert height * width * passes <= 1.2 * 40 * 60


def test_without_a_learner_pixels_are_random_and_nothing_is_drawn(schema: ImageSchema) -> None:
    prediction = propose([page()], schema, None, "v0", RECIPE)
    assert len(asked_columns(prediction, 60)) == len(prediction["result"]) == 3
    assert prediction["score"] == 0.0
    assert prediction == propose([page()], schema, None, "v0", RECIPE)
