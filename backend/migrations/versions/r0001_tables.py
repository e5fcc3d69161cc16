"""The first tables. Databases of before there were migrations have them; nothing of theirs is touched."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision: str | None = None
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    existing = set(sa.inspect(op.get_bind()).get_table_names())
    for name, columns in (("projects", _projects()), ("labels", _labels()), ("versions", _versions())):
        if name not in existing:
            op.create_table(name, *columns)
    if "rounds" not in existing:
        _create_rounds()
    if "outbox" not in existing:
        _create_outbox()


def _projects() -> list[sa.schema.SchemaItem]:
    return [
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("config_digest", sa.String(64), nullable=False),
        sa.Column("live_version", sa.Integer),
    ]


def _labels() -> list[sa.schema.SchemaItem]:
    return [
        sa.Column("project", sa.Integer, nullable=False),
        sa.Column("task", sa.Integer, nullable=False),
        sa.Column("item", sa.Integer, nullable=False),
        sa.Column("row", sa.Integer, nullable=False),
        sa.Column("col", sa.Integer, nullable=False),
        sa.Column("label", sa.String(255), nullable=False),
        sa.PrimaryKeyConstraint("project", "task", "item", "row", "col"),
    ]


def _versions() -> list[sa.schema.SchemaItem]:
    return [
        sa.Column("project", sa.Integer, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("name", sa.String(255), nullable=False, unique=True),
        sa.Column("folder", sa.String(255), nullable=False),
        sa.Column("learner", sa.String(255), nullable=False),
        sa.Column("classes", sa.Text, nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("labels", sa.Integer, nullable=False),
        sa.Column("metrics", sa.Text, nullable=False),
        sa.Column("created", sa.Float, nullable=False),
        sa.PrimaryKeyConstraint("project", "number"),
    ]


def _create_rounds() -> None:
    op.create_table(
        "rounds",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("project", sa.Integer, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("reason", sa.String(255), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("created", sa.Float, nullable=False),
        sa.Column("due", sa.Float, nullable=False),
        sa.Column("started", sa.Float),
        sa.Column("finished", sa.Float),
        sa.Column("worker", sa.String(255), nullable=False),
        sa.Column("heartbeat", sa.Float, nullable=False),
        sa.Column("stage", sa.String(64), nullable=False),
        sa.Column("progress", sa.Float, nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("version", sa.String(255)),
    )
    op.create_index("rounds_by_state", "rounds", ["state", "due"])
    op.create_index("rounds_by_project", "rounds", ["project"])
    for state in ("queued", "running"):
        where = sa.text(f"state = '{state}'")
        op.create_index(
            f"one_{state}", "rounds", ["project"], unique=True, sqlite_where=where, postgresql_where=where
        )


def _create_outbox() -> None:
    op.create_table(
        "outbox",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("project", sa.Integer, nullable=False),
        sa.Column("version", sa.String(255), nullable=False),
        sa.Column("payload", sa.Text, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
    )
    op.create_index("ix_outbox_project", "outbox", ["project"])
