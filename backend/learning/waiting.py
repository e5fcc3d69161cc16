"""A project's queue as Label Studio has last listed it, kept between rounds: some bytes a task, and no task's data.

To list a thousand tasks takes Label Studio a second, in which it keeps annotators waiting.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from backend.learning.task_table import DONE, IN_VAIN, SKIPPED, TaskTable
from backend.studio import TaskInfo

LISTED_SECONDS = 300.0
"""So long the list is believed; what is imported, deleted or edited meanwhile is noticed after that at the latest."""
QUICK_SECONDS = 30.0
"""A list that takes longer to read is believed longer in proportion, so that tasks are scored between two readings."""
Listing = Callable[[int], Iterable[Sequence[TaskInfo]]]
"""Pages of tasks by id, of those above a given id."""


class WaitingTasks:
    """The tasks of one project that may get predictions, their latest scores, and who has those of the live version.

    Scores are in [0, 1], the least certain lowest. The labelled tasks of a round are taken from what it has read, so
    that the list needs no reading for them.
    """

    def __init__(self) -> None:
        self._table = TaskTable()
        self._loose: dict[int, float] = {}
        """Scores of done tasks that are in no list yet: a few, which were pushed before it was read."""
        self._lost: set[int] = set()
        """Tasks in no list yet that could not be had."""
        self._version = ""
        self._stored = 0
        """Predictions of the version that Label Studio has, as far as is known."""
        self._parts: list[TaskTable] = []
        self._pages: Iterator[Sequence[TaskInfo]] | None = None
        self._took = self._believed_until = 0.0
        self._task_number = -1
        self._labelled: Mapping[int, bool] = {}
        self._unlabelled = np.zeros(0, dtype=bool)

    def follow(self, version: str, stored: int) -> None:
        """From now on it is about this version, of which Label Studio has so many predictions.

        Where these are others than are known of, somebody else has pushed or deleted some, and the list is read anew.
        """
        if version != self._version or not stored:
            self._version, self._stored, self._loose = version, 0, {}
            for table in (self._table, *self._parts):
                table.clear(DONE)
        known = self._table.count(DONE) + len(self._loose) if self._pages is None else self._stored
        if stored != known:
            self._believed_until, self._pages = 0.0, None
        self._stored = stored

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
        listing: Listing,
        labelled: Mapping[int, bool],
        task_number: int,
        *,
        served: bool,
        is_over: Callable[[], bool],
    ) -> bool:
        """Go through the pages of Label Studio's list; False where others came first: the next call goes on there.

        Of a list that is believed and has become longer, only what is new is read.
        ``served``: Label Studio serves the followed version, so that a task with a score has a prediction of it.
        """
        if self._pages is None:
            self._begin(listing, task_number)
        began = time.monotonic()
        for page in self._pages or ():
            self._add(page, labelled, served=served)
            if is_over():
                self._took += time.monotonic() - began
                return False
        self._took += time.monotonic() - began
        self._end()
        return True

    def _begin(self, listing: Listing, task_number: int) -> None:
        grown = time.monotonic() < self._believed_until and 0 <= self._task_number < task_number
        self._parts = [self._table] if grown else []
        self._pages = iter(listing(self._table.last if grown else 0))
        self._task_number, self._took = task_number, 0.0
        if not grown:
            self._believed_until = 0.0

    def _end(self) -> None:
        table = TaskTable.joined(self._parts)
        table.score(self._loose, DONE)
        table.note(list(self._lost), IN_VAIN)
        self._table, self._parts, self._pages = table, [], None
        self._loose, self._lost, self._labelled = {}, set(), {}
        if not self._believed_until:
            believed = LISTED_SECONDS * max(1.0, self._took / QUICK_SECONDS)
            self._believed_until = time.monotonic() + believed
        elif len(table) != self._task_number:  # not only has it become longer
            self._believed_until = 0.0

    def _add(self, page: Sequence[TaskInfo], labelled: Mapping[int, bool], *, served: bool) -> None:
        ids = np.array([task.id for task in page], dtype=np.int64)
        scores = np.array([np.nan if task.score is None else task.score for task in page], dtype=np.float32)
        part = self._table.chosen(ids)
        told = ~np.isnan(scores)
        part.scores[told] = scores[told]
        if served:
            part.mark(DONE, told)
        part.mark(SKIPPED, np.array([task.is_labeled and task.id not in labelled for task in page], bool))
        self._parts.append(part)

    def give(self, scores: Mapping[int, float]) -> None:
        """These tasks have got predictions of the followed version."""
        known = self._table.score(scores, DONE)
        self._loose |= {task: scores[task] for task, listed in zip(scores, known, strict=True) if not listed}
        for part in self._parts:
            part.score(scores, DONE)
        self._stored += len(scores)

    def give_up(self, task: int) -> None:
        """A task that cannot be had: the rounds that go on with this queue leave it out."""
        if not self._table.note([task], IN_VAIN).all():
            self._lost.add(task)
        for part in self._parts:
            part.note([task], IN_VAIN)

    def untried(self, tasks: Sequence[TaskInfo]) -> list[TaskInfo]:
        """Those of the tasks that nobody has given up."""
        ids = np.array([task.id for task in tasks], dtype=np.int64)
        vain = self._table.chosen(ids).flags & IN_VAIN
        return [
            task
            for task, given_up in zip(tasks, vain, strict=True)
            if not given_up and task.id not in self._lost
        ]

    def finish(self) -> None:
        """The queue has been gone through: the next round tries again what could not be had."""
        self._table.clear(IN_VAIN)
        self._lost.clear()

    def left(self, labelled: Mapping[int, bool]) -> NDArray[np.int64]:
        """Unlabelled tasks that have nothing of the followed version, the least certain first, then the unknown."""
        table = self._table
        where = np.flatnonzero(self._is_unlabelled(labelled) & (table.flags & (DONE | IN_VAIN) == 0))
        order = np.argsort(table.scores[where], kind="stable")  # NaN, the unknown, comes last
        return table.ids[where[order]]

    def scores(self, labelled: Mapping[int, bool]) -> NDArray[np.float32]:
        """The known scores of unlabelled tasks."""
        found = self._table.scores[self._is_unlabelled(labelled)]
        return np.asarray(found[~np.isnan(found)])

    def _is_unlabelled(self, labelled: Mapping[int, bool]) -> NDArray[np.bool_]:
        if labelled is not self._labelled or len(self._unlabelled) != len(self._table):
            table = self._table
            self._unlabelled = table.flags & SKIPPED == 0
            ids = np.fromiter(labelled, np.int64, len(labelled))
            complete = np.fromiter(labelled.values(), bool, len(labelled))
            known = table.has(ids)
            self._unlabelled[table.places(ids[known])] = ~complete[known]
            self._labelled = labelled
        return self._unlabelled
