"""The pixel labels of all projects, in a table: replaced by what Label Studio says, a bounded number at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Delete, delete, insert, select

from backend.database import Database
from backend.tables import LABELS

PART = 10_000
"""About so many labels are compared and written at a time, so that other writers wait for fractions of a second."""
DELETED_TASKS = 500
"""In one statement; SQLite takes no more than 999 values in old releases."""
LAST_TASK = 2**31 - 1
"""No task has a higher id: the column ends there."""


@dataclass(frozen=True)
class StoredLabel:
    """One pixel label as Label Studio last told it; ``item`` is the page of a multi-image task, else 0."""

    task: int
    item: int
    row: int
    col: int
    label: str

    @property
    def key(self) -> tuple[int, int, int, int]:
        return self.task, self.item, self.row, self.col


class StoredLabels:
    """Access to the table of labels. Every method raises StoreUnavailable where the database does."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def read(self, project: int, *tasks: ColumnElement[bool]) -> Iterator[StoredLabel]:
        """The labels of a project, of those tasks that meet the conditions, in the order of tasks."""
        key = LABELS.c.task, LABELS.c.item, LABELS.c.row, LABELS.c.col
        query = select(*key, LABELS.c.label).where(LABELS.c.project == project, *tasks).order_by(*key)
        with self._database.read() as db:
            for row in db.execute(query):
                yield StoredLabel(*row)

    def replace(self, project: int, labels: Iterable[StoredLabel]) -> int:
        """Make the labels of a project equal to these; returns how many changed, came or went.

        labels: in the order of their tasks. They are compared and written a part at a time, each whole or not at all;
        others may write in between.
        """
        changed, done = 0, -1
        for last, part in _parts(labels):
            for end in self._ends(project, done, last):
                wanted = [label for label in part if done < label.task <= end]
                changed += self._replace_part(project, done, end, wanted)
                done = end
        return changed

    def _ends(self, project: int, above: int, last: int) -> Iterator[int]:
        """Tasks up to the last, with no more than about PART stored labels from one to the next."""
        task = LABELS.c.task
        while True:
            query = select(task).where(LABELS.c.project == project, task > above, task < last)
            with self._database.read() as db:
                end = db.execute(query.order_by(task).offset(PART).limit(1)).scalar()
            if end is None:
                break
            yield end
            above = end
        yield last

    def _replace_part(self, project: int, above: int, last: int, labels: Sequence[StoredLabel]) -> int:
        """The labels of the tasks above one and up to the last. A task with a change is written anew.

        To delete single labels SQLite would search the whole project: of a list of rows it uses no index.
        """
        wanted = {label.key: label for label in labels}
        found = self.read(project, LABELS.c.task > above, LABELS.c.task <= last)
        stored = {label.key: label for label in found}
        changed = [key for key in wanted.keys() | stored.keys() if wanted.get(key) != stored.get(key)]
        if not changed:
            return 0
        tasks = sorted({task for task, *_ in changed})
        anew = set(tasks)
        fresh = [{"project": project, **vars(label)} for label in wanted.values() if label.task in anew]
        with self._database.write() as db:
            for start in range(0, len(tasks), DELETED_TASKS):
                db.execute(_deletion(project, tasks[start : start + DELETED_TASKS]))
            if fresh:
                db.execute(insert(LABELS), fresh)
        return len(changed)


def _deletion(project: int, tasks: Sequence[int]) -> Delete:
    """Of the labels of these tasks, in order. Without their range PostgreSQL may read all tasks of the project."""
    task = LABELS.c.task
    range_ = task.between(tasks[0], tasks[-1])
    return delete(LABELS).where(LABELS.c.project == project, range_, task.in_(tasks))


def _parts(labels: Iterable[StoredLabel]) -> Iterator[tuple[int, list[StoredLabel]]]:
    """(last task, labels up to it): whole tasks, of about PART labels together, and all tasks behind in the end."""
    part: list[StoredLabel] = []
    for label in labels:
        if len(part) >= PART and label.task != part[-1].task:
            yield part[-1].task, part
            part = []
        part.append(label)
    yield LAST_TASK, part
