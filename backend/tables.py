"""The tables (SQLAlchemy Core). A change here needs a revision in backend/migrations, and a test says so."""

from __future__ import annotations

from sqlalchemy import (
    Column,
    Float,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    text,
)

METADATA = MetaData()

PROJECTS = Table(
    "projects",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("config_digest", String(64), nullable=False),
    Column("live_version", Integer),
    Column("wanted_version", Integer),  # an earlier one, which the next round makes live again
    Column("seconds_per_pixel", Float),  # what a labelled pixel has cost people, by the last round
    Column("labels_from", String(32)),  # mark of the reading that the stored labels are equal to
)

LABELS = Table(
    "labels",
    METADATA,
    Column("project", Integer, nullable=False),
    Column("task", Integer, nullable=False),
    Column("item", Integer, nullable=False),
    Column("row", Integer, nullable=False),
    Column("col", Integer, nullable=False),
    Column("label", String(255), nullable=False),
    PrimaryKeyConstraint("project", "task", "item", "row", "col"),
)

ROUNDS = Table(
    "rounds",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("project", Integer, nullable=False),
    Column("kind", String(16), nullable=False, server_default="instant"),
    Column("state", String(16), nullable=False),
    Column("reason", String(255), nullable=False),
    Column("attempts", Integer, nullable=False, default=0),
    Column("deaths", Integer, nullable=False, server_default="0"),  # of processes that ran it
    Column("created", Float, nullable=False),
    Column("due", Float, nullable=False),
    Column("started", Float),
    Column("finished", Float),
    Column("worker", String(255), nullable=False, default=""),
    Column("heartbeat", Float, nullable=False, default=0.0),
    Column("stage", String(64), nullable=False, default=""),
    Column("progress", Float, nullable=False, default=0.0),
    Column("message", Text, nullable=False, default=""),
    Column("version", String(255)),
    Index("rounds_by_state", "state", "due"),
    Index("rounds_by_project", "project"),
    # One queued and one running round a project and kind, whoever asks: the database itself refuses a second.
    Index("one_queued_of_a_kind", "project", "kind", unique=True, sqlite_where=text("state = 'queued'"),
          postgresql_where=text("state = 'queued'")),
    Index("one_running_of_a_kind", "project", "kind", unique=True, sqlite_where=text("state = 'running'"),
          postgresql_where=text("state = 'running'")),
)  # fmt: skip

VERSIONS = Table(
    "versions",
    METADATA,
    Column("project", Integer, nullable=False),
    Column("number", Integer, nullable=False),
    Column("name", String(255), nullable=False, unique=True),
    Column("folder", String(255), nullable=False),
    Column("learner", String(255), nullable=False),
    Column("classes", Text, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("labels", Integer, nullable=False),
    Column("metrics", Text, nullable=False),
    Column("created", Float, nullable=False),
    PrimaryKeyConstraint("project", "number"),
)

OUTBOX = Table(
    "outbox",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("project", Integer, nullable=False, index=True),
    Column("version", String(255), nullable=False),
    Column("payload", Text, nullable=False),
    Column("attempts", Integer, nullable=False, default=0),
)
