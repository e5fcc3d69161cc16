"""The tasks behind those that annotators see next may be scored elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import pytest

from backend.learning.pushing import LEAST_TASKS
from backend.learning.queue import Queue
from backend.learning.scoring import IsOver, Mean, Proposals
from backend.settings import Settings
from backend.studio import TaskInfo
from tests.backend.learning.test_pushing import Scripted

pytestmark = pytest.mark.unit

SCORES = [0.9, 0.7, 0.5, 0.4, 0.3, 0.2, 0.1, 0.1]


class Elsewhere:
    """Knows the predictions; ``asked``: the tasks of each chunk, ``told``: the mean when it came up.

    ``ahead``: so many tasks have been begun when the turn is over.
    """

    def __init__(self, missing: Sequence[int] = (), ahead: int = 0) -> None:
        self.asked: list[list[int]] = []
        self.told: list[float | None] = []
        self.made = 0
        self.closed = False
        self._missing = missing
        self._ahead = ahead

    def proposals(
        self, queue: Queue, chunks: Iterable[Sequence[TaskInfo]], mean: Mean, is_over: IsOver
    ) -> Proposals:
        try:
            for tasks in list(chunks) if self._ahead else chunks:
                self.asked.append([task.id for task in tasks])
                self.told.append(mean())
                for task in tasks:
                    self._ahead -= is_over()
                    if self._ahead < 0:
                        return
                    self.made += 1
                    here = {
                        "task": task.id,
                        "score": SCORES[task.id],
                        "result": [],
                        "model_version": queue.version,
                    }
                    yield None if task.id in self._missing else here
        finally:
            self.closed = True


@pytest.fixture
def make(
    make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> Callable[[Elsewhere], Scripted]:
    def made(elsewhere: Elsewhere) -> Scripted:
        pusher = Scripted(make_settings(first_push=2, push_chunk=4), monkeypatch, SCORES)
        pusher._scoring = elsewhere
        return pusher

    return made


def test_what_annotators_see_next_is_scored_here_and_the_rest_elsewhere_in_the_order_of_the_queue(
    make: Callable[[Elsewhere], Scripted],
) -> None:
    elsewhere = Elsewhere()
    pusher = make(elsewhere)
    pushed = pusher.round()
    assert pushed.complete
    assert pusher.tried == [0, 1]
    assert elsewhere.asked == [[2, 3], [4, 5, 6, 7]]
    assert elsewhere.closed
    assert pusher.shelf.versions["v1"] == dict(enumerate(SCORES))


def test_a_chunk_is_told_the_mean_of_all_that_was_pushed_before_it(
    make: Callable[[Elsewhere], Scripted],
) -> None:
    elsewhere = Elsewhere()
    make(elsewhere).round()
    assert elsewhere.told == pytest.approx([0.2, (0.1 + 0.3 + 0.5 + 0.6) / 4])


def test_a_round_that_gives_way_takes_no_more_and_says_so(make: Callable[[Elsewhere], Scripted]) -> None:
    pusher = make(Elsewhere())
    pusher.round()
    pusher._scoring = later = Elsewhere(ahead=3)
    pushed = pusher.round(superseded=True, version="v2")
    assert not pushed.complete
    assert later.made == LEAST_TASKS - 2 + 3
    assert len(pusher.shelf.versions["v2"]) == LEAST_TASKS + 3, "what was begun is not thrown away"
    assert later.closed


def test_who_cannot_be_had_elsewhere_is_left_out(make: Callable[[Elsewhere], Scripted]) -> None:
    pusher = make(Elsewhere(missing=[3]))
    pushed = pusher.round()
    assert pushed.message == "7 waiting tasks pushed"
    assert 3 not in pusher.shelf.versions["v1"]
