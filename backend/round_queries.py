"""Questions to the table of rounds."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Select, and_, select

from backend.database import worker_name
from backend.tables import ROUNDS

MOST_DUE = 100
"""Rounds are looked through from the one that is due longest, as many at most."""


def waiting(project: int, kind: str) -> Select[Any]:
    """The queued round of a project and kind, whole."""
    return select(ROUNDS).where(
        ROUNDS.c.project == project, ROUNDS.c.kind == kind, ROUNDS.c.state == "queued"
    )


def run_by(round_id: int, worker: str | None = None) -> ColumnElement[bool]:
    """Condition: the round runs, and nobody else has recovered and taken it."""
    return and_(
        ROUNDS.c.id == round_id,
        ROUNDS.c.state == "running",
        ROUNDS.c.worker == (worker or worker_name()),
    )


def free(kind: str, moment: float, project: int | None = None) -> Select[Any]:
    """Due rounds of projects that are not being run, due longest first: id, due, last_worker, and last_finished.

    The last two: who has run the latest round of the project and kind that has ended, and when it ended.
    """
    last, earlier = ROUNDS.alias(), ROUNDS.alias()
    latest = (
        select(earlier.c.id)
        .where(earlier.c.project == ROUNDS.c.project, earlier.c.kind == kind, earlier.c.finished.is_not(None))
        .order_by(earlier.c.id.desc())
        .limit(1)
        .correlate(ROUNDS)
        .scalar_subquery()
    )
    busy = select(ROUNDS.c.project).where(ROUNDS.c.state == "running", ROUNDS.c.kind == kind)
    query = (
        select(
            ROUNDS.c.id,
            ROUNDS.c.due,
            last.c.worker.label("last_worker"),
            last.c.finished.label("last_finished"),
        )
        .select_from(ROUNDS.outerjoin(last, last.c.id == latest))
        .where(
            ROUNDS.c.kind == kind,
            ROUNDS.c.state == "queued",
            ROUNDS.c.due <= moment,
            ROUNDS.c.project.not_in(busy),
        )
    )
    if project is not None:
        query = query.where(ROUNDS.c.project == project)
    return query.order_by(ROUNDS.c.due).limit(MOST_DUE)
