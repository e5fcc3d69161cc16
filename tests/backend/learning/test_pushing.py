"""How many queries the tasks of a push get."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from backend.learning import pushing
from backend.learning.pushing import Pusher, Queue, recipe_of
from backend.settings import Settings
from backend.studio import TaskInfo
from label_config import read_schema, render

pytestmark = pytest.mark.unit


class Deaf:
    """Stands for a delivery whose parcels nobody reads."""

    def __getattr__(self, _name: str) -> Callable[..., None]:
        return lambda *_: None


class Scripted(Pusher):
    """A push of tasks of known scores."""

    def __init__(self, settings: Settings, scores: Sequence[float]) -> None:
        super().__init__(settings, Deaf(), Deaf())  # type: ignore[arg-type]
        self.scores = scores

    def _first(self, queue: Queue) -> list[TaskInfo]:  # noqa: ARG002
        return []

    def _waiting(self, queue: Queue) -> tuple[list[TaskInfo], bool]:  # noqa: ARG002
        tasks = [TaskInfo(place, {"image": f"/{place}.png"}, False) for place in range(len(self.scores))]
        return tasks, False

    def _page(self, queue: Queue, task: int, item: int | None, url: str) -> Any:  # noqa: ARG002
        return task


def means(settings: Settings, scores: Sequence[float], monkeypatch: pytest.MonkeyPatch) -> list[float | None]:
    """What each task is told of the queue."""
    pusher = Scripted(settings, scores)
    told: list[float | None] = []

    def propose(pages: list[int], *_: object, mean_uncertainty: float | None) -> dict[str, Any]:
        told.append(mean_uncertainty)
        return {"model_version": "v1", "score": scores[pages[0]], "result": []}

    monkeypatch.setattr(pushing, "propose", propose)
    schema = read_schema(render("pixel", ["cat", "dog"]))
    assert schema.pixel_image is not None
    queue = Queue(1, schema, schema.pixel_image, "v1", "v0", None, {})
    pusher.push(queue, Deaf(), lambda *_: None, lambda: False)  # type: ignore[arg-type]
    return told


def test_over_the_queue_each_chunk_is_told_the_mean_of_those_before(
    make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = make_settings(budget="queue", first_push=2, push_chunk=2)
    told = means(settings, [0.9, 0.7, 0.5, 0.5, 0.0], monkeypatch)
    assert told[:2] == [None, None], "of the first nothing is known"
    assert told[2:] == pytest.approx([0.2, 0.2, 0.35])


def test_with_a_budget_an_image_nobody_is_told(
    make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = make_settings(first_push=1, push_chunk=1)
    assert means(settings, [0.9, 0.5, 0.1], monkeypatch) == [None, None, None]


def test_the_recipe_is_the_settings(make_settings: Callable[..., Settings]) -> None:
    recipe = recipe_of(make_settings(selection="spread", initial="coverage", queries_per_task=7))
    assert (recipe.selection, recipe.initial, recipe.queries, recipe.device) == (
        "spread",
        "coverage",
        7,
        "cpu",
    )
