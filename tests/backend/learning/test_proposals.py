from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from backend.learning import frozen_features, proposals
from backend.learning.acquisition import PASSES
from backend.learning.proposals import Page, Recipe, propose
from label_config import ImageSchema, read_schema, render
from model_zoo.learners.base import FitReport, LabelledImage, Learner, Progress
from tests.backend.learning.simulated_toys import ColourGrid

pytestmark = pytest.mark.unit
UNSURE = 254 / 255 / 60
"""Mean uncertainty of ``page``: that of one column in sixty, grey but for half a grey value."""
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


def queries(prediction: dict) -> list[dict]:
    return [region for region in prediction["result"] if region["type"] == "keypointlabels"]


def asked_columns(prediction: dict, width: int) -> list[int]:
    return [int(region["value"]["x"] / 100 * width) for region in queries(prediction)]


@pytest.mark.parametrize("acquisition", ["margin", "balanced_margin", "entropy", "mc_dropout_soft"])
def test_the_queries_are_where_the_learner_doubts(schema: ImageSchema, acquisition: str) -> None:
    recipe = replace(RECIPE, acquisition=acquisition)
    prediction = propose([page()], schema, Seeing(), "v1", recipe)
    assert asked_columns(prediction, 60) == [30, 30, 30]
    assert 0.0 < prediction["score"] < 1.0


def test_queries_show_the_most_probable_class_of_their_pixel_to_confirm(
    schema: ImageSchema, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = propose([page()], schema, Seeing(), "v1", RECIPE)
    for pixels in (40 * 60, 20 * 30):  # as it is, and shrunk
        monkeypatch.setattr(proposals, "WORKING_PIXELS", pixels)
        recipe = replace(RECIPE, queries=20, acquisition="random")
        asked = queries(propose([page()], schema, Seeing(), "v1", recipe, confirm=True))
        columns = [region["value"]["x"] / 100 * 60 for region in asked]
        shown = [region["value"]["keypointlabels"][0] for region in asked]
        assert [label for label, at in zip(shown, columns, strict=True) if at < 29] == ["cat"] * sum(
            at < 29 for at in columns
        )
        assert {label for label, at in zip(shown, columns, strict=True) if at > 32} == {"dog"}
        assert all(0.5 <= region["score"] <= 1.0 for region in asked)
    assert {region["value"]["keypointlabels"][0] for region in queries(plain)} == {"?"}
    nobody = queries(propose([page()], schema, None, "v0", RECIPE, confirm=True))
    assert {region["value"]["keypointlabels"][0] for region in nobody} == {"?"}


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


@pytest.mark.parametrize("selection", ["top5", "top", "coverage"])
def test_any_selection_chooses_the_queries_of_an_image_of_any_size(
    schema: ImageSchema, selection: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proposals, "FrozenFeatures", lambda _device: ColourGrid())
    monkeypatch.setattr(proposals, "WORKING_PIXELS", 20 * 30)
    recipe = replace(RECIPE, selection=selection)
    prediction = propose([page()], schema, Seeing(), "v1", recipe)
    assert len(set(asked_columns(prediction, 60))) >= (3 if selection == "coverage" else 1)
    assert len(queries(prediction)) == 3
    assert prediction == propose([page()], schema, Seeing(), "v1", recipe)


def test_without_a_learner_the_initial_selection_goes_on_from_what_was_answered(
    schema: ImageSchema, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proposals, "FrozenFeatures", lambda _device: ColourGrid())
    recipe = replace(RECIPE, initial="coverage", queries=1)
    answered = replace(page(), answered=[(20, 10), (20, 50)])
    for task in range(10):
        prediction = propose([replace(answered, task=task)], schema, None, "v0", recipe)
        (column,) = asked_columns(prediction, 60)
        assert column in (30, 31), "only the grey column's cells, two pixels wide, are new"


def test_the_encoder_is_loaded_for_no_other_selection(
    schema: ImageSchema, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frozen_features, "create_encoder", lambda *_: pytest.fail("an encoder was loaded"))
    propose([page()], schema, None, "v0", RECIPE)
    propose([page()], schema, Seeing(), "v1", replace(RECIPE, selection="top"))


@pytest.mark.parametrize(
    ("mean", "expected"), [(None, 10), (UNSURE, 10), (UNSURE / 1.5, 15), (UNSURE * 9, 5), (UNSURE / 9, 20)]
)
def test_the_number_of_queries_goes_with_the_uncertainty(
    schema: ImageSchema, mean: float | None, expected: int
) -> None:
    recipe = replace(RECIPE, queries=10)
    prediction = propose([page()], schema, Seeing(), "v1", recipe, mean_uncertainty=mean)
    assert prediction["score"] == pytest.approx(1 - UNSURE, abs=1e-5)
    assert len(queries(prediction)) == expected


def test_no_task_gets_more_than_twenty_queries_however_many_its_pages(schema: ImageSchema) -> None:
    pages = [replace(page(), item=item) for item in range(4)]
    recipe = replace(RECIPE, queries=20)
    prediction = propose(pages, schema, Seeing(), "v1", recipe, mean_uncertainty=UNSURE / 9)
    assert len(queries(prediction)) == 20
