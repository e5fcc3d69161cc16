"""One queued and one running round a project, whoever asks and whoever claims."""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, update
from sqlalchemy.exc import IntegrityError

from backend.round_queue import ASKED_FOR, DEEP
from backend.store import Store
from backend.tables import ROUNDS
from tests.backend.conftest import round_of

pytestmark = pytest.mark.unit


def test_a_burst_of_requests_is_one_round(store: Store) -> None:
    numbers = {store.rounds.request(1, "annotation_created", delay=0.0) for _ in range(20)}
    assert len(numbers) == 1
    assert store.rounds.claim() is not None
    assert store.rounds.claim() is None


def test_debounce_puts_off_but_not_for_ever(store: Store) -> None:
    number = store.rounds.request(1, "a", delay=0.3, limit=0.5)
    first_due = round_of(store, number).due
    time.sleep(0.1)
    store.rounds.request(1, "b", delay=0.3, limit=0.5)
    assert round_of(store, number).due > first_due
    store.rounds.request(1, "c", delay=60, limit=0.5)
    assert round_of(store, number).due <= first_due - 0.3 + 60.001
    store.rounds.request(1, "d", delay=0.4, limit=0.5)
    assert round_of(store, number).due == pytest.approx(first_due + 0.2, abs=0.05)
    assert store.rounds.claim() is None, "not due yet"


def test_a_request_without_delay_makes_a_waiting_round_due(store: Store) -> None:
    number = store.rounds.request(1, "a", delay=60)
    assert store.rounds.claim() is None
    store.rounds.request(1, "asked for")
    claimed = store.rounds.claim()
    assert claimed is not None
    assert (claimed.id, claimed.reason) == (number, "asked for")


def test_labels_during_a_run_cause_exactly_one_more(store: Store) -> None:
    store.rounds.request(1, "a")
    running = store.rounds.claim()
    assert running is not None
    for _ in range(5):
        store.rounds.request(1, "b")
    assert store.rounds.should_give_way(1)
    assert store.rounds.claim() is None, "two rounds of one project never run at once"
    store.rounds.finish(running.id, "done", "fine", "v1")
    second = store.rounds.claim()
    assert second is not None
    store.rounds.finish(second.id, "done")
    assert store.rounds.claim() is None
    assert not store.rounds.should_give_way(1)


def test_projects_do_not_wait_for_each_other(store: Store) -> None:
    store.rounds.request(1, "a")
    store.rounds.request(2, "a")
    claimed = {store.rounds.claim().project, store.rounds.claim().project}  # type: ignore[union-attr]
    assert claimed == {1, 2}


def test_many_claimers_never_take_the_same_round(database_url: str) -> None:
    stores = [Store(database_url) for _ in range(4)]
    for project in range(1, 21):
        stores[0].rounds.request(project, "a")

    def take(store: Store) -> list[int]:
        taken = []
        while (claimed := store.rounds.claim()) is not None:
            taken.append(claimed.id)
        return taken

    with ThreadPoolExecutor(4) as pool:
        taken = [number for part in pool.map(take, stores) for number in part]
    for store in stores:
        store.close()
    assert sorted(taken) == sorted(set(taken))
    assert len(taken) == 20


def test_a_round_begins_no_earlier_than_the_one_before_has_ended(store: Store, database_url: str) -> None:
    """Whoever claims has waited for whoever ends: history must not tell of two rounds at once."""
    first, second = store.rounds.request(1, "labels"), 0
    assert store.rounds.claim() is not None
    second = store.rounds.request(1, "labels")
    other = Store(database_url)
    with ThreadPoolExecutor(1) as pool:
        with store._database.write() as db:
            waits = pool.submit(other.rounds.claim)
            time.sleep(0.3)
            values = {"state": "done", "finished": time.time()}
            db.execute(update(ROUNDS).where(ROUNDS.c.id == first).values(**values))
        claimed = waits.result(30)
    other.close()
    ended = round_of(store, first).finished
    assert claimed is not None
    assert claimed.id == second
    assert claimed.started is not None
    assert ended is not None
    assert claimed.started >= ended


def test_progress_is_visible(store: Store) -> None:
    number = store.rounds.request(1, "a")
    store.rounds.claim()
    store.rounds.beat(number, "fit", 0.25)
    seen = round_of(store, number)
    assert (seen.state, seen.stage, seen.progress) == ("running", "fit", 0.25)
    store.rounds.finish(number, "done", "published v1", "v1")
    assert store.rounds.history(1)[0].version == "v1"


def test_what_a_person_asked_for_is_neither_put_off_nor_forgotten(store: Store) -> None:
    number = store.rounds.request(1, ASKED_FOR)
    store.rounds.request(1, "annotation_created", delay=60, limit=60)
    waiting = round_of(store, number)
    assert waiting.reason == ASKED_FOR
    assert waiting.due <= time.time()
    assert store.rounds.claim() is not None
    second = store.rounds.request(1, "annotation_created")
    store.rounds.retry(number, "Label Studio is away", 0.0)
    assert round_of(store, second).reason == ASKED_FOR
    store.rounds.request(1, "deep learner trained")
    assert round_of(store, second).reason == ASKED_FOR


def test_a_cancelled_round_is_gone(store: Store) -> None:
    number = store.rounds.request(1, "a")
    store.rounds.cancel(1)
    assert store.rounds.get(number) is None


def test_the_kinds_do_not_wait_for_each_other(store: Store) -> None:
    instant = store.rounds.request(1, "a")
    deep = store.rounds.request(1, "a", kind=DEEP)
    assert instant != deep
    trained = store.rounds.claim(kind=DEEP)
    assert trained is not None
    assert (trained.id, trained.kind) == (deep, "deep")
    assert store.rounds.is_claimable()
    assert not store.rounds.is_claimable(DEEP)
    claimed = store.rounds.claim()
    assert claimed is not None
    assert claimed.id == instant
    store.rounds.finish(instant, "done")
    assert store.rounds.has_work(1, DEEP)
    assert not store.rounds.has_work(2, DEEP)
    assert store.rounds.claim() is None
    store.rounds.request(1, "b", kind=DEEP)
    assert store.rounds.claim(kind=DEEP) is None, "two of one kind never run at once"
    store.rounds.retry(deep, "Label Studio is away", 0.0)
    assert round_of(store, deep).state == "failed"


def test_a_round_that_another_server_takes_first_is_not_claimed(store: Store) -> None:
    number = store.rounds.request(1, "a")
    engine = store._database._readers

    def take(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        """What a database without SQLite's one lock lets happen between the two statements of a claim."""
        if statement.startswith("UPDATE rounds"):
            cursor.execute("UPDATE rounds SET state = 'running', worker = 'elsewhere:1:abc', attempts = 1")

    event.listen(engine, "before_cursor_execute", take)
    assert store.rounds.claim() is None
    event.remove(engine, "before_cursor_execute", take)
    assert round_of(store, number).attempts == 1


def test_the_database_itself_refuses_a_second_running_round_of_a_project(store: Store) -> None:
    store.rounds.request(1, "a")
    assert store.rounds.claim() is not None
    second = store.rounds.request(1, "b")
    with pytest.raises(IntegrityError), store._database.write() as db:
        db.execute(update(ROUNDS).where(ROUNDS.c.id == second).values(state="running"))
    assert round_of(store, second).state == "queued"


CLAIMER = """
import sys, time
from pathlib import Path
from backend.store import Store

url, folder = sys.argv[1], Path(sys.argv[2])
store, count = Store(url), 0
(folder / sys.argv[3]).touch()
while len(list(folder.glob("ready-*"))) < 4:
    time.sleep(0.01)
while count < 10:
    for project in (1, 2):
        store.rounds.request(project, "labels")
    claimed = store.rounds.claim()
    if claimed is None:
        continue
    mine = folder / str(claimed.project)
    mine.touch(exist_ok=False)  # fails where another process runs a round of the project
    time.sleep(0.002)
    mine.unlink()
    store.rounds.finish(claimed.id, "done")
    count += 1
"""


def test_processes_that_claim_at_the_same_moment_never_run_one_project_twice(
    store: Store, database_url: str, tmp_path: Path
) -> None:
    folder = tmp_path / "running"
    folder.mkdir()
    command = [sys.executable, "-c", CLAIMER, database_url, str(folder)]
    started = [subprocess.Popen([*command, f"ready-{number}"]) for number in range(4)]
    assert [process.wait(120) for process in started] == [0] * len(started)


def test_a_round_can_be_claimed_when_it_is_due_and_its_project_is_not_being_run(store: Store) -> None:
    assert not store.rounds.is_claimable()
    store.rounds.request(1, "a", delay=60)
    assert not store.rounds.is_claimable()
    store.rounds.request(1, "a")
    assert store.rounds.is_claimable()
    assert not store.rounds.is_claimable(DEEP)
    claimed = store.rounds.claim()
    assert claimed is not None
    store.rounds.request(1, "b")
    assert not store.rounds.is_claimable()
    store.rounds.finish(claimed.id, "done")
    assert store.rounds.is_claimable()


def test_a_round_makes_way_for_those_that_wait_for_its_end(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.rounds.request(1, "a")
    assert store.rounds.claim() is not None
    assert not store.rounds.should_give_way(1)
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr("backend.round_queue.worker_name", lambda: "elsewhere:1:abc")
        store.rounds.request(2, "a")
        assert store.rounds.claim() is not None
    store.rounds.request(2, "b")
    assert not store.rounds.should_give_way(1), "only the end of the round elsewhere frees project 2"
    store.rounds.request(3, "a", delay=60)
    assert not store.rounds.should_give_way(1)
    store.rounds.request(3, "a")
    assert store.rounds.should_give_way(1), "nobody runs project 3"


def test_who_has_last_run_a_project_is_left_its_next_round_for_a_moment(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backend.round_queue.LEFT_SECONDS", 0.5)
    store.rounds.request(1, "a")
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr("backend.round_queue.worker_name", lambda: "elsewhere:1:abc")
        known = store.rounds.claim()
        assert known is not None
        store.rounds.request(1, "b")
        time.sleep(0.6)
        store.rounds.finish(known.id, "done", worker="elsewhere:1:abc")
    assert store.rounds.claim() is None, "it has only just become free, however long it is due"
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr("backend.round_queue.worker_name", lambda: "elsewhere:1:abc")
        again = store.rounds.claim(1)
        assert again is not None
        store.rounds.finish(again.id, "done", worker="elsewhere:1:abc")
    store.rounds.request(1, "c")
    assert store.rounds.claim() is None
    time.sleep(0.6)
    assert store.rounds.claim() is not None, "who is busy or gone is not waited for"
