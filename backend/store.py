"""What must survive a restart, in SQL tables: projects, labels, versions and the outbox to Label Studio."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Column, delete, func, insert, select, update

from backend.database import Database
from backend.errors import Overtaken
from backend.overview import Overview
from backend.round_queue import RoundQueue
from backend.stored_labels import Reading, StoredLabel, StoredLabels
from backend.tables import LABELS, OUTBOX, PROJECTS, VERSIONS


@dataclass(frozen=True)
class Version:
    """One published learner state. ``folder`` is relative to the versions folder; ``created`` in Unix seconds."""

    project: int
    number: int
    name: str
    folder: str
    learner: str
    classes: tuple[str, ...]
    digest: str
    labels: int
    metrics: dict[str, Any]
    created: float


@dataclass(frozen=True)
class Parcel:
    """A bulk of predictions that Label Studio has not confirmed yet."""

    id: int
    version: str
    predictions: list[dict[str, Any]]
    attempts: int


class Store:
    """Access to all tables; ``rounds`` is the queue of rounds, ``overview`` counts."""

    def __init__(self, url: str) -> None:
        self._database = Database(url)
        self.rounds = RoundQueue(self._database)
        self.overview = Overview(self._database)
        self._labels = StoredLabels(self._database)

    def close(self) -> None:
        self._database.close()

    def remember_project(self, project: int, config_digest: str) -> bool:
        """Note the project and its labelling config; True when the config is new or has changed."""
        query = select(PROJECTS.c.config_digest).where(PROJECTS.c.id == project)
        with self._database.read() as db:
            if db.execute(query).scalar() == config_digest:
                return False
        with self._database.write() as db:
            values = {"config_digest": config_digest}
            if not db.execute(update(PROJECTS).where(PROJECTS.c.id == project).values(**values)).rowcount:
                db.execute(insert(PROJECTS).values(id=project, **values))
        return True

    def note_pace(self, project: int, seconds_per_pixel: float | None) -> None:
        """Keep what a labelled pixel has cost people, None where Label Studio tells no times."""
        with self._database.write() as db:
            changed = update(PROJECTS).where(PROJECTS.c.id == project)
            db.execute(changed.values(seconds_per_pixel=seconds_per_pixel))

    def projects(self) -> list[int]:
        with self._database.read() as db:
            return list(db.execute(select(PROJECTS.c.id).order_by(PROJECTS.c.id)).scalars())

    def forget_project(self, project: int) -> None:
        """Drop what belongs to a project that Label Studio has deleted; its versions stay."""
        self.rounds.cancel(project)
        self.replace_labels(project, [])
        with self._database.write() as db:
            db.execute(delete(OUTBOX).where(OUTBOX.c.project == project))
            db.execute(delete(PROJECTS).where(PROJECTS.c.id == project))

    def replace_labels(
        self, project: int, labels: Iterable[StoredLabel], reading: Reading | None = None
    ) -> int:
        """Make the stored labels of a project equal to these, given in the order of their tasks; how many changed."""
        return self._labels.replace(project, labels, reading or Reading())

    def labels(self, project: int, task: int | None = None) -> list[StoredLabel]:
        """The pixel labels of a project, or of one of its tasks."""
        return list(self._labels.read(project, *([] if task is None else [LABELS.c.task == task])))

    def next_version_number(self, project: int) -> int:
        query = select(func.coalesce(func.max(VERSIONS.c.number), 0)).where(VERSIONS.c.project == project)
        with self._database.read() as db:
            return int(db.execute(query).scalar_one()) + 1

    def publish(self, version: Version, *, live: bool = True, fulfils_wish: bool = False) -> None:
        """Record a version, with ``live`` make it the live one, and end what `want_version` began: all or nothing.

        Raises Overtaken where it is to be live and there is one of its number or a later one.
        """
        values = asdict(version)
        values.update(classes=json.dumps(version.classes), metrics=json.dumps(version.metrics))
        with self._database.write() as db:
            changes: dict[str, Any] = {"live_version": version.number} if live else {}
            if fulfils_wish:
                changes["wanted_version"] = None
            if (
                changes
            ):  # first: of two that publish at once, the second waits here, and sees what the first did
                db.execute(update(PROJECTS).where(PROJECTS.c.id == version.project).values(**changes))
            later = VERSIONS.c.project == version.project, VERSIONS.c.number >= version.number
            if live and db.execute(select(VERSIONS.c.number).where(*later).limit(1)).first():
                message = f"{version.name} is not published: another process was quicker; start a round again"
                raise Overtaken(message)
            db.execute(insert(VERSIONS).values(**values))

    def make_live(self, version: Version) -> None:
        """Point to a version that is recorded already."""
        with self._database.write() as db:
            pointer = update(PROJECTS).where(PROJECTS.c.id == version.project)
            db.execute(pointer.values(live_version=version.number))

    def live_version(self, project: int) -> Version | None:
        return self._pointed_at(project, PROJECTS.c.live_version)

    def wanted_version(self, project: int) -> Version | None:
        """An earlier version that the next round makes live again."""
        return self._pointed_at(project, PROJECTS.c.wanted_version)

    def want_version(self, project: int, number: int | None) -> None:
        """Note that a version is wanted back, or, with None, that none is."""
        with self._database.write() as db:
            db.execute(update(PROJECTS).where(PROJECTS.c.id == project).values(wanted_version=number))

    def forget_versions(self, project: int, numbers: Sequence[int]) -> set[int]:
        """Drop versions that are neither live nor wanted; which of these numbers are gone."""
        with self._database.write() as db:
            row = db.execute(select(PROJECTS).where(PROJECTS.c.id == project)).first()
            pointed_at = set() if row is None else {row.live_version, row.wanted_version}
            gone = set(numbers) - pointed_at
            rows = VERSIONS.c.project == project, VERSIONS.c.number.in_(sorted(gone))
            db.execute(delete(VERSIONS).where(*rows))
        return gone

    def _pointed_at(self, project: int, pointer: Column[int]) -> Version | None:
        number = select(pointer).where(PROJECTS.c.id == project).scalar_subquery()
        query = select(VERSIONS).where(VERSIONS.c.project == project, VERSIONS.c.number == number)
        with self._database.read() as db:
            row = db.execute(query).first()
        return None if row is None else _version(row)

    def versions(self, project: int) -> list[Version]:
        """All versions of a project, newest first."""
        query = select(VERSIONS).where(VERSIONS.c.project == project).order_by(VERSIONS.c.number.desc())
        with self._database.read() as db:
            return [_version(row) for row in db.execute(query)]

    def post(self, project: int, version: str, predictions: Sequence[dict[str, Any]]) -> None:
        """Put predictions into the outbox."""
        payload = json.dumps(list(predictions))
        with self._database.write() as db:
            db.execute(insert(OUTBOX).values(project=project, version=version, payload=payload))

    def parcels(self, project: int) -> list[Parcel]:
        """What waits in the outbox, oldest first."""
        query = select(OUTBOX).where(OUTBOX.c.project == project).order_by(OUTBOX.c.id)
        with self._database.read() as db:
            return [Parcel(r.id, r.version, json.loads(r.payload), r.attempts) for r in db.execute(query)]

    def parcel_tried(self, parcel_id: int) -> None:
        """Note, before the attempt, that a parcel may have reached Label Studio."""
        with self._database.write() as db:
            db.execute(update(OUTBOX).where(OUTBOX.c.id == parcel_id).values(attempts=OUTBOX.c.attempts + 1))

    def drop_parcel(self, parcel_id: int) -> None:
        with self._database.write() as db:
            db.execute(delete(OUTBOX).where(OUTBOX.c.id == parcel_id))


def _version(row: Any) -> Version:
    values = dict(row._mapping)
    values.update(classes=tuple(json.loads(values["classes"])), metrics=json.loads(values["metrics"]))
    return Version(**values)
