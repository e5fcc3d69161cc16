"""In which order the tasks of a queue are pushed, when a round gives way, and how many queries a task gets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from backend.errors import ImageProblem
from backend.learning import pushing
from backend.learning.pushing import LEAST_TASKS, Pushed, Pusher, Queue, recipe_of
from backend.settings import Settings
from backend.studio import TaskInfo
from label_config import read_schema, render

pytestmark = pytest.mark.unit


class Deaf:
    """Stands for a delivery whose parcels nobody reads."""

    def __getattr__(self, _name: str) -> Callable[..., None]:
        return lambda *_: None


class Shelf:
    """Stands for a Label Studio with so many tasks, which keeps no prediction; ``old``: scores of version v0."""

    def __init__(self, tasks: int, old: Mapping[int, float]) -> None:
        self._tasks = [TaskInfo(place, {"image": f"/{place}.png"}, False) for place in range(tasks)]
        self.old = old

    def tasks(self, _project: int) -> list[TaskInfo]:
        return self._tasks

    def model_versions(self, _project: int) -> dict[str, int]:
        return {"v0": len(self.old)} if self.old else {}

    def prediction_scores(self, _project: int, _version: str) -> Mapping[int, float]:
        return self.old

    def next_tasks(self, _project: int, count: int) -> list[TaskInfo]:
        return sorted(self._tasks, key=lambda task: self.old.get(task.id, 2.0))[:count] if self.old else []


class Scripted(Pusher):
    """A push of tasks of known scores; ``tried`` and ``told``: the tasks, and what each is told of the queue."""

    def __init__(
        self,
        settings: Settings,
        monkeypatch: pytest.MonkeyPatch,
        scores: Sequence[float | None],
        old: Mapping[int, float] | None = None,
    ) -> None:
        super().__init__(settings, Shelf(len(scores), old or {}), Deaf())  # type: ignore[arg-type]
        self.scores = scores
        self.tried: list[int] = []
        self.told: list[float | None] = []
        monkeypatch.setattr(pushing, "propose", self._propose)

    def _page(self, queue: Queue, task: int, item: int | None, url: str) -> Any:  # noqa: ARG002
        self.tried.append(task)
        if self.scores[task] is None:
            raise ImageProblem("there is no such image")
        return task

    def _propose(self, pages: list[int], *_: object, mean_uncertainty: float | None) -> dict[str, Any]:
        self.told.append(mean_uncertainty)
        return {"model_version": "v1", "score": self.scores[pages[0]], "result": []}

    def round(self, superseded: bool = False) -> Pushed:
        schema = read_schema(render("pixel", ["cat", "dog"]))
        assert schema.pixel_image is not None
        queue = Queue(1, schema, schema.pixel_image, "v1", "v0", None, {})
        return self.push(queue, Deaf(), lambda *_: None, lambda: superseded)  # type: ignore[arg-type]


def test_over_the_queue_each_chunk_is_told_the_mean_of_those_before(
    make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    pusher = Scripted(
        make_settings(budget="queue", first_push=2, push_chunk=2), monkeypatch, [0.9, 0.7, 0.5, 0.5, 0.0]
    )
    pusher.round()
    assert pusher.told[:2] == [None, None], "of the first nothing is known"
    assert pusher.told[2:] == pytest.approx([0.2, 0.2, 0.35])


def test_over_the_queue_the_mean_is_of_the_whole_queue_and_not_of_its_least_certain_tasks(
    make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = [0.2, 0.4, 0.6, 0.8]
    settings = make_settings(budget="queue", first_push=1, push_chunk=1)
    pusher = Scripted(settings, monkeypatch, scores, old=dict(enumerate(scores)))
    pusher.round()
    assert pusher.told == pytest.approx([0.5] * len(pusher.told))


def test_with_a_budget_an_image_nobody_is_told(
    make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    pusher = Scripted(make_settings(first_push=1, push_chunk=1), monkeypatch, [0.9, 0.5, 0.1])
    pusher.round()
    assert pusher.told == [None, None, None]


def test_after_a_restart_the_order_is_that_of_the_version_before(
    make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    old = {0: 0.9, 1: 0.7, 2: 0.5, 3: 0.3, 4: 0.1}
    pusher = Scripted(make_settings(), monkeypatch, [0.05] * 5, old)
    pusher.round()
    assert list(dict.fromkeys(pusher.tried)) == [4, 3, 2, 1, 0]


@pytest.mark.parametrize("old", [{}, {0: 0.1, 1: 0.2}])
def test_a_round_gives_way_after_the_least_number_of_tasks(
    old: dict[int, float], make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    pusher = Scripted(make_settings(), monkeypatch, [None, *[0.5] * 19], old)
    pushed = pusher.round(superseded=True)
    assert not pushed.complete
    assert len(pusher.tried) == LEAST_TASKS, (
        "what Label Studio serves next and what could not be had included"
    )
    assert pushed.message.startswith(f"{LEAST_TASKS - 1} waiting tasks")


@pytest.mark.parametrize(("missing", "rounds"), [(1, 1), (LEAST_TASKS, 1), (2 * LEAST_TASKS + 1, 3)])
def test_tasks_that_cannot_be_had_do_not_keep_a_queue_incomplete_for_ever(
    missing: int, rounds: int, make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    pusher = Scripted(make_settings(), monkeypatch, [None] * missing)
    complete = [pusher.round(superseded=True).complete for _ in range(rounds)]
    assert complete == [False] * (rounds - 1) + [True]
    assert pusher.tried == list(range(missing)), "each once"
    pusher.round()
    assert pusher.tried == [*range(missing), *range(missing)], "a later round tries them again"


def test_the_recipe_is_the_settings(make_settings: Callable[..., Settings]) -> None:
    recipe = recipe_of(make_settings(selection="top", initial="coverage", queries_per_task=7))
    assert (recipe.selection, recipe.initial, recipe.queries, recipe.device) == (
        "top",
        "coverage",
        7,
        "cpu",
    )
