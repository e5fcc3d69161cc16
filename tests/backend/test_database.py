"""Tables of earlier versions go on working."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from backend.round_queue import DEEP
from backend.store import Store

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


def test_rounds_of_before_they_had_kinds_are_instant_ones(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "store.db")) as db:
        db.executescript(BEFORE_KINDS)
    for _ in range(2):  # and the second start changes nothing
        with closing(Store(f"sqlite:///{tmp_path / 'store.db'}")) as store:
            (found,) = store.rounds.history(7)[-1:]
            assert (found.id, found.kind, found.state) == (3, "instant", "queued")
            store.rounds.request(7, "labels", kind=DEEP)
    with closing(Store(f"sqlite:///{tmp_path / 'store.db'}")) as store:
        assert len(store.rounds.history(7)) == 2
        claimed = store.rounds.claim()
        assert claimed is not None
        assert claimed.id == 3
