"""The pixel labels of all projects, in a table: replaced by what Label Studio says, a bounded number at a time."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from sqlalchemy import ColumnElement, delete, insert, select, update

from backend.database import Database
from backend.tables import LABELS, PROJECTS

PART = 10_000
"""About so many labels are compared and written at a time, so that other writers wait for fractions of a second."""
TASKS = 500
"""Named in one statement; SQLite takes no more than 999 values in old releases."""
LAST_TASK = 2**31 - 1
"""No task has a higher id: the column ends there."""
Conditions = tuple[ColumnElement[bool], ...]


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


Part = tuple[Conditions, list[StoredLabel]]
"""Which tasks, and their labels."""


@dataclass(frozen=True)
class Reading:
    """What is known of labels that were read from Label Studio. ``mark``: a name that no other reading has.

    ``before``: mark of an earlier reading, from which this one differs in the tasks ``changed`` alone; None: in any.
    """

    before: str | None = None
    changed: frozenset[int] = frozenset()
    mark: str = field(default_factory=lambda: secrets.token_hex(8))


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

    def replace(self, project: int, labels: Iterable[StoredLabel], reading: Reading) -> int:
        """Make the labels of a project equal to these; returns how many changed, came or went.

        labels: in the order of their tasks. They are compared and written a part at a time, each whole or not at all;
        others may write in between. Only changed tasks are compared where the stored labels are those of the reading
        before. The project bears its mark then: each writer puts another one there when it begins, its own when all is
        written, and takes away one that is not its own whenever it writes.
        """
        under_way = f"{reading.mark}?"
        follows = reading.before is not None and self._sign(project, under_way, over=reading.before)
        if not follows:
            self._sign(project, under_way)
        ranges = self._chosen(labels, reading.changed) if follows else self._all(project, labels)
        changed = sum(self._replace_part(project, tasks, part, under_way) for tasks, part in ranges)
        self._sign(project, reading.mark, over=under_way)
        return changed

    def _sign(self, project: int, mark: str, *, over: str | None = None) -> bool:
        """Mark a project; with ``over`` only one that bears that mark. False where there is none such."""
        row = update(PROJECTS).where(PROJECTS.c.id == project)
        if over is not None:
            row = row.where(PROJECTS.c.labels_from == over)
        with self._database.write() as db:
            return db.execute(row.values(labels_from=mark)).rowcount == 1

    def _all(self, project: int, labels: Iterable[StoredLabel]) -> Iterator[Part]:
        """All tasks there may be, those without labels too."""
        done = -1
        for last, part in _parts(labels):
            for end in self._ends(project, done, last):
                wanted = [label for label in part if done < label.task <= end]
                yield (LABELS.c.task > done, LABELS.c.task <= end), wanted
                done = end

    def _chosen(self, labels: Iterable[StoredLabel], tasks: frozenset[int]) -> Iterator[Part]:
        numbers = sorted(tasks)
        wanted = [label for label in labels if label.task in tasks]
        for start in range(0, len(numbers), TASKS):
            chunk = numbers[start : start + TASKS]
            yield _among(chunk), [label for label in wanted if chunk[0] <= label.task <= chunk[-1]]

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

    def _replace_part(
        self, project: int, tasks: Conditions, labels: Sequence[StoredLabel], under_way: str
    ) -> int:
        """The labels of the tasks that meet the conditions. A task with a change is written anew.

        To delete single labels SQLite would search the whole project: of a list of rows it uses no index.
        """
        wanted = {label.key: label for label in labels}
        stored = {label.key: label for label in self.read(project, *tasks)}
        changed = [key for key in wanted.keys() | stored.keys() if wanted.get(key) != stored.get(key)]
        if not changed:
            return 0
        tasks_anew = {task for task, *_ in changed}
        fresh = [{"project": project, **vars(label)} for label in wanted.values() if label.task in tasks_anew]
        anew = sorted(tasks_anew)
        others = PROJECTS.c.id == project, PROJECTS.c.labels_from != under_way
        with self._database.write() as db:
            db.execute(update(PROJECTS).where(*others).values(labels_from=None))
            for start in range(0, len(anew), TASKS):
                chunk = _among(anew[start : start + TASKS])
                db.execute(delete(LABELS).where(LABELS.c.project == project, *chunk))
            if fresh:
                db.execute(insert(LABELS), fresh)
        return len(changed)


def _among(tasks: Sequence[int]) -> Conditions:
    """One of these tasks, in order. Without their range PostgreSQL may read all tasks of the project."""
    return LABELS.c.task.between(tasks[0], tasks[-1]), LABELS.c.task.in_(tasks)


def _parts(labels: Iterable[StoredLabel]) -> Iterator[tuple[int, list[StoredLabel]]]:
    """(last task, labels up to it): whole tasks, of about PART labels together, and all tasks behind in the end."""
    part: list[StoredLabel] = []
    for label in labels:
        if len(part) >= PART and label.task != part[-1].task:
            yield part[-1].task, part
            part = []
        part.append(label)
    yield LAST_TASK, part
