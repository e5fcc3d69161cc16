"""Rounds have a kind; those of before were instant ones. One queued and one running round a project and kind."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision: str | None = "0001"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    if any(column["name"] == "kind" for column in sa.inspect(op.get_bind()).get_columns("rounds")):
        return  # made by a version that had the column, and no migrations yet
    op.add_column("rounds", sa.Column("kind", sa.String(16), nullable=False, server_default="instant"))
    for state in ("queued", "running"):
        where = sa.text(f"state = '{state}'")
        op.drop_index(f"one_{state}", "rounds", if_exists=True)
        op.create_index(
            f"one_{state}_of_a_kind",
            "rounds",
            ["project", "kind"],
            unique=True,
            sqlite_where=where,
            postgresql_where=where,
        )
