"""One SQL engine: SQLite in WAL mode by default, any database by URL."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, create_engine, event, inspect, text
from sqlalchemy.engine import make_url

from backend.tables import METADATA, ROUNDS

_MARK = secrets.token_hex(4)


class Database:
    """Short transactions, safe from any thread or process."""

    def __init__(self, url: str) -> None:
        parsed = make_url(url)
        is_sqlite = parsed.get_backend_name() == "sqlite"
        options: dict[str, Any] = {"connect_args": {"timeout": 15}} if is_sqlite else {"pool_pre_ping": True}
        self._readers = create_engine(parsed, **options)
        if is_sqlite:
            if parsed.database:
                Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
            event.listen(self._readers, "connect", _configure_sqlite)
            event.listen(self._readers, "begin", _begin_sqlite)
        self._writers = self._readers.execution_options(clickpick_writes=True)
        with self.write() as connection:
            _add_kinds(connection)
            METADATA.create_all(connection)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A snapshot to read from; never waits for a writer."""
        with self._readers.begin() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that commits at the end, or rolls back on an error."""
        with self._writers.begin() as connection:
            yield connection

    def close(self) -> None:
        self._readers.dispose()


def _add_kinds(connection: Connection) -> None:
    """Bring tables of before rounds had a kind up to date: all of theirs were instant ones."""
    tables = inspect(connection)
    if not tables.has_table("rounds") or any(c["name"] == "kind" for c in tables.get_columns("rounds")):
        return
    connection.execute(text("ALTER TABLE rounds ADD COLUMN kind VARCHAR(16) DEFAULT 'instant' NOT NULL"))
    for index in ("one_queued", "one_running"):
        connection.execute(text(f"DROP INDEX IF EXISTS {index}"))
    for made in ROUNDS.indexes:
        made.create(connection, checkfirst=True)


def _configure_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # so that the hook below says BEGIN, and not the driver
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")


def _begin_sqlite(connection: Connection) -> None:
    """Writers take the lock at once: a read that turns into a write fails instead of waiting."""
    writes = connection.get_execution_options().get("clickpick_writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def worker_name() -> str:
    """Who runs a round: host, process number, and a mark that tells this process from later ones of its number."""
    return f"{socket.gethostname()}:{os.getpid()}:{_MARK}"


def worker_is_dead(worker: str, silent_seconds: float, limit: float) -> bool:
    """True when the process is gone (same host), or has said nothing for ``limit`` seconds."""
    host, pid, mark = worker.rsplit(":", 2)
    if host == socket.gethostname() and pid.isdigit():
        if int(pid) == os.getpid():
            return mark != _MARK
        try:
            os.kill(int(pid), 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            pass
    return silent_seconds > limit
