"""What is kept of a long queue, and how little memory it takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from backend.learning.task_table import DONE, IN_VAIN, TaskTable
from backend.learning.waiting import WaitingTasks
from backend.studio import TaskInfo

pytestmark = pytest.mark.unit

PAGE = 500


def pages(count: int) -> Iterator[Sequence[TaskInfo]]:
    """Tasks 1 to count; every third is labelled, every second has a score."""
    for start in range(1, count + 1, PAGE):
        yield [
            TaskInfo(task, {}, task % 3 == 0, (task % 100) / 100 if task % 2 else None)
            for task in range(start, min(start + PAGE, count + 1))
        ]


def read(waiting: WaitingTasks, count: int, labelled: dict[int, bool] | None = None) -> None:
    assert waiting.read(
        lambda _after: pages(count), labelled or {}, count, served=False, is_over=lambda: False
    )


def test_a_task_takes_at_most_sixteen_bytes() -> None:
    waiting = WaitingTasks()
    waiting.follow("v1", 0)
    read(waiting, 100_000)
    assert waiting._table.nbytes <= 16 * 100_000
    assert not waiting._parts
    assert not waiting._loose


def test_the_least_certain_come_first_then_the_unknown_by_id() -> None:
    waiting = WaitingTasks()
    waiting.follow("v1", 0)
    read(waiting, 2000, {3: False, 5: True})
    left = waiting.left({3: False, 5: True}).tolist()
    wanted = [task for task in range(1, 2001) if (task % 3 or task == 3) and task != 5]
    scores = {task: (task % 100) / 100 if task % 2 else 2.0 for task in wanted}
    assert left == sorted(wanted, key=lambda task: (scores[task], task))
    waiting.give({left[0]: 0.5})
    waiting.give_up(left[1])
    assert waiting.left({3: False, 5: True}).tolist() == left[2:]
    waiting.finish()
    assert waiting.left({3: False, 5: True}).tolist() == left[1:]


def test_what_is_known_of_tasks_survives_a_new_list() -> None:
    waiting = WaitingTasks()
    waiting.follow("v1", 0)
    waiting.give({4: 0.25})  # before any list
    waiting.give_up(8)
    read(waiting, 1000)
    waiting.give({10: 0.75})
    read(waiting, 900)
    left = waiting.left({}).tolist()
    assert {4, 8, 10}.isdisjoint(left)
    waiting.follow("v2", 0)
    waiting.finish()
    left = waiting.left({}).tolist()
    assert {4, 8, 10} <= set(left)
    assert left.index(4) < left.index(25) < left.index(35), "by the score that it has had"


def test_a_table_tells_of_ids_that_it_does_not_have() -> None:
    table = TaskTable(np.array([2, 4, 9]))
    assert table.has(np.array([1, 2, 3, 9, 10])).tolist() == [False, True, False, True, False]
    assert table.score({4: 0.5, 5: 0.1}, DONE).tolist() == [True, False]
    chosen = table.chosen(np.array([1, 4, 10]))
    assert chosen.flags.tolist() == [0, DONE, 0]
    assert np.isnan(chosen.scores).tolist() == [True, False, True]
    table.mark(IN_VAIN, np.array([True, False, True]))
    assert table.flags.tolist() == [IN_VAIN, DONE, IN_VAIN]
    table.clear(IN_VAIN)
    assert (table.count(IN_VAIN), table.count(DONE)) == (0, 1)
    assert TaskTable().has(np.array([1])).tolist() == [False]
    assert len(TaskTable.joined([])) == 0
