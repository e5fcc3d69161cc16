"""Databases of earlier versions go on working without loss, and those of later ones are refused."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from backend import migrations
from backend.database import Database
from backend.errors import ConfigProblem
from backend.round_queue import DEEP
from backend.store import Store
from backend.stored_labels import StoredLabel
from backend.tables import METADATA

pytestmark = pytest.mark.unit

BEFORE_KINDS = """
CREATE TABLE rounds (id INTEGER NOT NULL PRIMARY KEY, project INTEGER NOT NULL, state VARCHAR(16) NOT NULL,
  reason VARCHAR(255) NOT NULL, attempts INTEGER NOT NULL, created FLOAT NOT NULL, due FLOAT NOT NULL, started FLOAT,
  finished FLOAT, worker VARCHAR(255) NOT NULL, heartbeat FLOAT NOT NULL, stage VARCHAR(64) NOT NULL,
  progress FLOAT NOT NULL, message TEXT NOT NULL, version VARCHAR(255));
CREATE INDEX rounds_by_state ON rounds (state, due);
CREATE INDEX rounds_by_project ON rounds (project);
CREATE UNIQUE INDEX one_queued ON rounds (project) WHERE state = 'queued';
CREATE UNIQUE INDEX one_running ON rounds (project) WHERE state = 'running';
INSERT INTO rounds VALUES (3, 7, 'queued', 'labels', 0, 1.0, 1.0, NULL, NULL, '', 0.0, '', 0.0, '', NULL);
"""

WITH_KINDS = """
CREATE TABLE rounds (id INTEGER NOT NULL, project INTEGER NOT NULL, kind VARCHAR(16) DEFAULT 'instant' NOT NULL,
  state VARCHAR(16) NOT NULL, reason VARCHAR(255) NOT NULL, attempts INTEGER NOT NULL, created FLOAT NOT NULL,
  due FLOAT NOT NULL, started FLOAT, finished FLOAT, worker VARCHAR(255) NOT NULL, heartbeat FLOAT NOT NULL,
  stage VARCHAR(64) NOT NULL, progress FLOAT NOT NULL, message TEXT NOT NULL, version VARCHAR(255), PRIMARY KEY (id));
CREATE UNIQUE INDEX one_running_of_a_kind ON rounds (project, kind) WHERE state = 'running';
CREATE INDEX rounds_by_state ON rounds (state, due);
CREATE INDEX rounds_by_project ON rounds (project);
CREATE UNIQUE INDEX one_queued_of_a_kind ON rounds (project, kind) WHERE state = 'queued';
INSERT INTO rounds VALUES (2, 7, 'deep', 'queued', 'labels', 0, 1.0, 9e9, NULL, NULL, '', 0.0, '', 0.0, '', NULL);
INSERT INTO rounds VALUES (3, 7, 'instant', 'queued', 'labels', 0, 1.0, 1.0, NULL, NULL, '', 0.0, '', 0.0, '', NULL);
"""

OTHER_TABLES = """
CREATE TABLE projects (id INTEGER NOT NULL, config_digest VARCHAR(64) NOT NULL, live_version INTEGER, PRIMARY KEY (id));
CREATE TABLE labels (project INTEGER NOT NULL, task INTEGER NOT NULL, item INTEGER NOT NULL, "row" INTEGER NOT NULL,
  col INTEGER NOT NULL, label VARCHAR(255) NOT NULL, PRIMARY KEY (project, task, item, "row", col));
CREATE TABLE versions (project INTEGER NOT NULL, number INTEGER NOT NULL, name VARCHAR(255) NOT NULL,
  folder VARCHAR(255) NOT NULL, learner VARCHAR(255) NOT NULL, classes TEXT NOT NULL, digest VARCHAR(64) NOT NULL,
  labels INTEGER NOT NULL, metrics TEXT NOT NULL, created FLOAT NOT NULL, PRIMARY KEY (project, number), UNIQUE (name));
CREATE TABLE outbox (id INTEGER NOT NULL, project INTEGER NOT NULL, version VARCHAR(255) NOT NULL,
  payload TEXT NOT NULL, attempts INTEGER NOT NULL, PRIMARY KEY (id));
CREATE INDEX ix_outbox_project ON outbox (project);
INSERT INTO projects VALUES (7, 'config', 2);
INSERT INTO labels VALUES (7, 1, 0, 5, 6, 'sky');
INSERT INTO versions VALUES (7, 2, 'clickpick-7-v2-aa', '7/2', 'probe-lite0', '["sky"]', 'aa', 5, '{}', 1.0);
INSERT INTO outbox VALUES (4, 7, 'clickpick-7-v2-aa', '[{"task": 1}]', 1);
"""


def differences(url: str) -> list[object]:
    """What the tables of a database have otherwise than `METADATA`, as Alembic sees it."""
    parsed = make_url(url)
    engine = create_engine(
        parsed.set(drivername=parsed.get_backend_name().replace("gresql", "gresql+psycopg"))
    )
    with engine.connect() as connection:
        options = {"compare_type": True, "compare_server_default": True}
        found = compare_metadata(MigrationContext.configure(connection, opts=options), METADATA)
    engine.dispose()
    return list(found)


@pytest.fixture(params=[BEFORE_KINDS, WITH_KINDS], ids=["before kinds", "with kinds"])
def old_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database as versions without migrations made it, with something in each table."""
    with closing(sqlite3.connect(tmp_path / "store.db")) as db:
        db.executescript(request.param + OTHER_TABLES)
    return f"sqlite:///{tmp_path / 'store.db'}"


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    with closing(Database(database_url)) as opened:
        yield opened


def test_a_database_of_before_migrations_is_adopted_whole(old_url: str) -> None:
    for _ in range(2):  # and the second start changes nothing
        with closing(Store(old_url)) as store:
            waiting = next(found for found in store.rounds.history(7) if found.id == 3)
            assert (waiting.kind, waiting.state, waiting.deaths) == ("instant", "queued", 0)
            live = store.live_version(7)
            assert live is not None
            assert live.name == "clickpick-7-v2-aa"
            assert store.labels(7) == [StoredLabel(1, 0, 5, 6, "sky")]
            assert [parcel.attempts for parcel in store.parcels(7)] == [1]
            store.rounds.request(7, "labels", kind=DEEP)
    assert differences(old_url) == []
    with closing(Store(old_url)) as store:
        assert len(store.rounds.history(7)) == 2
        claimed = store.rounds.claim()
        assert claimed is not None
        assert claimed.id == 3


def test_the_first_tables_alone_are_completed(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "store.db")) as db:
        db.executescript(BEFORE_KINDS)
    url = f"sqlite:///{tmp_path / 'store.db'}"
    Store(url).close()
    assert differences(url) == []


def test_migrated_tables_are_those_that_the_code_uses(database: Database, database_url: str) -> None:
    assert differences(database_url) == []
    with database.read() as connection:
        assert migrations.revision(connection) == migrations.HEAD


def test_head_is_the_last_revision() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    assert ScriptDirectory.from_config(config).get_current_head() == migrations.HEAD


def test_a_database_of_a_newer_version_is_refused_and_left_alone(
    database: Database, database_url: str
) -> None:
    with database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9000'"))
    with pytest.raises(ConfigProblem, match=r"newer ClickPick.*9000.*restore a backup"):
        Database(database_url)
    with database.read() as connection:
        assert migrations.revision(connection) == "9000"


def test_a_migration_that_breaks_off_leaves_the_tables_as_they_were(
    old_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with closing(sqlite3.connect(make_url(old_url).database or "")) as db:
        before = list(db.iterdump())
        with monkeypatch.context() as patched:
            patched.setattr("alembic.op.add_column", die)
            with pytest.raises(KeyboardInterrupt):
                Database(old_url)
        assert list(db.iterdump()) == before
    Store(old_url).close()
    assert differences(old_url) == []


def test_an_up_to_date_database_opens_without_alembic(database: Database, database_url: str) -> None:
    code = f"import sys; from backend.store import Store; Store({database_url!r}); assert 'alembic' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_processes_that_start_at_once_migrate_once(database_url: str) -> None:
    code = f"from backend.store import Store; Store({database_url!r}).remember_project(1, 'a')"
    started = [
        subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True) for _ in range(4)
    ]
    assert [process.communicate()[1] for process in started] == [""] * 4
    assert [process.returncode for process in started] == [0] * 4
    assert differences(database_url) == []
