"""Alembic's entry point: runs revisions on the connection, and in the transaction, that `upgrade` hands over."""

from __future__ import annotations

from alembic import context

from backend.tables import METADATA

context.configure(connection=context.config.attributes["connection"], target_metadata=METADATA)
with context.begin_transaction():
    context.run_migrations()
