"""Counts over the tables, for /metrics, /ready and the status page: a few indexed queries each."""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, select

from backend.database import Database
from backend.tables import LABELS, OUTBOX, PROJECTS, ROUNDS


class Overview:
    """Reads only. Every method raises StoreUnavailable where the database does."""

    def __init__(self, database: Database) -> None:
        self._database = database

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
        return {project: count for project, count in self._rows(query)}  # noqa: C416 - rows are no pairs to mypy

    def class_labels(self, project: int) -> dict[str, int]:
        """Number of stored pixel labels of a project by class."""
        query = select(LABELS.c.label, func.count()).where(LABELS.c.project == project)
        return {label: count for label, count in self._rows(query.group_by(LABELS.c.label))}  # noqa: C416

    def labelled_tasks(self, project: int) -> int:
        """Number of tasks that have pixel labels."""
        query = select(func.count(func.distinct(LABELS.c.task))).where(LABELS.c.project == project)
        return int(self._rows(query)[0][0])

    def seconds_per_pixel(self, project: int) -> float | None:
        """What a labelled pixel has cost people, by the last round; None where that is not known."""
        rows = self._rows(select(PROJECTS.c.seconds_per_pixel).where(PROJECTS.c.id == project))
        return None if not rows or rows[0][0] is None else float(rows[0][0])

    def parcels(self) -> int:
        """Bulks of predictions that wait for Label Studio."""
        return int(self._rows(select(func.count()).select_from(OUTBOX))[0][0])

    def _rows(self, query: Any) -> list[Any]:
        with self._database.read() as db:
            return list(db.execute(query))
