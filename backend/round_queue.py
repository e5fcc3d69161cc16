"""The queue of rounds, kept in the database between those who ask for rounds and those who run them.

At most one round of a project and kind is queued and at most one runs: labels that arrive during a run cause
exactly one more. A round whose process died goes back into the queue. Rounds of the two kinds never wait for each
other.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final, Literal

from sqlalchemy import Connection, Select, delete, insert, select, update

from backend.database import Database, now, worker_is_dead, worker_name
from backend.round_queries import free, run_by, waiting
from backend.tables import ROUNDS

LOG = logging.getLogger(__name__)
Kind = Literal["instant", "deep"]
INSTANT: Final = "instant"
"""Kind of a round: the learning loop, in seconds, for annotators who wait for its queries."""
DEEP: Final = "deep"
"""Kind of a round: a long training beside the loop, for which nobody waits."""
ASKED_FOR = "asked for"
"""Reason of a round for which a person waits: the learner is fitted even when no label has changed."""
MOST_DEATHS = 10
"""A round whose process dies again and again (out of memory, say) is given up. Being put off does not count."""
DIED = "the process that ran this round died; it starts again"
GIVEN_UP = f"its process died {MOST_DEATHS} times; see why in its log or the system's, then start a round"
SILENCE_LIMIT = 20.0
"""Seconds without a sign of life after which a round on another machine counts as lost: more than a writer waits for
others."""
LEFT_SECONDS = 1.0


@dataclass(frozen=True)
class Round:
    """One run of the learning loop, or of the deep learner.

    ``state``: queued, running, done or failed; ``deaths``: how often its process died; times in Unix seconds of the
    database's clock.
    """

    id: int
    project: int
    kind: Kind
    state: str
    reason: str
    attempts: int
    deaths: int
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
        with self._database.write() as db:
            moment = now(db)
            row = db.execute(waiting(project, kind)).first()
            if row is None:
                values = {
                    "project": project,
                    "kind": kind,
                    "state": "queued",
                    "reason": reason,
                    "created": moment,
                }
                values["due"] = moment + delay
                result = db.execute(insert(ROUNDS).values(**values).returning(ROUNDS.c.id))
                return int(result.scalar_one())
            if row.reason == ASKED_FOR and delay:
                return int(row.id)  # somebody waits for it: no later event puts it off
            due = min(moment + delay, row.created + max(limit, delay)) if delay else min(moment, row.due)
            reason = ASKED_FOR if row.reason == ASKED_FOR else reason
            db.execute(update(ROUNDS).where(ROUNDS.c.id == row.id).values(due=due, reason=reason))
            return int(row.id)

    def claim(self, project: int | None = None, kind: Kind = INSTANT) -> Round | None:
        """Take the round that is due longest; None where there is none, its project is being run, or it is left to
        another process.

        That which has last run a project knows what Label Studio lists of it: the next round is left to it for
        LEFT_SECONDS, if it lives.
        """
        with self._database.write() as db:
            moment = now(db)
            round_id = _mine(db, free(kind, moment, project), moment)
            if round_id is None:
                return None
            values = {"state": "running", "worker": worker_name(), "started": moment, "heartbeat": moment}
            taken = db.execute(
                update(ROUNDS)
                .where(ROUNDS.c.id == round_id, ROUNDS.c.state == "queued")
                .values(**values, attempts=ROUNDS.c.attempts + 1, stage="", progress=0.0)
            )
            if not taken.rowcount:
                return None  # another server has just taken it
            return _round(db.execute(select(ROUNDS).where(ROUNDS.c.id == round_id)).one())

    def beat(self, round_id: int, stage: str, progress: float) -> bool:
        """Say that the round lives and how far it is (``progress`` in [0, 1]); False where it is not ours any more."""
        with self._database.write() as db:
            values = {"stage": stage, "progress": progress, "heartbeat": now(db)}
            return bool(db.execute(update(ROUNDS).where(run_by(round_id)).values(**values)).rowcount)

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
            values = {"state": state, "message": message, "version": version, "finished": now(db)}
            db.execute(update(ROUNDS).where(run_by(round_id, worker)).values(**values))

    def retry(
        self, round_id: int, message: str, delay: float, *, worker: str | None = None, died: bool = False
    ) -> None:
        """Put back a round that ``worker`` (by default this process) runs; a newer one that waits stands for both."""
        with self._database.write() as db:
            row = db.execute(select(ROUNDS).where(run_by(round_id, worker)).with_for_update()).first()
            if row is None:
                return  # another process has recovered it
            newer = db.execute(waiting(row.project, row.kind)).first()
            moment = now(db)
            due, deaths = moment + delay, row.deaths + died
            values: dict[str, Any] = {"state": "queued", "message": message, "due": due, "deaths": deaths}
            if newer is not None:
                values = {"state": "failed", "message": message, "finished": moment, "deaths": deaths}
                later = {"due": max(due, newer.due), "attempts": row.attempts, "deaths": deaths}
                later["reason"] = ASKED_FOR if row.reason == ASKED_FOR else newer.reason
                db.execute(update(ROUNDS).where(ROUNDS.c.id == newer.id).values(**later))
            db.execute(update(ROUNDS).where(ROUNDS.c.id == round_id).values(**values))

    def should_give_way(self, project: int) -> bool:
        """Whether the round of a project that this process runs should make way: its end is waited for."""
        with self._database.read() as db:
            moment = now(db)
            if db.execute(waiting(project, INSTANT).where(ROUNDS.c.due <= moment)).first() is not None:
                return True
            return _mine(db, free(INSTANT, moment), moment) is not None

    def is_claimable(self, kind: Kind = INSTANT) -> bool:
        """True when there is a round to claim now: one that is due, of a project that nobody runs."""
        with self._database.read() as db:
            return db.execute(free(kind, now(db)).limit(1)).first() is not None

    def is_run_by(self, worker: str) -> bool:
        """True when a process runs a round now."""
        query = select(ROUNDS.c.id).where(ROUNDS.c.state == "running", ROUNDS.c.worker == worker)
        with self._database.read() as db:
            return db.execute(query.limit(1)).first() is not None

    def recover(self, gone: Collection[str] = ()) -> int:
        """Queue again what a dead process was running, those of these names among them; returns how many rounds."""
        with self._database.read() as db:
            running = list(db.execute(select(ROUNDS).where(ROUNDS.c.state == "running")))
            moment = now(db)
        lost = [
            row
            for row in running
            if row.worker in gone or worker_is_dead(row.worker, moment - row.heartbeat, SILENCE_LIMIT)
        ]
        for row in lost:
            if row.deaths + 1 < MOST_DEATHS:
                self.retry(row.id, DIED, 0.0, worker=row.worker, died=True)
            else:
                self.finish(row.id, "failed", GIVEN_UP, worker=row.worker)
                LOG.error("project %d, round %d failed: %s", row.project, row.id, GIVEN_UP)
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


def _mine(db: Connection, rounds: Select[Any], moment: float) -> int | None:
    """The first of these due rounds that is not left to another process."""
    for row in db.execute(rounds):
        last = row.last_worker
        is_left = last and last != worker_name() and not worker_is_dead(last, 0.0, SILENCE_LIMIT)
        if not is_left or moment - max(row.due, row.last_finished) >= LEFT_SECONDS:
            return int(row.id)
    return None


def _round(row: Any) -> Round:
    return Round(**{name: row._mapping[name] for name in Round.__dataclass_fields__})
