"""In which order the tasks of a queue are pushed, when a round gives way, and how many queries a task gets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from backend.errors import ImageProblem, StudioUnavailable
from backend.learning import waiting
from backend.learning.pushing import LEAST_TASKS, Pushed, Pusher
from backend.learning.queue import Proposer, Queue, recipe_of
from backend.settings import Settings
from backend.studio import TaskInfo
from label_config import read_schema, render

pytestmark = pytest.mark.unit

PAGE = 20


class Shelf:
    """Stands for a Label Studio with so many tasks, and for the delivery to it; ``old``: scores of version v0."""

    def __init__(self, tasks: int, old: Mapping[int, float]) -> None:
        self.count = tasks
        self.versions = {"v0": dict(old), "v1": {}}
        self.served = "v0"
        self.listed = 0
        self.pages = 0
        self.most_chosen = 0
        self.annotated: dict[int, bool] = {}

    @property
    def tasks(self) -> list[TaskInfo]:
        scores = self.versions[self.served]
        return [
            TaskInfo(place, {"image": f"/{place}.png"}, self.annotated.get(place, False), scores.get(place))
            for place in range(self.count)
        ]

    def task_pages(self, _project: int, after: int) -> Iterator[list[TaskInfo]]:
        self.listed += 1
        listed = [task for task in self.tasks if task.id > after or not after]
        for start in range(0, len(listed), PAGE):
            self.pages += 1
            yield [replace(task, data={}) for task in listed[start : start + PAGE]]

    def chosen_tasks(self, _project: int, tasks: Sequence[int]) -> list[TaskInfo]:
        self.most_chosen = max(self.most_chosen, len(tasks))
        return [self.tasks[task] for task in tasks if task < self.count]

    def model_versions(self, _project: int) -> dict[str, int]:
        return {name: len(scores) for name, scores in self.versions.items() if scores}

    def next_tasks(self, _project: int, count: int) -> list[TaskInfo]:
        free = [task for task in self.tasks if not task.is_labeled]
        return sorted(free, key=lambda task: 2.0 if task.score is None else task.score)[:count]

    def flush(self, _version: str) -> None:
        pass

    def send(self, version: str, predictions: Sequence[dict[str, Any]]) -> None:
        self.versions.setdefault(version, {}).update({p["task"]: p["score"] for p in predictions})

    def switch_to(self, version: str) -> None:
        self.served = version

    def remove_superseded(self, version: str, _is_over: Callable[[], bool]) -> bool:
        self.versions = {version: self.versions[version]}
        return True


class Scripted(Pusher):
    """A push of tasks of known scores; ``tried`` and ``told``: the tasks, and what each is told of the queue."""

    def __init__(
        self,
        settings: Settings,
        monkeypatch: pytest.MonkeyPatch,
        scores: Sequence[float | None],
        old: Mapping[int, float] | None = None,
    ) -> None:
        self.shelf = Shelf(len(scores), old or {})
        proposer = Proposer(settings, None)  # type: ignore[arg-type]
        super().__init__(settings, self.shelf, proposer)  # type: ignore[arg-type]
        self.scores = scores
        self.tried: list[int] = []
        self.told: list[float | None] = []
        monkeypatch.setattr(proposer, "_page", self._page)
        monkeypatch.setattr("backend.learning.queue.propose", self._propose)

    def _page(self, _queue: Queue, task: int, _item: int | None, _url: str) -> Any:
        self.tried.append(task)
        if self.scores[task] is None:
            raise ImageProblem("there is no such image")
        return task

    def _propose(
        self, pages: list[int], *_: object, mean_uncertainty: float | None, confirm: bool
    ) -> dict[str, Any]:
        assert not confirm
        self.told.append(mean_uncertainty)
        return {"score": self.scores[pages[0]], "result": []}

    def round(self, superseded: bool = False, version: str = "v1") -> Pushed:
        schema = read_schema(render("pixel", ["cat", "dog"]))
        assert schema.pixel_image is not None
        shelf = self.shelf
        queue = Queue(
            1, schema, schema.pixel_image, version, None, {},
            served=shelf.served, task_number=len(shelf.tasks), labelled=dict(shelf.annotated),
        )  # fmt: skip
        return self.push(queue, shelf, lambda *_: None, lambda: superseded)  # type: ignore[arg-type]


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
def test_a_round_gives_way_after_what_is_served_next_and_then_after_the_least_number_of_tasks(
    old: dict[int, float], make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    pusher = Scripted(make_settings(first_push=2), monkeypatch, [None, *[0.5] * (PAGE - 1)], old)
    first = pusher.round(superseded=True)
    if not old:  # else the list was read before
        assert len(pusher.tried) == 2, "what could not be had included"
        assert first == Pushed("1 waiting tasks pushed, then others came first", False)
        pusher.tried.clear()
        first = pusher.round(superseded=True)
    assert not first.complete
    assert len(pusher.tried) == LEAST_TASKS


@pytest.mark.parametrize(("missing", "rounds"), [(1, 2), (LEAST_TASKS, 2), (2 * LEAST_TASKS + 1, 3)])
def test_tasks_that_cannot_be_had_do_not_keep_a_queue_incomplete_for_ever(
    missing: int, rounds: int, make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    pusher = Scripted(make_settings(first_push=2), monkeypatch, [None] * missing)
    complete = [pusher.round(superseded=True).complete for _ in range(rounds)]
    assert complete == [False] * (rounds - 1) + [True]
    assert pusher.tried == list(range(missing)), "each once"
    pusher.round()
    assert pusher.tried == [*range(missing), *range(missing)], "a later round tries them again"


def test_a_list_is_read_once_and_followed_through_versions(
    make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    pusher = Scripted(make_settings(), monkeypatch, [0.5] * 20)
    pusher.round()
    assert sorted(pusher.tried) == list(range(20))
    pusher.tried.clear()
    pusher.shelf.annotated = {3: True, 4: False}
    pusher.round(version="v2")
    assert sorted(pusher.tried) == [n for n in range(20) if n != 3], "4 wants another annotation"
    pusher.tried.clear()
    pusher.shelf.annotated = {}
    pusher.round(version="v2")
    assert pusher.tried == [3], "its annotation was deleted"
    assert pusher.shelf.listed == 1


def test_a_list_is_read_again_when_tasks_come_or_go_or_it_is_old(
    make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    pusher = Scripted(make_settings(), monkeypatch, [0.5] * 20)
    pusher.shelf.count = 10
    pusher.round()
    pusher.shelf.count = 12
    pusher.round()
    assert sorted(pusher.tried) == list(range(12)), "each once"
    assert pusher.shelf.listed == 2
    pusher.round()
    assert pusher.shelf.listed == 2
    monkeypatch.setattr(waiting, "LISTED_SECONDS", 0.0)
    pusher.shelf.count = 11
    pusher.round()
    pusher.round()
    assert pusher.shelf.listed == 4
    assert len(pusher.tried) == 12


def test_a_long_list_is_read_on_by_the_rounds_that_come_between(
    make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    count = 3 * PAGE
    pusher = Scripted(make_settings(first_push=2), monkeypatch, [0.5] * count)
    for version in ("v1", "v2", "v3"):
        pusher.tried.clear()
        assert not pusher.round(superseded=True, version=version).complete
        assert len(pusher.tried) == 2
    assert pusher.shelf.listed == 1
    pusher.tried.clear()
    assert pusher.round(version="v4").complete
    assert sorted(pusher.tried) == list(range(count))
    assert pusher.shelf.listed == 1


def test_predictions_that_somebody_has_deleted_are_pushed_again(
    make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    pusher = Scripted(make_settings(), monkeypatch, [0.5] * 20)
    pusher.round()
    pusher.shelf.versions["v1"] = {}
    pusher.round()
    assert sorted(pusher.tried) == sorted([*range(20), *range(20)])


def test_what_another_process_has_pushed_is_not_pushed_again(
    make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = Scripted(make_settings(first_push=2), monkeypatch, [0.5] * 20)
    one.round()
    one.tried.clear()
    other = Scripted(make_settings(first_push=2), monkeypatch, [0.5] * 20)
    other.shelf = one.shelf
    other._studio = one.shelf  # type: ignore[assignment]
    assert not one.round(superseded=True, version="v2").complete
    assert other.round(version="v2").complete
    assert one.round(version="v2").complete
    assert sorted([*one.tried, *other.tried]) == list(range(20)), "each once"
    assert other.tried


def test_after_a_failure_what_label_studio_has_is_asked_for(
    make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    pusher = Scripted(make_settings(first_push=2), monkeypatch, [0.5] * 20)
    real = pusher.shelf.send

    def arrives_unheard(version: str, predictions: Sequence[dict[str, Any]]) -> None:
        real(version, predictions)
        raise StudioUnavailable("the answer is lost")

    with monkeypatch.context() as patched:
        patched.setattr(pusher.shelf, "send", arrives_unheard)
        with pytest.raises(StudioUnavailable):
            pusher.round()
    pusher.round()
    assert pusher.shelf.served == "v1"
    assert sorted(pusher.tried) == list(range(20)), "each once"


def test_the_recipe_is_the_settings(make_settings: Callable[..., Settings]) -> None:
    recipe = recipe_of(make_settings(selection="top", initial="coverage", queries_per_task=7))
    assert (recipe.selection, recipe.initial, recipe.queries, recipe.device) == (
        "top",
        "coverage",
        7,
        "cpu",
    )


def test_of_a_list_that_has_become_longer_only_what_is_new_is_read(
    make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    pusher = Scripted(make_settings(), monkeypatch, [0.5] * 4 * PAGE)
    shelf = pusher.shelf
    shelf.count = 3 * PAGE
    pusher.round()
    assert shelf.pages == 3
    shelf.count = 3 * PAGE + 5
    pusher.round()
    assert shelf.pages == 4
    assert sorted(pusher.tried) == list(range(shelf.count)), "each once"


def test_a_long_list_keeps_no_annotator_waiting_after_a_restart(
    make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backend.learning.pushing.SHORT_LIST", 10)
    old = {task: 0.9 - 0.01 * task for task in range(20)}
    pusher = Scripted(make_settings(first_push=2), monkeypatch, [0.5] * 20, old)
    pusher.round(superseded=True)
    assert pusher.tried == [19, 18], "those that Label Studio serves next, and before any list is read"
    pusher.round()
    assert sorted(pusher.tried) == list(range(20)), "each once"


def test_a_restart_amid_a_long_list_goes_on_with_it_although_others_come_first(
    make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    count = 4 * PAGE
    before = Scripted(make_settings(first_push=2), monkeypatch, [0.5] * count)
    before.round(superseded=True)
    after = Scripted(make_settings(first_push=2), monkeypatch, [0.5] * count)
    after.shelf = after._studio = before.shelf  # type: ignore[assignment]
    after.shelf.pages = 0
    for _ in range(4):
        after.round(superseded=True)
    assert after.shelf.pages == 4, "one a round, and none twice"
    assert after.round().complete
    assert sorted([*before.tried, *after.tried]) == list(range(count)), "each once"


def test_the_data_of_few_tasks_is_held_at_once(
    make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    pusher = Scripted(make_settings(first_push=2, push_chunk=8), monkeypatch, [0.5] * 5 * PAGE)
    assert pusher.round().complete
    assert sorted(pusher.tried) == list(range(5 * PAGE))
    assert pusher.shelf.most_chosen == 8


def test_tasks_that_are_deleted_after_they_were_listed_do_not_keep_a_queue_incomplete(
    make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    pusher = Scripted(make_settings(), monkeypatch, [0.5] * 20)
    pusher.round()
    pusher.shelf.versions["v2"] = {}
    pusher.tried.clear()
    real = pusher.shelf.chosen_tasks

    def without_the_last(project: int, tasks: Sequence[int]) -> list[TaskInfo]:
        return [task for task in real(project, tasks) if task.id != 19]

    monkeypatch.setattr(pusher.shelf, "chosen_tasks", without_the_last)
    assert pusher.round(version="v2", superseded=False).complete
    assert sorted(pusher.tried) == list(range(19))
