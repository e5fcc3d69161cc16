"""A database that goes away in the middle loses nothing, and comes back by itself."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from backend.database import Database
from backend.errors import ConfigProblem, StoreUnavailable
from backend.store import Store
from backend.stored_labels import StoredLabel
from tests.fakes.postgres import PostgresServer

pytestmark = pytest.mark.unit


@pytest.mark.integration
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT], ids=["stopped", "crashed"])
def test_postgresql_restarted_between_two_calls_is_not_noticed(
    postgres: PostgresServer, postgres_url: str, how: signal.Signals
) -> None:
    with closing(Store(postgres_url)) as store:
        store.remember_project(1, "a")
        number = store.rounds.request(1, "labels")
        store.replace_labels(1, [StoredLabel(1, 0, 2, 3, "sky")])
        store.post(1, "v1", [{"task": 1}])
        postgres.stop(how)
        postgres.start()
        assert store.labels(1) == [StoredLabel(1, 0, 2, 3, "sky")]
        assert len(store.parcels(1)) == 1
        claimed = store.rounds.claim()
        assert claimed is not None
        assert claimed.id == number


@pytest.mark.integration
def test_postgresql_away_is_a_clear_error_and_what_was_begun_is_undone(
    postgres: PostgresServer, postgres_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(Store(postgres_url)) as store:
        store.remember_project(1, "a")
        with pytest.raises(StoreUnavailable, match="does not answer") as caught:
            _stop_in_a_transaction(store, postgres)
        assert str(postgres.port) not in str(caught.value)
        with pytest.raises(StoreUnavailable):
            store.projects()
        with pytest.raises(StoreUnavailable):
            Store(postgres_url)
        assert str(postgres.port) in caplog.text
        postgres.start()
        assert not store.remember_project(1, "a")


def _stop_in_a_transaction(store: Store, postgres: PostgresServer) -> None:
    with store._database.write() as db:
        db.exec_driver_sql("UPDATE projects SET config_digest = 'b'")
        postgres.stop(signal.SIGQUIT)
        db.exec_driver_sql("UPDATE projects SET config_digest = 'c'")


@pytest.mark.integration
@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="the system has no such limit")
def test_postgresql_that_vanishes_is_noticed_by_tcp(postgres_url: str) -> None:
    options = ("TCP_USER_TIMEOUT", "TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT")
    with (
        closing(Store(postgres_url)) as store,
        store._database.read() as db,
        socket.socket(fileno=os.dup(db.connection.driver_connection.fileno())) as used,
    ):
        found = [used.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)) for name in options]
    assert found == [15_000, 30, 5, 3]


def test_no_free_connection_is_a_clear_error(
    database_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    one = partial(create_engine, pool_size=1, max_overflow=0, pool_timeout=0.1)
    monkeypatch.setattr("backend.database.create_engine", one)
    with closing(Store(database_url)) as store:
        with store._database.read(), pytest.raises(StoreUnavailable, match="does not answer"):
            store.projects()
        assert "QueuePool limit" in caplog.text
        assert store.projects() == []


def test_writers_take_turns_and_readers_do_not_wait(database_url: str) -> None:
    with closing(Store(database_url)) as store:
        store.remember_project(1, "a")
        seen: list[float] = []

        def write() -> None:
            store.remember_project(2, "b")
            seen.append(time.monotonic())

        other = threading.Thread(target=write)
        with store._database.write() as db:
            db.exec_driver_sql("UPDATE projects SET config_digest = 'c'")
            other.start()
            assert store.projects() == [1], "readers see what was there before"
            time.sleep(0.5)
            done = time.monotonic()
        other.join()
        assert seen[0] >= done
        assert store.projects() == [1, 2]


def test_a_writer_that_hangs_does_not_hold_up_others_for_ever(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backend.database.LOCK_SECONDS", 1)
    with closing(Store(database_url)) as store, closing(Store(database_url)) as other:
        with store._database.write(), pytest.raises(StoreUnavailable):
            other.remember_project(1, "a")
        assert other.remember_project(1, "a")


def test_a_full_disk_is_a_clear_error(tmp_path: Path) -> None:
    with closing(Store(f"sqlite:///{tmp_path / 'store.db'}")) as store:
        store.remember_project(1, "a")
        with store._database.write() as db:
            pages = db.exec_driver_sql("PRAGMA page_count").scalar_one()
            db.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
        many = [StoredLabel(1, 0, r, c, "sky") for r in range(200) for c in range(100)]
        with pytest.raises(StoreUnavailable):
            store.replace_labels(1, many)
        assert store.labels(1) == []


@pytest.mark.parametrize("url", ["nonsense", "mysql://user:secret@host/db", "postgresql+unknown://host/db"])
def test_other_databases_are_refused_without_telling_passwords(url: str) -> None:
    with pytest.raises(ConfigProblem, match="CLICKPICK_DATABASE_URL") as caught:
        Database(url)
    assert "secret" not in str(caught.value)


def test_a_missing_driver_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "psycopg", None)
    with pytest.raises(ConfigProblem, match=r"psycopg.*clickpick\[postgres\]"):
        Database("postgresql://host/db")
