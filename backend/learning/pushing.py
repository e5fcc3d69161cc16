"""Score the queue with the live version and push queries, pre-annotations and scores, next tasks first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import tee

import numpy as np
from numpy.typing import NDArray

from backend.learning.budgets import mean_uncertainty
from backend.learning.delivery import Delivery
from backend.learning.queue import Proposer, Queue
from backend.learning.scoring import Prediction, Proposals, Scoring, ScoringHere
from backend.learning.waiting import WaitingTasks
from backend.settings import Settings
from backend.studio import Studio, TaskInfo

SHORT_LIST = 2000
"""Tasks of a project whose list is read before the first of them are pushed, where that keeps their order."""
LEAST_TASKS = 4
"""Tasks of the queue that a round tries before it gives way: more than annotators have open, which Label Studio serves
to nobody else, and enough for projects that give way to each other to get on."""


@dataclass(frozen=True)
class Pushed:
    """A sentence for people; ``complete``: no task of the queue is left."""

    message: str
    complete: bool


class _Turn:
    """What a round has done of the queue; a task that could not be had is tried, but not pushed.

    ``read``: tasks behind the window that were asked of Label Studio.
    """

    def __init__(self, superseded: Callable[[], bool]) -> None:
        self.superseded = superseded
        self._over = False
        self.read = 0
        self.tried = 0
        self.pushed = 0

    def is_over(self) -> bool:
        """True once others come first, LEAST_TASKS at the earliest, and from then on."""
        self._over = self._over or (self.tried >= LEAST_TASKS and self.superseded())
        return self._over

    def given_way(self) -> Pushed:
        """That the rest is left for a later round."""
        return Pushed(f"{self.pushed} waiting tasks pushed, then others came first", False)


class Pusher:
    """Works through the queues of projects.

    scoring: of all but the tasks that Label Studio serves next. Those are scored here, where the learner is at hand.
    """

    def __init__(
        self, settings: Settings, studio: Studio, proposer: Proposer, scoring: Scoring | None = None
    ) -> None:
        self._settings = settings
        self._studio = studio
        self._here = ScoringHere(proposer.proposal)
        self._scoring = scoring or self._here
        self._queues: dict[int, WaitingTasks] = {}

    def push(
        self,
        queue: Queue,
        delivery: Delivery,
        report: Callable[[str, float], None],
        superseded: Callable[[], bool],
    ) -> Pushed:
        """Score and push until done, or superseded once LEAST_TASKS were tried or a part of the queue was read.

        What Label Studio serves next goes first, before the whole queue is read: annotators wait for it. Older
        versions stay until the queue is complete: they are all that the tasks behind have, and to delete them takes
        seconds in which somebody waits.
        """
        delivery.flush(queue.version)
        waiting = self._queues.setdefault(queue.project, WaitingTasks())
        try:
            return self._push(queue, waiting, delivery, report, _Turn(superseded))
        except BaseException:
            del self._queues[queue.project]  # what Label Studio has got is not known any more
            raise

    def _push(
        self,
        queue: Queue,
        waiting: WaitingTasks,
        delivery: Delivery,
        report: Callable[[str, float], None],
        turn: _Turn,
    ) -> Pushed:
        present = self._start(queue, waiting, delivery, turn)
        if not self._read(queue, waiting, served=present, is_over=turn.superseded):
            return turn.given_way()
        tasks = waiting.left(queue.labelled)
        pages, ahead = tee(self._pages(queue, waiting, tasks, turn))
        done = 0
        with self._scored(self._scoring, queue, waiting, ahead, turn) as scored:
            for page in pages:
                wanted = turn.tried + len(page)
                self._send(queue, waiting, delivery, page, turn, scored=scored, switch=not present)
                present = present or turn.pushed > 0
                if turn.tried < wanted:
                    return turn.given_way()
                done += len(page)
                report("push", done / len(tasks))
        if turn.read < len(tasks):
            return turn.given_way()
        waiting.finish()
        if present and not delivery.remove_superseded(queue.version, turn.superseded):
            return Pushed(
                f"{turn.pushed} waiting tasks pushed; superseded predictions are being deleted", False
            )
        return Pushed(
            f"{turn.pushed} waiting tasks pushed" if turn.tried else "all waiting tasks were up to date", True
        )

    def _pages(
        self, queue: Queue, waiting: WaitingTasks, tasks: NDArray[np.int64], turn: _Turn
    ) -> Iterator[list[TaskInfo]]:
        """The tasks of these numbers, read when they are wanted, until the turn is over; without deleted ones."""
        for numbers in self._chunks(tasks):
            if turn.is_over():
                return
            page = self._studio.chosen_tasks(queue.project, numbers)
            for deleted in set(numbers) - {task.id for task in page}:
                waiting.give_up(deleted)
            turn.read += len(numbers)
            yield page

    def _start(self, queue: Queue, waiting: WaitingTasks, delivery: Delivery, turn: _Turn) -> bool:
        """Push what Label Studio serves next, unless it has predictions of the version; whether it serves them now."""
        stored = self._studio.model_versions(queue.project)
        waiting.follow(queue.version, stored.get(queue.version, 0))
        if queue.version in stored:
            if queue.served != queue.version:
                delivery.switch_to(queue.version)
            return True
        if stored and not waiting.is_known() and queue.task_number <= SHORT_LIST:
            # Label Studio tells scores of other versions than the one it serves only together with all their masks.
            # A long list would take minutes, in which annotators wait: its tasks are pushed by their ids.
            self._read(queue, waiting, served=False, is_over=lambda: False)
        first = waiting.untried(self._studio.next_tasks(queue.project, self._settings.first_push))
        with self._scored(self._here, queue, waiting, [first], turn) as scored:
            self._send(queue, waiting, delivery, first, turn, scored=scored, switch=True)
        return turn.pushed > 0

    def _read(
        self, queue: Queue, waiting: WaitingTasks, *, served: bool, is_over: Callable[[], bool]
    ) -> bool:
        """See to it that the list is current; False where others came first."""
        if waiting.is_current(queue.task_number):
            return True
        return waiting.read(
            lambda after: self._studio.task_pages(queue.project, after=after),
            queue.labelled,
            queue.task_number,
            served=served,
            is_over=is_over,
        )

    def _scored(
        self,
        scoring: Scoring,
        queue: Queue,
        waiting: WaitingTasks,
        chunks: Iterable[Sequence[TaskInfo]],
        turn: _Turn,
    ) -> closing[Proposals]:
        """Predictions of the chunks' tasks, in their order, until the turn is over."""
        return closing(
            scoring.proposals(
                queue, chunks, lambda: mean_uncertainty(waiting.scores(queue.labelled)), turn.is_over
            )
        )

    def _send(
        self,
        queue: Queue,
        waiting: WaitingTasks,
        delivery: Delivery,
        tasks: Sequence[TaskInfo],
        turn: _Turn,
        *,
        scored: Iterator[Prediction | None],
        switch: bool,
    ) -> None:
        """Deliver tasks as far as they are scored."""
        predictions: list[Prediction] = []
        for task, prediction in zip(tasks, scored, strict=False):
            turn.tried += 1
            if prediction is None:
                waiting.give_up(task.id)
            else:
                predictions.append(prediction)
        if not predictions:
            return
        delivery.send(queue.version, predictions)
        turn.pushed += len(predictions)
        waiting.give({prediction["task"]: prediction["score"] for prediction in predictions})
        if switch:
            delivery.switch_to(queue.version)

    def _chunks(self, tasks: NDArray[np.int64]) -> Iterator[list[int]]:
        """Small ones first, so that the next tasks come soon; larger ones later, which cost Label Studio less."""
        start, size = 0, self._settings.first_push
        while start < len(tasks):
            yield tasks[start : start + size].tolist()
            start, size = (
                start + size,
                min(2 * size, max(self._settings.push_chunk, self._settings.first_push)),
            )
