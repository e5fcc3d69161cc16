"""A project's queue as Label Studio has last listed it, kept between rounds.

To list a thousand tasks takes Label Studio a second, in which it keeps annotators waiting.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from backend.studio import TaskInfo

LISTED_SECONDS = 300.0
"""So long the list is believed; what is imported, deleted or edited meanwhile is noticed after that at the latest."""


class WaitingTasks:
    """The tasks of one project that may get predictions, their latest scores, and who has those of the live version.

    Scores are in [0, 1], the least certain lowest. The labelled tasks of a round are taken from what it has read, so
    that the list needs no reading for them.
    """

    def __init__(self) -> None:
        self._tasks: dict[int, TaskInfo] = {}
        self._scores: dict[int, float] = {}
        self._skipped: set[int] = set()
        """Tasks that were labelled by no annotation that counts."""
        self._version = ""
        self._done: set[int] = set()
        self._in_vain: set[int] = set()
        self._pages: Iterator[Sequence[TaskInfo]] | None = None
        self._believed_until = 0.0
        self._task_number = -1

    def follow(self, version: str, stored: int) -> None:
        """From now on it is about this version, of which Label Studio has so many predictions.

        Where these are others than are known of, somebody else has pushed or deleted some, and the list is read anew.
        """
        if version != self._version or not stored:
            self._version, self._done = version, set()
        if stored != len(self._done):
            self._believed_until, self._pages = 0.0, None

    def is_known(self) -> bool:
        """Whether Label Studio's list has been read before."""
        return self._task_number >= 0

    def is_current(self, task_number: int) -> bool:
        """Whether the list is whole, young, and of as many tasks as the project has."""
        return (
            self._pages is None
            and time.monotonic() < self._believed_until
            and self._task_number == task_number
        )

    def read(
        self,
        listing: Callable[[], Iterable[Sequence[TaskInfo]]],
        labelled: Mapping[int, bool],
        task_number: int,
        *,
        served: bool,
        is_over: Callable[[], bool],
    ) -> bool:
        """Go through the pages of Label Studio's list; False where others came first: the next call goes on there.

        ``served``: Label Studio serves the followed version, so that a task with a score has a prediction of it.
        """
        if self._pages is None:
            self._pages = iter(listing())
            self._tasks, self._skipped = {}, set()
            self._task_number, self._believed_until = task_number, time.monotonic() + LISTED_SECONDS
        for page in self._pages:
            for task in page:
                self._add(task, labelled, served=served)
            if is_over():
                return False
        self._pages = None
        self._scores = {task: score for task, score in self._scores.items() if task in self._tasks}
        return True

    def _add(self, task: TaskInfo, labelled: Mapping[int, bool], *, served: bool) -> None:
        self._tasks[task.id] = task
        if task.is_labeled and task.id not in labelled:
            self._skipped.add(task.id)
        if task.score is not None:
            self._scores[task.id] = task.score
        if served and task.score is not None:
            self._done.add(task.id)
        elif served:
            self._done.discard(task.id)

    def give(self, scores: Mapping[int, float]) -> None:
        """These tasks have got predictions of the followed version."""
        self._scores.update(scores)
        self._done.update(scores)

    def give_up(self, task: int) -> None:
        """A task that cannot be had: the rounds that go on with this queue leave it out."""
        self._in_vain.add(task)

    def untried(self, tasks: Sequence[TaskInfo]) -> list[TaskInfo]:
        """Those of the tasks that nobody has given up."""
        return [task for task in tasks if task.id not in self._in_vain]

    def finish(self) -> None:
        """The queue has been gone through: the next round tries again what could not be had."""
        self._in_vain.clear()

    def left(self, labelled: Mapping[int, bool]) -> list[TaskInfo]:
        """Unlabelled tasks that have nothing of the followed version, the least certain first, then the unknown."""
        without = self._done | self._in_vain
        tasks = [task for task in self._unlabelled(labelled) if task.id not in without]
        return sorted(tasks, key=lambda task: (self._scores.get(task.id, 2.0), task.id))

    def scores(self, labelled: Mapping[int, bool]) -> list[float]:
        """The known scores of unlabelled tasks."""
        return [self._scores[task.id] for task in self._unlabelled(labelled) if task.id in self._scores]

    def _unlabelled(self, labelled: Mapping[int, bool]) -> Iterator[TaskInfo]:
        for task in self._tasks.values():
            if not labelled.get(task.id, task.id in self._skipped):
                yield task
