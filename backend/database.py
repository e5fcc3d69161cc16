"""One SQL engine: SQLite in WAL mode by default, PostgreSQL by URL."""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, func, select
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, InterfaceError, NoSuchModuleError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from backend import migrations
from backend.errors import ConfigProblem, StoreUnavailable

LOG = logging.getLogger(__name__)
LOCK_SECONDS = 15
"""So long a writer waits for another one; each takes milliseconds."""
VANISHED = {
    "connect_timeout": LOCK_SECONDS,
    "tcp_user_timeout": 15_000,
    "keepalives_idle": 30,
    "keepalives_interval": 5,
    "keepalives_count": 3,
}
"""Of libpq: a server that vanishes without closing its connections is noticed within a minute, not after TCP's quarter
of an hour."""
WRITERS = 7_312_024
"""PostgreSQL's number of the lock that writers hold. One writes at a time, as on SQLite: what is safe there is safe."""
BOOT = Path("/proc/sys/kernel/random/boot_id")
PID_NAMESPACE = Path("/proc/self/ns/pid")
_MARK = secrets.token_hex(4)


class Database:
    """Short transactions, safe from any thread or process. Raises StoreUnavailable where the database does."""

    def __init__(self, url: str) -> None:
        self._readers = _engine(url)
        self._writers = self._readers.execution_options(clickpick_writes=True)
        try:
            self._migrate()
        except BaseException:
            self.close()
            raise

    def _migrate(self) -> None:
        with self.read() as connection:
            up_to_date = migrations.revision(connection) == migrations.HEAD
        if not up_to_date:
            with self.write() as connection:
                migrations.upgrade(connection)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A snapshot to read from; never waits for a writer."""
        with _unavailable(), self._readers.begin() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that commits at the end, or rolls back on an error; one at a time."""
        with _unavailable(), self._writers.begin() as connection:
            yield connection

    def close(self) -> None:
        self._readers.dispose()


@contextmanager
def _unavailable() -> Iterator[None]:
    """What the database says of itself goes to the log: it may name hosts and files."""
    try:
        yield
    except (OperationalError, InterfaceError, PoolTimeout) as problem:
        LOG.error("the database: %s", getattr(problem, "orig", problem))
        raise StoreUnavailable(
            "the database does not answer, or cannot be written; the log says why; try again when that is put right"
        ) from problem


def _engine(url: str) -> Engine:
    """An engine for SQLite or PostgreSQL; ConfigProblem for any other address."""
    try:
        parsed = make_url(url)
        kind = parsed.get_backend_name()
        if kind == "sqlite":
            return _sqlite(parsed)
        if kind == "postgresql":
            return _postgresql(parsed)
    except (ArgumentError, NoSuchModuleError):
        kind = "what cannot be read"
    except ModuleNotFoundError as problem:
        raise ConfigProblem(
            f"the driver {problem.name} of the database is not installed; for PostgreSQL install clickpick[postgres]"
        ) from problem
    raise ConfigProblem(
        f"CLICKPICK_DATABASE_URL names {kind}; expected postgresql://USER:PASSWORD@HOST/DATABASE or "
        "sqlite:////PATH/FILE.db, or nothing for a file in the data folder"
    )


def _sqlite(url: URL) -> Engine:
    if url.database:
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url, connect_args={"timeout": LOCK_SECONDS})
    event.listen(engine, "connect", _configure_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _postgresql(url: URL) -> Engine:
    if url.drivername == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
    options = f"-c lock_timeout={LOCK_SECONDS}s -c idle_in_transaction_session_timeout=60s"
    engine = create_engine(url, pool_pre_ping=True, connect_args={**VANISHED, "options": options})
    event.listen(engine, "begin", _begin_postgresql)
    return engine


def _configure_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # so that the hook below says BEGIN, and not the driver
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")


def _begin_sqlite(connection: Connection) -> None:
    """Writers take the lock at once: a read that turns into a write fails instead of waiting."""
    writes = connection.get_execution_options().get("clickpick_writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _begin_postgresql(connection: Connection) -> None:
    if connection.get_execution_options().get("clickpick_writes"):
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({WRITERS})")


def now(connection: Connection) -> float:
    """Unix seconds of a clock that all processes share: PostgreSQL's own, with SQLite that of the machine."""
    if connection.dialect.name == "postgresql":
        return float(connection.execute(select(func.extract("epoch", func.clock_timestamp()))).scalar_one())
    return time.time()


def worker_name() -> str:
    """Who runs a round: place, process number, and a mark that tells this process from later ones of its number."""
    return f"{_place()}:{os.getpid()}:{_MARK}"


@cache
def _place() -> str:
    """Where a process number means one process: a host. On Linux its name is not enough, since containers may share
    it; the start of the kernel and the namespace of the numbers tell them apart."""
    host = socket.gethostname()
    try:
        start = BOOT.read_text()
        namespace = PID_NAMESPACE.readlink()
    except OSError:
        return host
    return f"{host}/{hashlib.sha256(f'{start}{namespace}'.encode()).hexdigest()[:12]}"


def worker_is_dead(worker: str, silent_seconds: float, limit: float) -> bool:
    """True when the process is gone (same place), or has said nothing for ``limit`` seconds."""
    place, pid, mark = worker.rsplit(":", 2)
    if place == _place() and pid.isdigit():
        if int(pid) == os.getpid():
            return mark != _MARK
        try:
            os.kill(int(pid), 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            pass
    return silent_seconds > limit
