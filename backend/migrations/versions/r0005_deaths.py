"""Rounds count the processes that died of them apart from what they were put off for."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision: str | None = "0004"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("rounds", sa.Column("deaths", sa.Integer, nullable=False, server_default="0"))
