"""One queued and one running round a project; nothing is lost when a process dies."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, update
from sqlalchemy.exc import IntegrityError

from backend import database
from backend.round_queue import ASKED_FOR, DEEP, MOST_DEATHS, SILENCE_LIMIT, Round
from backend.store import Store
from backend.tables import ROUNDS

pytestmark = pytest.mark.unit


@pytest.fixture
def url(database_url: str) -> str:
    return database_url


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    opened = Store(url)
    yield opened
    opened.close()


def get(store: Store, number: int) -> Round:
    found = store.rounds.get(number)
    assert found is not None
    return found


def test_a_burst_of_requests_is_one_round(store: Store) -> None:
    numbers = {store.rounds.request(1, "annotation_created", delay=0.0) for _ in range(20)}
    assert len(numbers) == 1
    assert store.rounds.claim() is not None
    assert store.rounds.claim() is None


def test_debounce_puts_off_but_not_for_ever(store: Store) -> None:
    number = store.rounds.request(1, "a", delay=0.3, limit=0.5)
    first_due = get(store, number).due
    time.sleep(0.1)
    store.rounds.request(1, "b", delay=0.3, limit=0.5)
    assert get(store, number).due > first_due
    store.rounds.request(1, "c", delay=60, limit=0.5)
    assert get(store, number).due <= first_due - 0.3 + 60.001
    store.rounds.request(1, "d", delay=0.4, limit=0.5)
    assert get(store, number).due == pytest.approx(first_due + 0.2, abs=0.05)
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
    assert store.rounds.is_waiting()
    assert store.rounds.claim() is None, "two rounds of one project never run at once"
    store.rounds.finish(running.id, "done", "fine", "v1")
    second = store.rounds.claim()
    assert second is not None
    store.rounds.finish(second.id, "done")
    assert store.rounds.claim() is None
    assert not store.rounds.is_waiting()


def test_projects_do_not_wait_for_each_other(store: Store) -> None:
    store.rounds.request(1, "a")
    store.rounds.request(2, "a")
    claimed = {store.rounds.claim().project, store.rounds.claim().project}  # type: ignore[union-attr]
    assert claimed == {1, 2}


def test_many_claimers_never_take_the_same_round(url: str) -> None:
    stores = [Store(url) for _ in range(4)]
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


def test_a_round_begins_no_earlier_than_the_one_before_has_ended(store: Store, url: str) -> None:
    """Whoever claims has waited for whoever ends: history must not tell of two rounds at once."""
    first, second = store.rounds.request(1, "labels"), 0
    assert store.rounds.claim() is not None
    second = store.rounds.request(1, "labels")
    other = Store(url)
    with ThreadPoolExecutor(1) as pool:
        with store._database.write() as db:
            waits = pool.submit(other.rounds.claim)
            time.sleep(0.3)
            values = {"state": "done", "finished": time.time()}
            db.execute(update(ROUNDS).where(ROUNDS.c.id == first).values(**values))
        claimed = waits.result(30)
    other.close()
    ended = get(store, first).finished
    assert claimed is not None
    assert claimed.id == second
    assert claimed.started is not None
    assert ended is not None
    assert claimed.started >= ended


def test_a_round_of_a_dead_process_is_queued_again(store: Store, url: str) -> None:
    store.rounds.request(1, "a")
    code = f"from backend.store import Store; assert Store({url!r}).rounds.claim() is not None"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert store.rounds.claim() is None
    assert store.rounds.recover() == 1
    again = store.rounds.claim()
    assert again is not None
    assert again.attempts == 2


def test_a_round_of_a_living_process_is_left_alone(store: Store) -> None:
    store.rounds.request(1, "a")
    assert store.rounds.claim() is not None
    assert store.rounds.recover() == 0


def test_retry_joins_a_newer_request(store: Store) -> None:
    first = store.rounds.request(1, "a")
    assert store.rounds.claim() is not None
    second = store.rounds.request(1, "b")
    store.rounds.retry(first, "Label Studio is away", 30.0)
    assert get(store, first).state == "failed"
    waiting = get(store, second)
    assert waiting.state == "queued"
    assert waiting.due > time.time() + 25
    assert waiting.attempts == 1, "the pause goes on growing"
    assert waiting.deaths == 0


def test_progress_is_visible(store: Store) -> None:
    number = store.rounds.request(1, "a")
    store.rounds.claim()
    store.rounds.beat(number, "fit", 0.25)
    seen = get(store, number)
    assert (seen.state, seen.stage, seen.progress) == ("running", "fit", 0.25)
    store.rounds.finish(number, "done", "published v1", "v1")
    assert store.rounds.history(1)[0].version == "v1"


def test_what_a_person_asked_for_is_neither_put_off_nor_forgotten(store: Store) -> None:
    number = store.rounds.request(1, ASKED_FOR)
    store.rounds.request(1, "annotation_created", delay=60, limit=60)
    waiting = get(store, number)
    assert waiting.reason == ASKED_FOR
    assert waiting.due <= time.time()
    assert store.rounds.claim() is not None
    second = store.rounds.request(1, "annotation_created")
    store.rounds.retry(number, "Label Studio is away", 0.0)
    assert get(store, second).reason == ASKED_FOR
    store.rounds.request(1, "deep learner trained")
    assert get(store, second).reason == ASKED_FOR


def test_a_cancelled_round_is_gone(store: Store) -> None:
    number = store.rounds.request(1, "a")
    store.rounds.cancel(1)
    assert store.rounds.get(number) is None


def test_a_process_that_got_the_number_of_a_dead_one_takes_its_rounds_up(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.rounds.request(1, "a")
    assert store.rounds.claim() is not None
    monkeypatch.setattr(database, "_MARK", "another")
    assert store.rounds.recover() == 1


def test_a_silent_process_of_another_machine_counts_as_dead(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backend.round_queue.worker_name", lambda: "elsewhere:1:abc")
    store.rounds.request(1, "a")
    assert store.rounds.claim() is not None
    assert store.rounds.recover() == 0
    later = time.time() + SILENCE_LIMIT + 1
    monkeypatch.setattr("backend.round_queue.now", lambda _: later)
    assert store.rounds.recover() == 1


def die(store: Store, *, meanwhile: str = "") -> None:
    """Claim a round in a process that dies of it; ``meanwhile`` is the reason of a newer request, if there is one."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(database, "_MARK", "dead")
        assert store.rounds.claim() is not None
        if meanwhile:
            store.rounds.request(1, meanwhile)
    assert store.rounds.recover() == 1


def test_a_round_that_kills_its_process_every_time_is_given_up(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    number = store.rounds.request(1, "a")
    for deaths in range(1, MOST_DEATHS):
        die(store)
        assert (get(store, number).state, get(store, number).deaths) == ("queued", deaths)
    die(store)
    assert store.rounds.claim() is None
    assert get(store, number).state == "failed"
    assert f"died {MOST_DEATHS} times" in get(store, number).message
    assert "start a round" in get(store, number).message
    assert get(store, number).message in caplog.text


def test_a_round_that_was_put_off_often_outlives_a_death(store: Store) -> None:
    number = store.rounds.request(1, "a")
    for _ in range(MOST_DEATHS):
        assert store.rounds.claim() is not None
        store.rounds.retry(number, "Label Studio is away", 0.0)
    assert (get(store, number).attempts, get(store, number).deaths) == (MOST_DEATHS, 0)
    die(store)
    assert (get(store, number).state, get(store, number).deaths) == ("queued", 1)


def test_deaths_go_over_to_a_newer_request_which_stays_when_the_round_is_given_up(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backend.round_queue.MOST_DEATHS", 2)
    store.rounds.request(1, "first")
    die(store, meanwhile="second")
    waiting = store.rounds.history(1)[0]
    assert (waiting.reason, waiting.state, waiting.deaths) == ("second", "queued", 1)
    die(store, meanwhile="third")
    assert get(store, waiting.id).state == "failed"
    waiting = store.rounds.history(1)[0]
    assert (waiting.reason, waiting.state, waiting.deaths) == ("third", "queued", 0)


def test_the_kinds_do_not_wait_for_each_other(store: Store) -> None:
    instant = store.rounds.request(1, "a")
    deep = store.rounds.request(1, "a", kind=DEEP)
    assert instant != deep
    trained = store.rounds.claim(kind=DEEP)
    assert trained is not None
    assert (trained.id, trained.kind) == (deep, "deep")
    assert store.rounds.is_waiting()
    assert not store.rounds.is_waiting(DEEP)
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
    assert get(store, deep).state == "failed"


def test_a_round_that_two_processes_recover_is_queued_once(store: Store) -> None:
    number = store.rounds.request(1, "a")
    assert store.rounds.claim() is not None
    store.rounds.retry(number, "died", 0.0)
    store.rounds.retry(number, "died", 0.0)
    assert get(store, number).state == "queued"


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
    assert get(store, number).attempts == 1


@pytest.fixture
def lost(store: Store, monkeypatch: pytest.MonkeyPatch) -> Round:
    """A round that was taken here, counted as lost, and is run by another server now."""
    store.rounds.request(1, "a")
    store.rounds.claim()
    with monkeypatch.context() as patched:
        patched.setattr(database, "_MARK", "another")
        assert store.rounds.recover() == 1
        taken = store.rounds.claim()
    assert taken is not None
    return taken


def test_who_has_lost_a_round_does_not_end_it(store: Store, lost: Round) -> None:
    store.rounds.finish(lost.id, "failed", "late")
    store.rounds.retry(lost.id, "late", 0.0)
    store.rounds.beat(lost.id, "late", 1.0)
    assert get(store, lost.id) == lost


def test_a_round_that_another_server_has_recovered_and_taken_is_left_alone(store: Store, lost: Round) -> None:
    store.rounds.retry(lost.id, "died", 0.0, worker=database.worker_name())
    store.rounds.finish(lost.id, "failed", "died", worker=database.worker_name())
    assert get(store, lost.id) == lost


def test_the_database_itself_refuses_a_second_running_round_of_a_project(store: Store) -> None:
    store.rounds.request(1, "a")
    assert store.rounds.claim() is not None
    second = store.rounds.request(1, "b")
    with pytest.raises(IntegrityError), store._database.write() as db:
        db.execute(update(ROUNDS).where(ROUNDS.c.id == second).values(state="running"))
    assert get(store, second).state == "queued"


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
    store: Store, url: str, tmp_path: Path
) -> None:
    folder = tmp_path / "running"
    folder.mkdir()
    command = [sys.executable, "-c", CLAIMER, url, str(folder)]
    started = [subprocess.Popen([*command, f"ready-{number}"]) for number in range(4)]
    assert [process.wait(120) for process in started] == [0] * len(started)


def test_processes_of_containers_that_share_a_host_name_are_not_judged_by_their_numbers(
    store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    store.rounds.request(1, "a")
    assert store.rounds.claim() is not None
    namespace = tmp_path / "pid"
    namespace.symlink_to("pid:[1]")
    monkeypatch.setattr(database, "PID_NAMESPACE", namespace)
    monkeypatch.setattr(database, "_MARK", "another")
    database._place.cache_clear()
    try:
        assert store.rounds.recover() == 0, "here its number is another process's"
    finally:
        database._place.cache_clear()


def test_a_round_of_a_process_that_is_known_to_be_gone_is_queued_again_at_once(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backend.round_queue.worker_name", lambda: "elsewhere:1:abc")
    number = store.rounds.request(1, "a")
    assert store.rounds.claim() is not None
    assert store.rounds.recover({"elsewhere:1:xyz"}) == 0
    assert store.rounds.recover({"elsewhere:1:abc"}) == 1
    assert get(store, number).state == "queued"


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
    assert store.rounds.is_waiting()
    assert not store.rounds.is_claimable()
    store.rounds.finish(claimed.id, "done")
    assert store.rounds.is_claimable()


def test_who_beats_for_a_round_hears_when_it_is_lost(store: Store, lost: Round) -> None:
    assert not store.rounds.beat(lost.id, "fit", 0.5)
    store.rounds.request(2, "a")
    kept = store.rounds.claim()
    assert kept is not None
    assert store.rounds.beat(kept.id, "fit", 0.5)


@pytest.mark.integration
def test_a_machine_whose_clock_is_wrong_takes_no_round_away(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(Store(postgres_url)) as store:
        monkeypatch.setattr("backend.round_queue.worker_name", lambda: "elsewhere:1:abc")
        store.rounds.request(1, "a")
        assert store.rounds.claim() is not None
        wrong = time.time() + 3600
        monkeypatch.setattr(time, "time", lambda: wrong)
        assert store.rounds.recover() == 0
        store.rounds.request(2, "a")
        assert store.rounds.is_claimable()
