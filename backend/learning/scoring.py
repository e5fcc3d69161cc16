"""Where the tasks of a queue are scored: here, one after another, or wherever an engine has them scored."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from backend.studio import TaskInfo

if TYPE_CHECKING:
    from backend.learning.queue import Queue

Prediction = dict[str, Any]
"""Of one task, as Label Studio imports it."""
Mean = Callable[[], float | None]
"""The mean uncertainty of the queue, as far as it is known when it is asked for."""
IsOver = Callable[[], bool]
Proposals = Generator[Prediction | None, None, None]


class Scoring(Protocol):
    """Turns tasks into predictions."""

    def proposals(
        self, queue: Queue, chunks: Iterable[Sequence[TaskInfo]], mean: Mean, is_over: IsOver
    ) -> Proposals:
        """One prediction for each task of the chunks, in their order; None where its image cannot be had.

        Where the budget goes over the queue, a chunk is told the mean uncertainty after those before it were taken.
        The predictions depend on nothing else, least of all on who makes them. Once ``is_over`` says so, no task is
        begun any more, and this ends after those that were. Whoever takes no more closes this.
        """


class ScoringHere:
    """One task after another in this process, each when it is asked for."""

    def __init__(self, proposal: Callable[[Queue, TaskInfo, float | None], Prediction | None]) -> None:
        self._proposal = proposal

    def proposals(
        self, queue: Queue, chunks: Iterable[Sequence[TaskInfo]], mean: Mean, is_over: IsOver
    ) -> Proposals:
        """See `Scoring`."""
        for tasks in chunks:
            of_queue = mean()
            for task in tasks:
                if is_over():
                    return
                yield self._proposal(queue, task, of_queue)
