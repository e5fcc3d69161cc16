"""Counts over the tables, for /metrics, /ready and the status page.

To count labels takes a second for some millions. A count that takes long is remembered ten times as long, so that this
process counts for a tenth of the time at most, however many people look.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import func, select

from backend.database import Database
from backend.tables import LABELS, OUTBOX, PROJECTS, ROUNDS

QUICK_SECONDS = 0.1
"""What is counted in less is counted each time."""
REMEMBERED = 10
"""How much longer than it took a count is remembered."""


@dataclass(frozen=True)
class _Count:
    """Rows of a query, how long they took, and until when, by time.monotonic, they are the answer."""

    rows: list[Any]
    seconds: float
    until: float


class Overview:
    """Reads only. A method that has to ask the database raises StoreUnavailable where that does. Thread-safe."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._counts: dict[tuple[str, int | None], _Count] = {}
        self._lock = threading.Lock()

    def ping(self) -> None:
        """Ask the database for one row."""
        self._rows(select(PROJECTS.c.id).limit(1))

    def rounds(self) -> dict[tuple[str, str], int]:
        """Number of rounds by (kind, state)."""
        query = select(ROUNDS.c.kind, ROUNDS.c.state, func.count()).group_by(ROUNDS.c.kind, ROUNDS.c.state)
        return {(kind, state): count for kind, state, count in self._rows(query)}

    def labels(self) -> dict[int, int]:
        """Number of stored pixel labels by project, "cannot tell" included."""
        query = select(LABELS.c.project, func.count()).group_by(LABELS.c.project)
        return {project: count for project, count in self._counted(query, "labels")}  # noqa: C416 - rows are no pairs to mypy

    def class_labels(self, project: int) -> dict[str, int]:
        """Number of stored pixel labels of a project by class."""
        query = select(LABELS.c.label, func.count()).where(LABELS.c.project == project)
        rows = self._counted(query.group_by(LABELS.c.label), "class_labels", project)
        return {label: count for label, count in rows}  # noqa: C416

    def labelled_tasks(self, project: int) -> int:
        """Number of tasks that have pixel labels."""
        query = select(func.count(func.distinct(LABELS.c.task))).where(LABELS.c.project == project)
        return int(self._counted(query, "labelled_tasks", project)[0][0])

    def seconds_per_pixel(self, project: int) -> float | None:
        """What a labelled pixel has cost people, by the last round; None where that is not known."""
        rows = self._rows(select(PROJECTS.c.seconds_per_pixel).where(PROJECTS.c.id == project))
        return None if not rows or rows[0][0] is None else float(rows[0][0])

    def parcels(self) -> int:
        """Bulks of predictions that wait for Label Studio."""
        return int(self._rows(select(func.count()).select_from(OUTBOX))[0][0])

    def _counted(self, query: Any, name: str, project: int | None = None) -> list[Any]:
        """Rows of a query over labels, or those remembered: while one caller counts anew, others get the old ones."""
        key = (name, project)
        began = time.monotonic()
        with self._lock:
            known = self._counts.get(key)
            if known is not None:
                if began < known.until:
                    return known.rows
                self._counts[key] = replace(known, until=began + REMEMBERED * known.seconds)
        rows = self._rows(query)
        ended = time.monotonic()
        took = ended - began
        with self._lock:
            if took < QUICK_SECONDS:
                self._counts.pop(key, None)
            else:
                self._counts[key] = _Count(rows, took, ended + REMEMBERED * took)
        return rows

    def _rows(self, query: Any) -> list[Any]:
        with self._database.read() as db:
            return list(db.execute(query))
