"""The queue of rounds, kept in the database between those who ask for rounds and those who run them.

At most one round of a project and kind is queued and at most one runs: labels that arrive during a run cause
exactly one more. A round whose process died goes back into the queue. Rounds of the two kinds never wait for each
other.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Final, Literal

from sqlalchemy import and_, delete, insert, select, update

from backend.database import Database, worker_is_dead, worker_name
from backend.tables import ROUNDS

Kind = Literal["instant", "deep"]
INSTANT: Final = "instant"
"""Kind of a round: the learning loop, in seconds, for annotators who wait for its queries."""
DEEP: Final = "deep"
"""Kind of a round: a long training beside the loop, for which nobody waits."""
ASKED_FOR = "asked for"
"""Reason of a round for which a person waits: the learner is fitted even when no label has changed."""
MOST_ATTEMPTS = 10
"""A round whose process dies again and again (out of memory, say) is given up."""
SILENCE_LIMIT = 30.0
"""Seconds without a sign of life after which a round on another machine counts as lost."""


@dataclass(frozen=True)
class Round:
    """One run of the learning loop, or of the deep learner.

    ``state``: queued, running, done or failed; times in Unix seconds.
    """

    id: int
    project: int
    kind: Kind
    state: str
    reason: str
    attempts: int
    due: float
    started: float | None
    finished: float | None
    stage: str
    progress: float
    message: str
    version: str | None


class RoundQueue:
    """Requests, claims and outcomes of rounds."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def request(
        self,
        project: int,
        reason: str,
        *,
        kind: Kind = INSTANT,
        delay: float = 0.0,
        limit: float = 0.0,
    ) -> int:
        """Queue a round, or put off the queued one: ``delay`` from now, ``limit`` after the first request.

        A delay of 0 makes it due at once. Returns the round's id.
        """
        now = time.time()
        with self._database.write() as db:
            row = db.execute(_waiting(project, kind)).first()
            if row is None:
                values = {
                    "project": project,
                    "kind": kind,
                    "state": "queued",
                    "reason": reason,
                    "created": now,
                }
                result = db.execute(insert(ROUNDS).values(**values, due=now + delay).returning(ROUNDS.c.id))
                return int(result.scalar_one())
            if row.reason == ASKED_FOR and delay:
                return int(row.id)  # somebody waits for it: no later event puts it off
            due = min(now + delay, row.created + max(limit, delay)) if delay else now
            reason = ASKED_FOR if row.reason == ASKED_FOR else reason
            db.execute(update(ROUNDS).where(ROUNDS.c.id == row.id).values(due=due, reason=reason))
            return int(row.id)

    def claim(self, project: int | None = None, kind: Kind = INSTANT) -> Round | None:
        """Take the round that is due longest; None where there is none, or its project is being run."""
        busy = select(ROUNDS.c.project).where(ROUNDS.c.state == "running", ROUNDS.c.kind == kind)
        with self._database.write() as db:
            now = time.time()  # no earlier than the end of the round before, which the lock was waited for
            query = _due(kind, now).where(ROUNDS.c.project.not_in(busy))
            if project is not None:
                query = query.where(ROUNDS.c.project == project)
            round_id = db.execute(query.order_by(ROUNDS.c.due).limit(1)).scalar()
            if round_id is None:
                return None
            values = {"state": "running", "worker": worker_name(), "started": now, "heartbeat": now}
            taken = db.execute(
                update(ROUNDS)
                .where(ROUNDS.c.id == round_id, ROUNDS.c.state == "queued")
                .values(**values, attempts=ROUNDS.c.attempts + 1, stage="", progress=0.0)
            )
            if not taken.rowcount:
                return None  # another server has just taken it
            return _round(db.execute(select(ROUNDS).where(ROUNDS.c.id == round_id)).one())

    def beat(self, round_id: int, stage: str, progress: float) -> None:
        """Say that the round lives and how far it is (``progress`` in [0, 1])."""
        values = {"stage": stage, "progress": progress, "heartbeat": time.time()}
        with self._database.write() as db:
            db.execute(update(ROUNDS).where(_run_by(round_id)).values(**values))

    def finish(
        self,
        round_id: int,
        state: str,
        message: str = "",
        version: str | None = None,
        *,
        worker: str | None = None,
    ) -> None:
        """Close a round as done or failed, where ``worker`` (by default this process) still runs it."""
        with self._database.write() as db:
            values = {"state": state, "message": message, "version": version, "finished": time.time()}
            db.execute(update(ROUNDS).where(_run_by(round_id, worker)).values(**values))

    def retry(self, round_id: int, message: str, delay: float, *, worker: str | None = None) -> None:
        """Put back a round that ``worker`` (by default this process) runs; a newer one that waits stands for both."""
        with self._database.write() as db:
            row = db.execute(select(ROUNDS).where(_run_by(round_id, worker)).with_for_update()).first()
            if row is None:
                return  # another process has recovered it
            waiting = db.execute(_waiting(row.project, row.kind)).first()
            due = time.time() + delay
            values: dict[str, Any] = {"state": "queued", "message": message, "due": due}
            if waiting is not None:
                values = {"state": "failed", "message": message, "finished": time.time()}
                later = {"due": max(due, waiting.due), "attempts": row.attempts}
                later["reason"] = ASKED_FOR if row.reason == ASKED_FOR else waiting.reason
                db.execute(update(ROUNDS).where(ROUNDS.c.id == waiting.id).values(**later))
            db.execute(update(ROUNDS).where(ROUNDS.c.id == round_id).values(**values))

    def is_waiting(self, kind: Kind = INSTANT) -> bool:
        """True when a queued round of any project is due: the running one should make way."""
        with self._database.read() as db:
            return db.execute(_due(kind, time.time()).limit(1)).first() is not None

    def recover(self) -> int:
        """Queue again what a dead process was running; returns how many rounds."""
        with self._database.read() as db:
            running = list(db.execute(select(ROUNDS).where(ROUNDS.c.state == "running")))
        now = time.time()
        lost = [row for row in running if worker_is_dead(row.worker, now - row.heartbeat, SILENCE_LIMIT)]
        for row in lost:
            if row.attempts < MOST_ATTEMPTS:
                message = "the process that ran this round died; it starts again"
                self.retry(row.id, message, 0.0, worker=row.worker)
            else:
                message = f"the process that ran this round died {row.attempts} times"
                self.finish(row.id, "failed", message, worker=row.worker)
        return len(lost)

    def cancel(self, project: int) -> None:
        """Drop the queued rounds of a project."""
        with self._database.write() as db:
            db.execute(delete(ROUNDS).where(ROUNDS.c.project == project, ROUNDS.c.state == "queued"))

    def get(self, round_id: int) -> Round | None:
        """A round by its number; None when it was cancelled."""
        with self._database.read() as db:
            row = db.execute(select(ROUNDS).where(ROUNDS.c.id == round_id)).first()
        return None if row is None else _round(row)

    def history(self, project: int, limit: int = 50) -> list[Round]:
        """The latest rounds of a project, newest first."""
        query = select(ROUNDS).where(ROUNDS.c.project == project).order_by(ROUNDS.c.id.desc())
        with self._database.read() as db:
            return [_round(row) for row in db.execute(query.limit(limit))]

    def has_work(self, project: int | None = None, kind: Kind | None = None) -> bool:
        """True when any round is queued or running; of one project or kind, where they are given."""
        query = select(ROUNDS.c.id).where(ROUNDS.c.state.in_(("queued", "running")))
        if project is not None:
            query = query.where(ROUNDS.c.project == project)
        if kind is not None:
            query = query.where(ROUNDS.c.kind == kind)
        with self._database.read() as db:
            return db.execute(query.limit(1)).first() is not None


def _waiting(project: int, kind: str) -> Any:
    return select(ROUNDS).where(
        ROUNDS.c.project == project, ROUNDS.c.kind == kind, ROUNDS.c.state == "queued"
    )


def _run_by(round_id: int, worker: str | None = None) -> Any:
    """Condition: the round runs, and nobody else has recovered and taken it."""
    return and_(
        ROUNDS.c.id == round_id,
        ROUNDS.c.state == "running",
        ROUNDS.c.worker == (worker or worker_name()),
    )


def _due(kind: Kind, now: float) -> Any:
    return select(ROUNDS.c.id).where(ROUNDS.c.kind == kind, ROUNDS.c.state == "queued", ROUNDS.c.due <= now)


def _round(row: Any) -> Round:
    return Round(**{name: row._mapping[name] for name in Round.__dataclass_fields__})
